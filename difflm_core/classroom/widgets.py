"""Sliders to think with. Each prints a static picture of the same content first, which needs no kernel.

`masking_explorer`: drag t, see tokens disappear, and what the model would write in their place.
"""

import ipywidgets as controls
from IPython.display import display
from jaxtyping import Int
from torch import Tensor

from difflm_core.classroom.fills import PER_LINE, Decode, fill, fill_html, fixed_uniforms, masking_filmstrip
from difflm_core.classroom.lesson import is_static, show


def masking_controls(ids: Int[Tensor, "N L"], process, denoiser, decode: Decode, seed: int = 0) -> controls.VBox:
    """The live widget alone: menu of sentences (if several), slider t, a button for other masks, and the picture."""
    menu = controls.Dropdown(
        options=[(" ".join(decode(int(i)).strip() for i in x[:PER_LINE]), n) for n, x in enumerate(ids)],
        description="sentence", layout=controls.Layout(width="640px", display=None if len(ids) > 1 else "none"),
    )  # fmt: skip
    slider = controls.FloatSlider(
        value=0.5, min=0.0, max=1.0, step=0.02, description="noise t", readout_format=".2f",
        tooltip="noise level t: 0 is the clean sentence, 1 all masks", layout=controls.Layout(width="420px"),
    )  # fmt: skip
    redraw = controls.Button(description="other masks", tooltip="draw which positions disappear first anew")
    picture = controls.HTML()
    masks = {"seed": seed}

    def draw(_=None) -> None:
        u = fixed_uniforms(ids.shape[1], masks["seed"])
        # one new value, hence one message and no flicker
        picture.value = fill_html(fill(ids[menu.value], u, slider.value, process, denoiser), decode)

    def other_masks(_) -> None:
        masks["seed"] += 1
        draw()

    slider.observe(draw, "value")
    menu.observe(draw, "value")
    redraw.on_click(other_masks)
    draw()
    return controls.VBox([menu, controls.HBox([slider, redraw]), picture])


def masking_explorer(ids: Int[Tensor, "*N L"], process, denoiser, decode: Decode, seed: int = 0) -> None:
    """How masks fall and what a model makes of the rest: first a filmstrip, then (with a live kernel) a slider for t.

        masking_explorer(language.sample(3), process, model, language.words.__getitem__)

    `ids` holds one sentence (L,) or several (N, L) as clean token ids; `process` masks, e.g.
    `processes.masked(V)`; `denoiser` is any Denoiser; `decode(i)` gives the text of one token. DIFFLM_STATIC=1 or CI
    leaves only the filmstrip.
    """
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
