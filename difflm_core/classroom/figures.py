"""`python -m difflm_core.classroom.figures`: make the pictures of README again, from code and course checkpoints.

Each picture is one function here; all are deterministic. Alternative texts stand in figures/README.md.
"""

import io
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from PIL import Image

from difflm_core.classroom.plots import token_grid, use_style
from difflm_core.classroom.sentences import trajectory
from difflm_core.data.toy_language import toy_language
from difflm_core.samplers import first_hitting, sample_masked
from difflm_core.training.course import course_checkpoint

FIGURES = Path(__file__).resolve().parents[2] / "figures"
SENTENCES = 4


def masked_sampling() -> tuple[str, bytes, str]:
    """Four sentences of the toy language being written by the course's tiny masked model, one word per network call."""
    language = toy_language()
    model, _ = course_checkpoint("mdlm-tiny")
    out = sample_masked(
        model, first_hitting(), (SENTENCES, language.length), generator=torch.Generator().manual_seed(3), record=True
    )
    word = language.words.__getitem__
    films = [trajectory([f.tokens[row] for f in out.trajectory], word, language.mask_id) for row in range(SENTENCES)]
    frames = []
    for step in range(len(out.trajectory)):
        title = f"masked diffusion, {step} network call{'s' * (step != 1)}"
        frames.append(picture(token_grid([film[step] for film in films], [""] * SENTENCES, title)))
    alt = "Animation: four rows of twelve grey masks become sentences, one word per step in random order. They end as: "
    alt += "; ".join(language.decode(row) for row in out.tokens) + "."
    return "masked_sampling.gif", animation(frames), alt


def picture(fig) -> Image.Image:
    """The figure as an image of 32 colours, which is what keeps an animation small."""
    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=90, metadata={"Software": None})
    plt.close(fig)
    return Image.open(raw).convert("RGB").quantize(32)


def animation(frames: list[Image.Image], milliseconds: int = 550) -> bytes:
    """A looping GIF; the last frame stands longer."""
    out = io.BytesIO()
    pauses = [milliseconds] * (len(frames) - 1) + [2500]
    frames[0].save(out, format="gif", save_all=True, append_images=frames[1:], duration=pauses, loop=0)
    return out.getvalue()


def main() -> None:
    use_style()
    FIGURES.mkdir(exist_ok=True)
    lines = ["# Figures", "", "Made by `make figures`; do not edit by hand.", ""]
    for name, data, alt in (draw() for draw in (masked_sampling,)):
        (FIGURES / name).write_bytes(data)
        lines += [f"![{alt}]({name})", "", f"`{name}`: {alt}", ""]
        print(f"figures/{name}: {len(data) / 1000:.0f} kB")
    (FIGURES / "README.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
