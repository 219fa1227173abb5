"""Sliders to think with. Each shows a static twin of the same content first, which needs no kernel.

`masking_explorer`: drag t, see tokens disappear, and what the model would write in their place.
`corruption_explorer`: choose a kind of noise, drag t, see what is left of a sentence.
"""

from collections.abc import Callable, Sequence

import ipywidgets as controls
from IPython.display import display
from jaxtyping import Int
from torch import Tensor

from difflm_core.classroom.choices import choice
from difflm_core.classroom.corruptions import Corrupt, corrupted, corruption_html, static_rows
from difflm_core.classroom.fills import PER_LINE, Decode, fill, fill_html, fixed_uniforms, masking_filmstrip
from difflm_core.classroom.lesson import is_static, samples_table, show
from difflm_core.classroom.sentences import sentence
from difflm_core.classroom.typed import NO_MODEL

LONGEST = 128  # words; more cannot be taken in at a glance, and would be sent to the browser at every move


def noise_controls(
    menu: controls.ValueWidget, again: str, html: Callable[[object, float, int], str], seed: int = 0, step: float = 0.02
) -> controls.VBox:
    """A menu, a slider for t in [0, 1], a button that draws the noise anew, and the picture html(choice, t, seed).

    `again` is the button's text. Everything can be reached with Tab; arrow keys move the slider, Space presses buttons.
    """
    slider = controls.FloatSlider(
        value=0.5, min=0.0, max=1.0, step=step, description="noise t", readout_format=".2f",
        tooltip="noise level t: 0 is the clean sentence, 1 pure noise", layout=controls.Layout(width="420px"),
    )  # fmt: skip
    redraw = controls.Button(description=again, tooltip="draw the noise anew")
    picture = controls.HTML()
    noise = {"seed": seed}

    def draw(_=None) -> None:
        # one new value, hence one message and no flicker
        picture.value = html(menu.value, slider.value, noise["seed"])

    def new_noise(_) -> None:
        noise["seed"] += 1
        draw()

    slider.observe(draw, "value")
    menu.observe(draw, "value")
    redraw.on_click(new_noise)
    draw()
    return controls.VBox([menu, controls.HBox([slider, redraw]), picture])


def masking_controls(ids: Int[Tensor, "N L"], process, denoiser, decode: Decode, seed: int = 0) -> controls.VBox:
    """The live widget alone: menu of sentences (if several), slider t, a button for other masks, and the picture."""
    sentences = [(" ".join(decode(int(i)).strip() for i in x[:PER_LINE]), n) for n, x in enumerate(ids)]
    menu = choice(sentences, "sentence")
    menu.layout.display = None if len(ids) > 1 else "none"

    def html(chosen: int, t: float, seed: int) -> str:
        return fill_html(fill(ids[chosen], fixed_uniforms(ids.shape[1], seed), t, process, denoiser), decode)

    return noise_controls(menu, "other masks", html, seed)


def masking_explorer(ids: Int[Tensor, "*N L"], process, denoiser, decode: Decode, seed: int = 0) -> None:
    """How masks fall and what a model makes of the rest: first a filmstrip, then (with a live kernel) a slider for t.

        masking_explorer(language.sample(3), process, model, language.words.__getitem__)

    `ids` holds one sentence (L,) or several (N, L) as clean token ids; `process` masks, e.g.
    `processes.masked(V)`; `denoiser` is any Denoiser; `decode(i)` gives the text of one token. DIFFLM_STATIC=1 or CI
    leaves only the filmstrip.
    """
    if denoiser is None:
        raise ValueError(NO_MODEL)
    ids = ids[None] if ids.ndim == 1 else ids
    if ids.ndim != 2 or not ids.numel() or ids.min() < 0 or ids.max() >= process.V:
        raise ValueError(
            f"masking_explorer needs clean token ids (L,) or (N, L) within [0, {process.V}), got {tuple(ids.shape)}."
        )
    figure, alt, words = masking_filmstrip(ids[0], process, denoiser, decode, seed)
    caption = "Grey: masked, with the model's first guess and its probability; ✓ as in the original, ✗ not. "
    if is_static():
        show(figure, alt, caption + "Run this cell in JupyterLab to drag t yourself.", words)
    else:
        show(figure, alt, caption + "Below: drag t, or focus the slider and use the arrow keys.", words)
        display(masking_controls(ids, process, denoiser, decode, seed))


def corruption_controls(
    kinds: dict[str, Corrupt], x: Int[Tensor, "L"], decode: Decode, mask_id: int, seed: int = 0, step: float = 0.02
) -> controls.VBox:
    """The live widget alone: a button for each kind of noise, slider t, a button for other noise, the picture."""
    menu = choice(list(kinds), "noise")
    clean = sentence(x, decode, mask_id)

    def html(kind: str, t: float, seed: int) -> str:
        return corruption_html(kind, t, clean, corrupted(kinds[kind], x, t, decode, mask_id, seed))

    return noise_controls(menu, "other noise", html, seed, step)


def corruption_explorer(
    kinds: dict[str, Corrupt],
    sentence_ids: Int[Tensor, "*N L"],
    decode: Decode,
    mask_id: int,
    seed: int = 0,
    static_times: Sequence[float] = (0.0, 0.25, 0.5, 0.75),
    step: float = 0.02,
) -> None:
    """What several kinds of noise make of one sentence: first a table, then (with a live kernel) buttons for the kind
    and a slider for t.

        at = lambda process: lambda ids, t, generator: process.corrupt(ids, torch.tensor([t]), generator)
        corruption_explorer({"mask": at(masked(V)), "uniform": at(uniform(V))}, ids, word, mask_id=V)

    `kinds` maps the name of a noise to `corrupt(ids (1, L), t, generator) -> ids (1, L)`: noise on vectors rounds to
    the nearest token itself, a chain of T steps rounds t to its grid itself (then give step = 1 / T). `sentence_ids`
    is one sentence (L,) or (1, L) of clean token ids, `decode(i)` the text of one token. `static_times` are the rows of
    the table; DIFFLM_STATIC=1 or CI leaves only the table.
    """
    x = sentence_ids[0] if sentence_ids.ndim == 2 and len(sentence_ids) == 1 else sentence_ids
    if x.ndim != 1 or not x.numel() or x.min() < 0 or (x == mask_id).any():
        raise ValueError(
            f"corruption_explorer needs one clean sentence, token ids (L,) or (1, L) without masks, got shape "
            f"{tuple(sentence_ids.shape)}."
        )
    if len(x) > LONGEST:
        raise ValueError(f"That is a text of {len(x):,} words: give one sentence of at most {LONGEST}.")
    if not kinds:
        raise ValueError("corruption_explorer needs at least one kind of noise: {name: corrupt}.")
    if not all(0 <= t <= 1 for t in static_times):
        raise ValueError(f"static_times are noise levels in [0, 1] (0 = data), got {tuple(static_times)}.")
    samples_table(
        static_rows(kinds, x, static_times, decode, mask_id, seed),
        title="One sentence under " + ", ".join(kinds) + " noise",
        head=("noise", "sentence", "left"),
    )
    if is_static():
        print("Run this cell in JupyterLab to choose the noise and drag t yourself.")
    else:
        display(corruption_controls(kinds, x, decode, mask_id, seed, step))
