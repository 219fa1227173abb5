"""A slider for the d of tan-d: `shift_explorer`, what alpha(t) becomes and how many words can be read at t.

The static twin, a figure of three d, comes first. For the live picture all curves are made beforehand, so that a move
of the slider only looks up one SVG.
"""

from html import escape

import ipywidgets as controls
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from difflm_core.classroom.choices import choice
from difflm_core.classroom.lesson import is_static, show
from difflm_core.classroom.plots import BLUE, GREEN, VERMILLION
from difflm_core.classroom.schedule_curves import TIMES, Curves, Noise, curves, useless
from difflm_core.classroom.widgets_schedule import HEIGHT, LEFT, TOP, WIDTH, path
from difflm_core.processes import ShiftedCosine

STOPS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0, 11.0, 13.0, 20.0)
FILM = {1.0: (BLUE, "-"), 3.0: (GREEN, "--"), 9.0: (VERMILLION, "-.")}
PANELS = (("alpha", "signal alpha(t)"), ("readable", "share of words readable"))


def told(d: float, found: Curves, noise: Noise) -> str:
    """What one position of the slider shows, in one sentence."""
    easy, noisy = useless(found, noise)
    middle = len(TIMES) // 2
    return (
        f"d = {d:g}: at t = 0.5 alpha is {found.alpha[middle]:.3f} and {found.readable[middle]:.0%} of the words can "
        f"be read. Of all times {easy:.0%} are too easy (every word can be read), {noisy:.0%} too noisy (as good as "
        f"guessing)."
    )


def shift_figure(noise: Noise, title: str) -> tuple[Figure, str]:
    """The static twin, and its alternative text."""
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.3))
    said = []
    for d, (colour, dashes) in FILM.items():
        found = curves(ShiftedCosine(d), noise)
        for ax, (field, label) in zip(axes, PANELS):
            ax.plot(TIMES, getattr(found, field), color=colour, ls=dashes, label=f"tan-{d:g}")
            ax.set(xlabel="t", ylabel=label, ylim=(-0.02, 1.02))
        said.append(told(d, found, noise))
    axes[0].legend()
    axes[1].set_title(title)
    opening = "Signal, and the share of words that an ideal reader can recover, over t. "
    return fig, opening + " ".join(said)


def shift_svg(d: float, found: Curves, usual: Curves, noise: Noise) -> str:
    """The live picture: the curves of this d in colour, those of the cosine (d = 1) in grey."""
    panels = []
    for k, (field, label) in enumerate(PANELS):
        grey, line = (path(getattr(curve, field), 0.0, 1.0) for curve in (usual, found))
        panels.append(
            f'<g transform="translate({LEFT + k * (WIDTH + LEFT + 30)},{TOP})">'
            f'<text x="0" y="-8" font-size="12">{label}</text>'
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888888"/>'
            f'<text x="-4" y="10" font-size="10" text-anchor="end">1</text>'
            f'<text x="-4" y="{HEIGHT}" font-size="10" text-anchor="end">0</text>'
            f'<text x="0" y="{HEIGHT + 13}" font-size="10">t = 0</text>'
            f'<text x="{WIDTH}" y="{HEIGHT + 13}" font-size="10" text-anchor="end">1</text>'
            f'<polyline points="{grey}" fill="none" stroke="#bbbbbb" stroke-dasharray="3 3"/>'
            f'<polyline points="{line}" fill="none" stroke="{VERMILLION}" stroke-width="2.5"/></g>'
        )
    words = told(d, found, noise)
    size = f"0 0 {2 * (WIDTH + LEFT + 30)} {TOP + HEIGHT + 20}"
    svg = (
        f'<svg viewBox="{size}" style="max-width:620px" role="img" aria-label="{escape(words)}">{"".join(panels)}</svg>'
    )
    return f'<p role="status">{escape(words)}</p>{svg}<p><small>grey: the cosine, d = 1</small></p>'


def shift_controls(noises: dict[str, Noise]) -> controls.VBox:
    """The live widget alone: buttons for the vectors, a slider for d, the numbers and the picture."""
    frames = {}
    for name, noise in noises.items():
        usual = curves(ShiftedCosine(1.0), noise)
        for d in STOPS:
            frames[name, d] = shift_svg(d, curves(ShiftedCosine(d), noise), usual, noise)
    menu = choice(list(noises), "vectors")
    slider = controls.SelectionSlider(
        options=[(f"{d:g}", d) for d in STOPS], value=3.0, description="d",
        tooltip="d of tan-d: 1 is the cosine, more is noisier", layout=controls.Layout(width="420px"),
    )  # fmt: skip
    picture = controls.HTML()

    def draw(_=None) -> None:
        picture.value = frames[menu.value, slider.value]

    menu.observe(draw, "value")
    slider.observe(draw, "value")
    draw()
    return controls.VBox([menu, slider, picture])


def shift_explorer(noises: dict[str, Noise]) -> None:
    """What d does: a figure of three values, then (with a live kernel) a slider, for vectors of several widths.

        study = load_results("recoverable_tokens")
        shift_explorer({"D = 64": vector_noise(study, 64), "D = 128": vector_noise(study, 128)})

    The figure shows the first. DIFFLM_STATIC=1 or CI leaves only the figure. Raises ValueError without vectors.
    """
    if not noises:
        raise ValueError("shift_explorer needs at least one kind of vectors: {name: vector_noise(study, 64)}.")
    name = next(iter(noises))
    figure, alt = shift_figure(noises[name], name)
    caption = f"Vectors: {name}, read by the exact posterior. Where a curve of the right panel is flat, "
    caption += "steps teach nothing. "
    if is_static():
        show(figure, alt, caption + "Run this cell in JupyterLab to move d yourself.")
    else:
        show(figure, alt, caption + "Below: choose the width, and move d with the arrow keys.")
        display(shift_controls(noises))
