"""One quiet figure style, the same colour for the same method in every lesson, labels beside the lines.

The hues are those of Okabe and Ito (2008), told apart with all common kinds of colour blindness. There are more methods
than hues: the methods on symbols are drawn solid with round marks, those on vectors dashed with square marks.
"""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib import colors, patheffects
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from difflm_core.classroom.sentences import BROKEN, CHANGED, KEPT, MASKED, NEW, RIGHT, TAKEN, WRONG, Word

BLACK, GREY, ORANGE, SKY, GREEN = "#000000", "#767676", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

METHOD_COLOUR = {
    "exact": BLACK, "ar": GREY,
    "d3pm": SKY, "mdlm": BLUE, "gidd": GREEN, "star": PURPLE, "gstar": VERMILLION, "block": ORANGE,
    "diffusion_lm": ORANGE, "ld4lg": SKY, "planner": GREEN, "tencdm": PURPLE, "cosmos": VERMILLION,
}  # fmt: skip
ON_VECTORS = ("diffusion_lm", "ld4lg", "planner", "tencdm", "cosmos")

STYLE = {
    "figure.figsize": (7.2, 3.6), "figure.dpi": 110, "figure.facecolor": "white", "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans", "font.size": 11, "axes.titlesize": 12, "axes.labelsize": 11, "legend.fontsize": 10,
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#444444",
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#e4e4e4", "axes.axisbelow": True, "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.linewidth": 2.0, "lines.markersize": 5, "xtick.labelsize": 10, "ytick.labelsize": 10,
    "axes.prop_cycle": mpl.cycler(color=[BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY]),
}  # fmt: skip


def use_style() -> None:
    """Set the course's matplotlib style; `lesson.setup()` calls it."""
    plt.rcParams.update(STYLE)


def style_of(method: str) -> dict[str, str]:
    """Colour, line style and marker of a method, for `ax.plot(x, y, **style_of("mdlm"))`."""
    if method not in METHOD_COLOUR:
        raise ValueError(f"no colour for the method {method!r}; the known ones are {', '.join(METHOD_COLOUR)}.")
    dashes, marker = ("--", "s") if method in ON_VECTORS else (":", "") if method == "exact" else ("-", "o")
    return {"color": METHOD_COLOUR[method], "linestyle": dashes, "marker": marker}


def ink(colour: str) -> str:
    """A darker shade of `colour`, for text: light hues are hard to read as letters on white."""
    red, green, blue = colors.to_rgb(colour)
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    scale = min(1.0, 0.42 / brightness) if brightness else 1.0
    return colors.to_hex((red * scale, green * scale, blue * scale))


def label_line(line: Line2D, text: str | None = None, at: int = -1, offset: tuple[float, float] = (8, 0)) -> None:
    """Write a line's label (or `text`) beside its point number `at`, in the line's colour; `offset` is in points."""
    line.axes.annotate(
        text or line.get_label(), (line.get_xdata()[at], line.get_ydata()[at]), xytext=offset,
        textcoords="offset points", va="center", annotation_clip=False, color=ink(line.get_color()), fontsize=10,
        path_effects=[patheffects.withStroke(linewidth=3, foreground="white")],
        arrowprops={"arrowstyle": "-", "color": line.get_color(), "shrinkA": 2, "shrinkB": 1, "relpos": (0, 0.5),
                    "patchA": None},
    )  # fmt: skip


def label_lines(ax: Axes, gap: float = 13.0) -> None:
    """Label every labelled line of `ax` at its right end, instead of a legend; labels keep `gap` points between them.

    Call it last: the spreading uses the final axis limits.
    """
    lines = [line for line in ax.get_lines() if not line.get_label().startswith("_") and len(line.get_xdata())]
    ax.figure.draw_without_rendering()  # settles axis limits and layout
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines]
    place = dict(zip(lines, ax.transData.transform(ends)[:, 1] * 72 / ax.figure.dpi, strict=True)) if lines else {}
    # upwards from the lowest, each at least `gap` above the one before and the lowest not under the axis
    floor = ax.transAxes.transform((0, 0))[1] * 72 / ax.figure.dpi
    for line in sorted(lines, key=place.get):
        height = max(place[line], floor)
        label_line(line, offset=(16, height - place[line]))
        floor = height + gap


# mark: (face, edge, edge width, edge style, text colour, text weight)
CELL = {
    KEPT: ("white", "#dddddd", 0.8, "-", "#222222", "normal"),
    MASKED: ("#d0d0d0", "#dddddd", 0.8, "-", "#666666", "normal"),
    NEW: ("white", BLUE, 2.0, "-", "#000000", "bold"),
    CHANGED: ("#fbe3c8", ORANGE, 2.0, "--", "#000000", "bold"),
    TAKEN: ("#d0d0d0", PURPLE, 2.0, ":", "#444444", "normal"),
    BROKEN: ("#fde7e0", VERMILLION, 2.0, ":", "#000000", "normal"),
    RIGHT: ("#d0d0d0", GREEN, 2.0, "-", "#000000", "normal"),
    WRONG: ("#d0d0d0", VERMILLION, 2.0, ":", "#000000", "normal"),
}


def token_grid(rows: Sequence[Sequence[Word]], labels: Sequence[str] | None = None, title: str = "") -> Figure:
    """Tokens over time: one row a step (first row on top), one column a position; see `sentences.trajectory`.

    Masked cells are grey, just-revealed ones outlined, changed ones dashed on orange, broken ones dotted, those taken
    back in this step grey with ✗ and the word that stood there.
    """
    if not rows or not rows[0]:
        raise ValueError("token_grid needs at least one row with one token; it was given none.")
    length = max(map(len, rows))
    longest = max(len(line) for row in rows for word in row for line in word.text.split("\n"))
    tall = 1 + max(word.text.count("\n") for row in rows for word in row)
    fig, ax = plt.subplots(figsize=(min(10.0, 1.0 + 0.75 * length), 0.5 + (0.14 + 0.18 * tall) * len(rows)))
    # a letter is about 0.6 em wide; shrink the text until the longest word fits its column, but keep it readable
    size = min(10.0, max(6.0, 72 * (fig.get_figwidth() - 0.9) / length / (0.62 * (longest + 1))))
    for r, row in enumerate(rows):
        for c, word in enumerate(row):
            face, edge, width, dashes, colour, weight = CELL[word.mark]
            ax.add_patch(
                Rectangle((c + 0.05, r + 0.08), 0.9, 0.84, facecolor=face, edgecolor=edge, lw=width, ls=dashes)
            )
            text = "✗ " + word.text if word.mark == TAKEN else word.text
            ax.text(c + 0.5, r + 0.5, text, ha="center", va="center", color=colour, weight=weight, fontsize=size)
    ax.set(xlim=(0, length), ylim=(len(rows), 0), xticks=[], yticks=[r + 0.5 for r in range(len(rows))], title=title)
    ax.set_yticklabels(labels if labels is not None else [f"step {r}" for r in range(len(rows))])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return fig
