"""`python -m difflm_core.classroom.figures`: make the pictures of README and the overview again, from code, course
checkpoints and stored studies.

Each picture is one function (pictures/overview.py, pictures/families.py, pictures/thumbnails.py with a small one for
each lesson, and the animation here), and all are deterministic. Alternative texts stand in figures/README.md.
"""

from pathlib import Path

import torch
from matplotlib import pyplot as plt

from difflm_core.classroom.films import animated
from difflm_core.classroom.lesson import png
from difflm_core.classroom.pictures.families import latent_families, timeline
from difflm_core.classroom.pictures.overview import three_corruptions, three_grids, useless_steps
from difflm_core.classroom.pictures.thumbnails import THUMBNAILS
from difflm_core.classroom.plots import use_style
from difflm_core.classroom.recordings import from_sample
from difflm_core.data.toy_language import toy_language
from difflm_core.samplers import ancestral, first_hitting, sample_ar, sample_masked
from difflm_core.training.course import course_checkpoint

FIGURES = Path(__file__).resolve().parents[2] / "figures"
STILLS = (three_corruptions, useless_steps, three_grids, latent_families, timeline)


def two_ways_to_write() -> tuple[str, bytes, str]:
    """The course's two tiny models at work: left to right; masked, one word a call; masked, several words a call."""
    language = toy_language()
    shape, word = (1, language.length), language.words.__getitem__
    (ar, _), (mdlm, _) = course_checkpoint("ar-tiny"), course_checkpoint("mdlm-tiny")

    def seeded(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    samples = {
        "left to right": sample_ar(ar, shape, generator=seeded(3), record=True),
        "masked, one a call": sample_masked(mdlm, first_hitting(), shape, generator=seeded(3), record=True),
        "masked, 6 steps": sample_masked(mdlm, ancestral(6), shape, generator=seeded(5), record=True),
    }
    films = [from_sample(sample, 0, word, language.V, name) for name, sample in samples.items()]
    said = []
    for name, sample in samples.items():
        held = "" if bool(language.grammatical(sample.tokens)[0]) else ", which breaks the grammar"
        said.append(f"{name}: {language.decode(sample.tokens[0])} ({int(sample.network_calls[0])} network calls{held})")
    alt = "Animation: three rows of twelve grey masks become sentences, a network call at a time. The first fills from "
    alt += f"left to right, the others anywhere. They end as: {'; '.join(said)}."
    return "two_ways_to_write.gif", animated(films), alt


def still(draw, name: str = "") -> tuple[str, bytes, str]:
    """A drawing's file name (that of the function unless given), its PNG and its alternative text."""
    figure, alt = draw()
    data = png(figure)
    plt.close(figure)
    return name or f"{draw.__name__}.png", data, alt


def thumbnails() -> list[tuple[str, bytes, str]]:
    """One small picture for each lesson, for README's table: lessons/00.png and so on."""
    return [still(draw, f"lessons/{number:02d}.png") for number, draw in enumerate(THUMBNAILS)]


def main() -> None:
    use_style()
    (FIGURES / "lessons").mkdir(parents=True, exist_ok=True)
    lines = ["# Figures", "", "Made by `make figures`; do not edit by hand.", ""]
    for name, data, alt in (two_ways_to_write(), *map(still, STILLS), *thumbnails()):
        (FIGURES / name).write_bytes(data)
        lines += [f"![{alt}]({name})", "", f"`{name}`: {alt}", ""]
        print(f"figures/{name}: {len(data) / 1000:.0f} kB")
    (FIGURES / "README.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
