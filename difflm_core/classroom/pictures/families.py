"""Four latent families side by side: what is frozen, what is trained, and the shape of the latent. And a timeline.

Facts from the papers and their released code (the configurations named in the lessons): LD4LG (arXiv 2212.09462, Tables
13-14), PLANNER (2306.02531, released scripts), TEncDM (2402.19097, section 5), COSMOS (2506.21170, released code).
"""

from dataclasses import dataclass

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from difflm_core.classroom.pictures.overview import Drawn
from difflm_core.classroom.plots import METHOD_COLOUR, ink

FROZEN, TRAINED = "frozen", "trained"


@dataclass(frozen=True)
class Family:
    """One way to build a latent space. Parts are (text, FROZEN or TRAINED), the latent `vectors` of `width` numbers."""

    name: str
    method: str
    encoder: tuple[str, str]
    compressor: tuple[str, str] | None
    vectors: int
    width: int
    latent: str
    decoder: tuple[str, str]
    writes: str


FAMILIES = (
    Family(
        "LD4LG", "ld4lg", ("BART or FLAN-T5\nencoder", FROZEN), ("Perceiver,\n3 layers", TRAINED),
        32, 64, "32 × 64\nfrom up to 64 tokens", ("3 layers", TRAINED), "LM decoder, frozen,\nword by word",
    ),
    Family(
        "PLANNER", "planner", ("BERT-large, its first\n16 outputs", TRAINED), ("to mean and\nvariance", TRAINED),
        16, 1024, "16 × 1024, variational\nfrom up to 256 tokens", ("GPT-2 medium", TRAINED),
        "the decoder itself,\nword by word",
    ),
    Family(
        "TEncDM", "tencdm", ("BERT-base", FROZEN), None,
        64, 768, "64 × 768\na vector a token", ("3 layers, learns\nfrom noisy codes", TRAINED), "all words at once",
    ),
    Family(
        "COSMOS", "cosmos", ("BERT-base", FROZEN), ("Perceiver, 12 layers,\non damaged states", TRAINED),
        16, 768, "16 × 768 (to 128 × 768)\nfrom 128 tokens", ("12 layers, words\nand states", TRAINED),
        "all words at once",
    ),
)  # fmt: skip
ROWS = ("encoder", "compressor", "latent", "decoder", "writes")


def latent_families() -> Drawn:
    """Four columns of boxes, text above and text below; the latents are drawn to one scale."""
    fig, ax = plt.subplots(figsize=(10.5, 5.6))
    for column, family in enumerate(FAMILIES):
        x, colour = 2.6 * column, METHOD_COLOUR[family.method]
        ax.text(x + 1.1, 5.3, family.name, ha="center", weight="bold", fontsize=13, color=ink(colour))
        part(ax, x, 4.2, family.encoder, colour)
        part(ax, x, 3.25, family.compressor or ("none: a fixed\nrescaling", ""), colour)
        latent(ax, x, 2.15, family, colour)
        part(ax, x, 0.85, family.decoder, colour)
        ax.text(x + 1.1, 0.3, family.writes, ha="center", va="center", fontsize=9)
        for top, bottom in ((5.15, 5.0), (4.2, 4.05), (3.25, 3.12), (1.72, 1.65), (0.85, 0.62)):
            ax.annotate("", (x + 1.1, bottom), (x + 1.1, top), arrowprops={"arrowstyle": "->", "color": "#666666"})
    for name, y in zip(ROWS, (4.6, 3.65, 2.5, 1.25, 0.3), strict=True):
        ax.text(-0.25, y, name, ha="right", va="center", fontsize=10, color="#444444")
    ax.set(xlim=(-1.5, 10.2), ylim=(-0.05, 5.65))
    ax.set_axis_off()
    said = "; ".join(told(family) for family in FAMILIES)
    return fig, f"Four columns, from text through encoder, compressor and latent to the decoder. {said}."


def told(family: Family) -> str:
    parts = [("encoder", family.encoder), ("compressor", family.compressor), ("decoder", family.decoder)]
    text = ", ".join(f"{name} {what[0]} ({what[1]})" for name, what in parts if what)
    return f"{family.name}: {text}, latent {family.latent}, {family.writes}".replace(",\n", ", ").replace("\n", " ")


def part(ax: Axes, x: float, y: float, what: tuple[str, str], colour: str) -> None:
    """A box: hatched grey where frozen, outlined in the method's colour where trained, dashed where nothing is."""
    text, state = what
    look = {
        FROZEN: {"facecolor": "#eeeeee", "edgecolor": "#888888", "hatch": "////", "lw": 1.0},
        TRAINED: {"facecolor": "white", "edgecolor": colour, "lw": 2.0},
    }.get(state, {"facecolor": "white", "edgecolor": "#aaaaaa", "ls": "--", "lw": 1.0})
    ax.add_patch(FancyBboxPatch((x, y), 2.2, 0.8, boxstyle="round,pad=0,rounding_size=0.08", **look))
    plate = {"facecolor": look["facecolor"], "edgecolor": "none", "pad": 1.5}
    label = f"{text}\n{state}" if state else text
    ax.text(x + 1.1, y + 0.4, label, ha="center", va="center", fontsize=8.5, linespacing=1.15, bbox=plate)


def latent(ax: Axes, x: float, y: float, family: Family, colour: str) -> None:
    """The latent as a rectangle, `vectors` high and `width` wide (64, 1024 fill the box), its shape in words below."""
    high, wide = 0.62 * family.vectors / 64, 2.0 * family.width / 1024
    ax.add_patch(Rectangle((x + 1.1 - wide / 2, y + 0.6 - high / 2), wide, high, facecolor=colour, alpha=0.85, lw=0))
    ax.text(x + 1.1, y + 0.2, family.latent, ha="center", va="top", fontsize=8.5)


# name, year and month of the first arXiv version (its number begins with them), side, what it added
TIMELINE = (
    ("DDPM", 2020, 6, "vectors", "Gaussian noise, one loss"),
    ("Diffusion-LM", 2022, 5, "vectors", "learned word vectors"),
    ("Analog Bits", 2022, 8, "vectors", "self-conditioning"),
    ("LD4LG", 2022, 12, "vectors", "latents of a frozen LM"),
    ("PLANNER", 2023, 6, "vectors", "variational latents"),
    ("TEncDM", 2024, 2, "vectors", "encoder states"),
    ("COSMOS", 2025, 6, "vectors", "smooth, small latents"),
    ("D3PM", 2021, 7, "symbols", "transition matrices"),
    ("SEDD", 2023, 10, "symbols", "ratios"),
    ("MDLM, MD4", 2024, 6, "symbols", "masks and cross-entropy"),
    ("LLaDA", 2025, 2, "symbols", "8 billion parameters"),
    ("GIDD, ReMDM, BD3-LM", 2025, 3, "symbols", "correct, remask, blocks"),
    ("G-Star", 2025, 10, "symbols", "take back errors"),
)


def timeline() -> Drawn:
    """The methods of the course by the date of their first arXiv version: vectors above, symbols below."""
    fig, ax = plt.subplots(figsize=(10.5, 3.9))
    ax.axhline(0, color="#888888", lw=1.5)
    lane(ax, "vectors", (0.55, 1.25, 1.95), METHOD_COLOUR["ld4lg"], "s")
    lane(ax, "symbols", (-0.55, -1.25, -1.95), METHOD_COLOUR["mdlm"], "o")
    ax.set(xlim=(2020, 2026.4), ylim=(-2.5, 2.5), yticks=[1.25, -1.25], xticks=range(2020, 2027))
    ax.set_yticklabels(["on\nvectors", "on\nsymbols"])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    rows = sorted(TIMELINE, key=lambda row: row[1:3])
    said = ", ".join(f"{name} {month:02d}/{year} (on {side}: {what})" for name, year, month, side, what in rows)
    return fig, f"Timeline of methods by first arXiv version: {said}."


def lane(ax: Axes, side: str, heights: tuple[float, ...], colour: str, mark: str) -> None:
    """The methods of one side, at alternating heights so that their labels do not touch."""
    rows = sorted((row for row in TIMELINE if row[3] == side), key=lambda row: row[1:3])
    for k, (name, year, month, _, what) in enumerate(rows):
        x, y = year + (month - 0.5) / 12, heights[k % len(heights)]
        ax.plot([x, x], [0, y], color="#aaaaaa", lw=1)
        ax.plot(x, 0, mark, color=colour, ms=6)
        frame = {"facecolor": "white", "edgecolor": colour, "pad": 2.5}
        ax.text(x, y, f"{name}\n{what}", ha="center", va="center", fontsize=8.5, bbox=frame)
