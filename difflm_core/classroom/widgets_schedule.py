"""The schedule explorer: choose a schedule and a noise, move t, and read signal, SNR, readable words and loss weight.

The static twin is a figure of all schedules. The live picture is an SVG made of ready-made curves, so that a move only
adds a line and four dots.
"""

from collections.abc import Iterable
from html import escape

import ipywidgets as controls
from IPython.display import display
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from difflm_core.classroom.choices import choice
from difflm_core.classroom.lesson import is_static, show
from difflm_core.classroom.pictures.lesson_02 import SCHEDULES
from difflm_core.classroom.plots import BLACK, BLUE, GREY, VERMILLION
from difflm_core.classroom.schedule_curves import TIMES, Curves, Noise, curves, numbers, useless, usual_schedules
from difflm_core.processes import Schedule

Look = tuple[str, str | tuple]  # colour and dashes, as matplotlib takes them
SAME = {"tan-1": "cosine", "tan-3": "shifted cosine 3", "tan-9": "shifted cosine 9"}  # one curve under two names
KNOWN: dict[str, Look] = {**SCHEDULES, **{name: SCHEDULES[other] for name, other in SAME.items()}}
FREE: tuple[Look, ...] = ((BLUE, "--"), (GREY, "-"), (BLACK, "-."), (VERMILLION, "-"))  # for all other names
SVG_DASHES = {"-": "none", "--": "9 4", "-.": "10 3 2 3", ":": "2 3"}
PANELS = (  # field of Curves, title, lowest and highest value shown
    ("alpha", "signal alpha", 0.0, 1.0),
    ("log_snr", "log10 SNR", -4.0, 4.0),
    ("readable", "share of words readable", 0.0, 1.0),
    ("log_weight", "log10 loss weight", -3.0, 4.0),
)
WIDTH, HEIGHT, LEFT, TOP = 230, 130, 34, 24  # of one panel of the SVG, and its margins


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Colour and dashes of each schedule: those of lesson 02's picture where it has one of this name."""
    free = iter(FREE)
    return {name: KNOWN.get(name) or next(free, (BLACK, "-")) for name in names}


def svg_dashes(dashes: str | tuple) -> str:
    """Matplotlib's dashes as a `stroke-dasharray` for lines 2.5 wide."""
    return SVG_DASHES[dashes] if isinstance(dashes, str) else " ".join(f"{2 * part:g}" for part in dashes[1])


def schedule_figure(schedules: dict[str, Schedule], noise: Noise, title: str) -> tuple[Figure, str, str]:
    """The static twin, its alternative text, and the numbers at three times in words."""
    found = {name: curves(schedule, noise) for name, schedule in schedules.items()}
    fig, axes = plt.subplots(1, len(PANELS), figsize=(10.5, 2.9))
    styles = looks(found)
    for ax, (field, label, low, high) in zip(axes, PANELS):
        for name, curve in found.items():
            colour, dashes = styles[name]
            ax.plot(TIMES, getattr(curve, field).clamp(low, high), ls=dashes, color=colour, label=name, lw=1.6)
        ax.set(xlabel="t", title=label, ylim=(low - 0.03 * (high - low), high + 0.03 * (high - low)))
        ax.title.set_fontsize(10)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    share = {name: useless(curve, noise) for name, curve in found.items()}
    said = "; ".join(f"{name} {easy:.0%} and {noisy:.0%}" for name, (easy, noisy) in share.items())
    alt = (
        f"Four panels over t for {title}: alpha, signal to noise, share of words an ideal reader can recover, and loss "
    )
    alt += f"weight. Share of times at which every word can be read, and at which nothing can: {said}."
    return (
        fig,
        alt,
        " ".join(numbers(name, curve, noise, t) for name, curve in found.items() for t in (0.25, 0.5, 0.75)),
    )


def path(values: Float[Tensor, "T"], low: float, high: float) -> str:
    """The points of an SVG polyline."""
    y = HEIGHT * (1 - (values.clamp(low, high) - low) / (high - low))
    return " ".join(f"{WIDTH * t:.1f},{v:.1f}" for t, v in zip(TIMES.tolist(), y.tolist()))


def backdrop(found: dict[str, Curves]) -> list[str]:
    """For each panel: frame, labels, and all curves in light grey."""
    parts = []
    for field, label, low, high in PANELS:
        lines = "".join(
            f'<polyline points="{path(getattr(curve, field), low, high)}" fill="none" stroke="#c8c8c8"/>'
            for curve in found.values()
        )
        parts.append(
            f'<text x="0" y="-8" font-size="12">{label}</text>'
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888888"/>'
            f'<text x="-4" y="10" font-size="10" text-anchor="end">{high:g}</text>'
            f'<text x="-4" y="{HEIGHT}" font-size="10" text-anchor="end">{low:g}</text>'
            f'<text x="0" y="{HEIGHT + 13}" font-size="10">t = 0</text>'
            f'<text x="{WIDTH}" y="{HEIGHT + 13}" font-size="10" text-anchor="end">1</text>{lines}'
        )
    return parts


def schedule_svg(back: list[str], chosen: Curves, look: Look, t: float, alt: str) -> str:
    """The live picture: the chosen curve in its own colour and dashes, and where it stands at t."""
    colour, dashes = look
    i, panels = int(round(t * (len(TIMES) - 1))), []
    for k, (field, _, low, high) in enumerate(PANELS):
        values = getattr(chosen, field)
        y = HEIGHT * (1 - (float(values[i].clamp(low, high)) - low) / (high - low))
        x = WIDTH * float(TIMES[i])
        panels.append(
            f'<g transform="translate({LEFT + k * (WIDTH + LEFT + 6)},{TOP})">{back[k]}'
            f'<polyline points="{path(values, low, high)}" fill="none" stroke="{colour}" stroke-width="2.5" '
            f'stroke-dasharray="{svg_dashes(dashes)}"/>'
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}" stroke="{BLACK}" stroke-dasharray="1 3"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{BLACK}"/></g>'
        )
    size = f"0 0 {len(PANELS) * (WIDTH + LEFT + 6) + 8} {TOP + HEIGHT + 20}"
    return f'<svg viewBox="{size}" width="100%" role="img" aria-label="{escape(alt)}">{"".join(panels)}</svg>'


def schedule_controls(schedules: dict[str, Schedule], noises: dict[str, Noise]) -> controls.VBox:
    """The live widget alone: buttons for schedule and noise, slider t, the numbers and the picture."""
    menu, kinds = choice(list(schedules), "schedule"), choice(list(noises), "noise")
    slider = controls.FloatSlider(
        value=0.5, min=0.0, max=1.0, step=0.01, description="time t", readout_format=".2f",
        tooltip="time t: 0 is the data, 1 pure noise", layout=controls.Layout(width="420px"),
    )  # fmt: skip
    found = {kind: {name: curves(s, noise) for name, s in schedules.items()} for kind, noise in noises.items()}
    back = {kind: backdrop(group) for kind, group in found.items()}
    picture, styles = controls.HTML(), looks(schedules)

    def draw(_=None) -> None:
        kind, name, t = kinds.value, menu.value, slider.value
        line = numbers(name, found[kind][name], noises[kind], t)
        svg = schedule_svg(back[kind], found[kind][name], styles[name], t, line)
        picture.value = f'<p role="status">{escape(line)}</p>{svg}'

    for control in (menu, kinds, slider):
        control.observe(draw, "value")
    draw()
    return controls.VBox([menu, kinds, slider, picture])


def schedule_explorer(noises: dict[str, Noise], schedules: dict[str, Schedule] | None = None) -> None:
    """What each schedule spends its time on: a figure of all of them, then (with a live kernel) a slider for t.

        study = load_results("recoverable_tokens")
        schedule_explorer({"vectors, D = 16": vector_noise(study, 16), "masks": mask_noise(language)})

    The figure shows the first noise. DIFFLM_STATIC=1 or CI leaves only the figure.
    """
    if not noises:
        raise ValueError("schedule_explorer needs at least one kind of noise: {name: mask_noise(language)}.")
    schedules = schedules or usual_schedules()
    name = next(iter(noises))
    figure, alt, words = schedule_figure(schedules, noises[name], name)
    caption = f"Noise: {name}. Flat at the top or at the bottom of the third panel: steps that teach nothing. "
    if is_static():
        show(figure, alt, caption + "Run this cell in JupyterLab to move t yourself.", words)
    else:
        show(figure, alt, caption + "Below: choose, and move t with the arrow keys.", words)
        display(schedule_controls(schedules, noises))
