"""The pictures of lesson 06: a stirred plane, smoothness of latent spaces, and the stored study, cosmos."""

import torch
from jaxtyping import Float
from matplotlib import colors
from matplotlib import pyplot as plt
from torch import Tensor

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import BLACK, BLUE, GREY, ORANGE, PURPLE, SKY, VERMILLION, label_lines

SIDE = 3.2  # half the width of the plane that is shown
HUES = ("#0072B2", "#56B4E9", "#009E73", "#F0E442", "#E69F00", "#D55E00", "#CC79A7", "#999999")
SPACE = {  # name in the study: (name in pictures, colour, dashes)
    "CE": ("CE", GREY, ":"),
    "CE + MSE": ("+ MSE", SKY, "-."),
    "+ perturbed states": ("+ perturbed states", ORANGE, "--"),
    "+ masked latents": ("+ masked latents", VERMILLION, "-"),
    "stirred": ("the last one, stirred", PURPLE, (0, (7, 2))),
    "released strengths": ("all four, as released", BLUE, (0, (5, 1, 1, 1, 1, 1))),
}
FULL, RELEASED = "+ masked latents", "released strengths"


def planes(spaces: dict, error: float) -> Picture:
    """The regions in which a decoder of the plane reads each word, for spaces {name: (z (N, 2), decode)}, and the
    latents of true words.
    """
    side = torch.linspace(-SIDE, SIDE, 161, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    fig, axes = plt.subplots(1, len(spaces), figsize=(8.4, 4.3))
    first = next(iter(spaces.values()))[0]
    shown = (first - torch.tensor([1.1, 0.45])).norm(dim=1).argmin()  # the same word in all spaces
    for ax, (name, (z, decode)) in zip(axes, spaces.items()):
        ax.imshow(
            decode(grid).view(161, 161).T, origin="lower", extent=(-SIDE, SIDE, -SIDE, SIDE), alpha=0.55,
            cmap=colors.ListedColormap(HUES), vmin=-0.5, vmax=7.5, interpolation="nearest",
        )  # fmt: skip
        ax.plot(*z.T, ".", ms=2, color=BLACK)
        ax.add_patch(plt.Circle(z[shown].tolist(), error, fill=False, color=BLACK, lw=2))
        ax.set(title=name, xticks=[], yticks=[], xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE), aspect="equal")
        ax.grid(False)
    alt = (
        "Two squares, coloured by the word of eight that a decoder reads at each point. Left: eight sectors like slices"
        " of a cake, with the latents as dots. Right: the same after stirring; the sectors are drawn out into winding"
        f" bands. A circle of radius {error} around one latent lies within its sector on the left, and reaches into"
        " other words' bands on the right."
    )
    return fig, alt, f"Dots: latents. Colour: the word read there. Circle: an error of {error} around the same latent."


def reading_curves(curves: dict[str, dict], weights, alphas, missing) -> Picture:
    """Three probes of several spaces: {name: {"either": ..., "noisy": ..., "missing": ...}}, each a list of shares."""
    fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True)
    panels = (
        ("either", weights, "weight of the second text", "Between two texts:\nword of either"),
        ("noisy", [1 - a for a in alphas], "share of noise, $1 - \\alpha$", "With noise:\nword right"),
        ("missing", missing, "share of numbers missing", "With numbers missing:\nword right"),
    )
    for ax, (key, x, label, title) in zip(axes, panels):
        for name, found in curves.items():
            shown, colour, dashes = SPACE[name]
            values = torch.as_tensor(found[key])
            values = values[None] if values.ndim == 1 else values
            ax.plot(x, 100 * values.mean(0), color=colour, ls=dashes, label=shown)
            ax.fill_between(x, 100 * values.amin(0), 100 * values.amax(0), color=colour, alpha=0.2, lw=0)
        ax.set(xlabel=label, title=title, ylim=(-3, 103))
    axes[0].set_ylabel("words, %")
    axes[2].legend(loc="lower left", fontsize=9)
    ends = "; ".join(
        f"{SPACE[name][0]}: {100 * last(found['either']):.0f} % half-way, {100 * at_half(found['noisy'], alphas):.0f} %"
        f" at half noise, {100 * last(found['missing']):.0f} % with most missing"
        for name, found in curves.items()
    )
    return fig, f"Three panels, shares of words that are read as wanted. {ends}.", ""


def mean(values) -> Float[Tensor, "W"]:
    values = torch.as_tensor(values)
    return values if values.ndim == 1 else values.mean(0)


def last(values) -> float:
    return mean(values)[-1].item()


def at_half(values, alphas) -> float:
    return mean(values)[list(alphas).index(0.5)].item()


# the stored study


def select(study: dict, kind: str, space: str, N: int | None = None) -> list[dict]:
    """The rows (one a seed) of one space, by default at the usual N."""
    N = N or study["settings"]["N"]
    return [r for r in study["runs"] if r["kind"] == kind and r["space"] == space and r["N"] == N]


def truth(study: dict) -> list[dict]:
    return [r for r in study["runs"] if r["kind"] == "true"]


def values(rows: list[dict], key: str) -> Float[Tensor, "S"]:
    return torch.tensor([row[key] for row in rows], dtype=torch.float64)


def spread(rows: list[dict], key: str, factor: float = 100) -> str:
    """Mean, and the least and the largest of the seeds."""
    found = factor * values(rows, key)
    digits = 0 if factor == 100 else 2
    return f"{found.mean():.{digits}f} ({found.min():.{digits}f} to {found.max():.{digits}f})"


def probes_of(study: dict) -> dict[str, dict]:
    """For `reading_curves`: every space's curves, (seeds, points)."""
    keys = ("either", "noisy", "missing")
    return {s: {key: [r[key] for r in select(study, "autoencoder", s)] for key in keys} for s in SPACE}


def stages(study: dict) -> Picture:
    """Reconstruction beside generation, one line of dots per space, a dot per seed."""
    fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True)
    panels = (
        ("autoencoder", "texts_read", "texts read back, %", 100),
        ("generation", "grammatical", "drawn: grammatical, %", 100),
        ("generation", "distinct_2", "drawn: distinct-2", 1),
    )
    for ax, (kind, key, label, factor) in zip(axes, panels):
        for y, (space, (_, colour, _)) in enumerate(SPACE.items()):
            found = factor * values(select(study, kind, space), key)
            ax.plot(found, [y] * len(found), "o", color=colour, alpha=0.7)
            ax.plot([found.mean()] * 2, [y - 0.3, y + 0.3], color=colour)
        if key == "distinct_2":
            true = values(truth(study), key).mean()
            ax.axvline(true, color=BLACK, ls=":")
            ax.text(true, -0.8, "true ", ha="right", fontsize=10)
        ax.set(xlabel=label, xlim=(-3, 103) if factor == 100 else (0, None), ylim=(len(SPACE) - 0.5, -1.2))
        ax.grid(axis="x")
    axes[0].set_yticks(range(len(SPACE)), [name for name, _, _ in SPACE.values()])
    said = "; ".join(
        f"{SPACE[s][0]}: {100 * values(select(study, 'autoencoder', s), 'texts_read').mean():.0f} % read, "
        f"{100 * values(select(study, 'generation', s), 'grammatical').mean():.0f} % grammatical, distinct-2 "
        f"{values(select(study, 'generation', s), 'distinct_2').mean():.2f}"
        for s in SPACE
    )
    alt = f"Six latent spaces, means of {len(truth(study))} seeds. {said}."
    return fig, alt, f"Dots: seeds. Dotted: true sentences. {again(study)}"


def table(study: dict) -> str:
    """Every space and size of the study: mean (least to largest seed)."""
    heads = zip(("N", "texts read %", "grammatical %", "distinct-2", "spread", "error"), (3, 18, 17, 21, 21, 21))
    lines, settings = [f"{'space':24s}" + "".join(f"{head:>{wide}s}" for head, wide in heads)], study["settings"]
    cells = [*((space, settings["N"]) for space in SPACE), *((FULL, N) for N in settings["N_sweep"])]
    for space, N in cells:
        own, drawn = select(study, "autoencoder", space, N), select(study, "generation", space, N)
        lines.append(
            f"{SPACE[space][0]:24s}{N:3d}{spread(own, 'texts_read'):>18s}{spread(drawn, 'grammatical'):>17s}"
            + "".join(f"{spread(drawn, key, 1):>21s}" for key in ("distinct_2", "spread", "error"))
        )
    true = truth(study)
    lines.append(
        f"{'true sentences':24s}{'':21s}{spread(true, 'grammatical'):>17s}"
        + "".join(f"{spread(true, key, 1):>21s}" for key in ("distinct_2", "spread"))
    )
    return "\n".join(lines)


def compared(a: list[dict], b: list[dict], key: str, factor: float = 100) -> str:
    """ "61 against 40, by seed +20, +22, +21: higher in every seed": rows a and b, of the same seeds."""
    first, second = factor * values(a, key), factor * values(b, key)
    digits, difference = 0 if factor == 100 else 2, first - second
    by_seed = ", ".join(f"{d:+.{digits}f}" for d in difference)
    verdict = "the seeds disagree"
    if bool((difference > 0).all() | (difference < 0).all()):
        verdict = f"{'higher' if difference[0] > 0 else 'lower'} in every seed"
    elif bool((difference == 0).all()):
        verdict = "no difference"
    return f"{first.mean():.{digits}f} against {second.mean():.{digits}f}, by seed {by_seed}: {verdict}"


def ranked(study: dict, kind: str, key: str) -> str:
    """The spaces from best to worst, with their means in per cent."""
    means = {space: 100 * values(select(study, kind, space), key).mean().item() for space in SPACE}
    return " > ".join(f"{SPACE[space][0]} ({means[space]:.0f})" for space in sorted(means, key=means.get, reverse=True))


def sizes(study: dict) -> Picture:
    """By the number N of latents: texts read and grammatical share on the left, distinct-2 on the right."""
    settings = study["settings"]
    Ns = sorted([settings["N"], *settings["N_sweep"]])
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.3))
    panels = (
        (left, "autoencoder", "texts_read", "texts read back", BLUE, 100),
        (left, "generation", "grammatical", "drawn: grammatical", VERMILLION, 100),
        (right, "generation", "distinct_2", "distinct-2", VERMILLION, 1),
    )
    said = []
    for ax, kind, key, label, colour, factor in panels:
        found = torch.stack([factor * values(select(study, kind, FULL, N), key) for N in Ns], dim=1)
        ax.plot(Ns, found.mean(0), "o-", color=colour, label=label)
        ax.fill_between(Ns, found.amin(0), found.amax(0), color=colour, alpha=0.2, lw=0)
        said.append(f"{label} " + ", ".join(f"{v:.{0 if factor == 100 else 2}f}" for v in found.mean(0)))
    left.set(xlabel="latents N", ylabel="%", ylim=(-3, 103), xticks=Ns)
    right.axhline(values(truth(study), "distinct_2").mean(), color=BLACK, ls=":")
    right.set(xlabel="latents N", ylabel="distinct-2 (dotted: true)", xticks=Ns, ylim=(0, None))
    label_lines(left)
    return fig, f"For N = {', '.join(map(str, Ns))}: {'; '.join(said)}.", f"Bands: seeds. {again(study)}"


SYSTEM = {
    "ld4lg-wikipedia": "LD4LG",
    "planner-wikipedia": "PLANNER",
    "tencdm-wikipedia": "TEncDM",
    "cosmos-wikipedia": "COSMOS",
    "mdlm-sentences": "MDLM",
    "human": "human texts",
    "shuffled words": "human, shuffled",
}


FIGURES = {
    "parameters": lambda row: f"{row['parameters'] / 1e6:.2f} M",
    "BLEU back": lambda row: f"{row['bleu']:.2f}",
    "judge ppl": lambda row: f"{row['perplexity']:.0f}",
    "entropy": lambda row: f"{row['entropy']:.2f}",
    "distinct-2": lambda row: f"{row['distinct_2']:.3f}",
    "MAUVE": lambda row: f"{row['mauve']:.3f}",
    "memorised": lambda row: f"{row['memorised']:.3f}",
    "words": lambda row: f"{row['words']:.0f}",
    "calls": lambda row: f"{row['network_calls']:.0f}",
    "s per 1,000": lambda row: f"{row['seconds_per_1000_tokens']:.1f}",
}


def on_real_text(study: dict) -> str:
    """The stored table of systems on Wikipedia sentences: what comes back, what is drawn, what it costs."""
    lines = [f"{'':16s}" + "".join(f"{head:>{len(head) + 2}s}" for head in FIGURES)]
    rows = {row["system"]: row for row in study["runs"]}
    for system, name in ((system, name) for system, name in SYSTEM.items() if system in rows):
        cells = (filled(cell, rows[system]).rjust(len(head) + 2) for head, cell in FIGURES.items())
        lines.append(f"{name:16s}" + "".join(cells))
    told = f"{study['settings']['samples']} texts a row; judge: {study['runs'][0]['judge']}; s per 1,000 tokens"
    return "\n".join([*lines, told, again(study)])


def filled(cell, row: dict) -> str:
    """A cell of the table; "-" for what a row does not have."""
    try:
        return cell(row)
    except (KeyError, TypeError):
        return "-"
