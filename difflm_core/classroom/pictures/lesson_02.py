"""The pictures and tables of lesson 02: the map of words, the bound, and what can be read at which noise."""

import math

import torch
from jaxtyping import Float
from matplotlib import pyplot as plt
from torch import Tensor

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    METHOD_COLOUR,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    label_lines,
    style_of,
)
from difflm_core.data.toy_language import (
    ADJECTIVES,
    CLOTHES,
    COLOURS,
    COMPANIONS,
    DETERMINERS,
    NOUNS,
    PREPOSITIONS,
    VERBS,
)

KINDS = {  # part of speech: (its words, colour)
    "determiners": (DETERMINERS["one"] + DETERMINERS["many"], GREY),
    "adjectives": (ADJECTIVES, GREEN),
    "colours": (COLOURS, VERMILLION),
    "nouns, one": (NOUNS["one"], BLUE),
    "nouns, many": (NOUNS["many"], SKY),
    "verbs, one": (VERBS["one"], ORANGE),
    "verbs, many": (VERBS["many"], "#b07000"),
    "prepositions": (PREPOSITIONS, PURPLE),
    "companions, clothes": (COMPANIONS + CLOTHES, BLACK),
}


def word_map(embedding: Float[Tensor, "V D"], language) -> Picture:
    """The embeddings on their first two principal axes, coloured by part of speech."""
    vectors = embedding.detach() - embedding.detach().mean(0)
    _, size, axes = torch.linalg.svd(vectors, full_matrices=False)
    place, share = vectors @ axes[:2].T, (size[:2].square().sum() / size.square().sum()).item()
    fig, ax = plt.subplots(figsize=(8.2, 4.6))
    for (name, (members, colour)), mark in zip(KINDS.items(), "osD^v<>PX", strict=True):
        rows = [language.words.index(word) for word in dict.fromkeys(members)]
        ax.scatter(*place[rows].T, s=36, color=colour, marker=mark, alpha=0.85, label=name, lw=0)
    for word in ("fox", "foxes", "hops", "hop", "brown", "the", "over", "boots"):
        i = language.words.index(word)
        ax.annotate(word, place[i].tolist(), xytext=(5, 4), textcoords="offset points", fontsize=9)
    ax.set(xlabel="first principal axis", ylabel="second", title="Where the words ended up")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    like, unlike = neighbours(embedding, language)
    alt = (
        f"Scatter plot of the words on two principal axes of all {len(embedding)} embeddings, which hold {share:.0%} of"
        f" the variance. Words of one part of speech lie near each other. Over all axes {like:.0%} of the words have a"
        f" word of their own part of speech as nearest neighbour; by chance it would be {unlike:.0%}."
    )
    caption = f"{like:.0%} of the words have their nearest neighbour in their own class (by chance {unlike:.0%})."
    return fig, alt, caption


def neighbours(embedding: Float[Tensor, "V D"], language) -> tuple[float, float]:
    """The share of words whose nearest neighbour is of the same part of speech, and the share for random vectors."""
    kind = torch.full((len(embedding),), -1)
    for number, (members, _) in enumerate(KINDS.values()):
        kind[[language.words.index(word) for word in members]] = number
    known = kind >= 0
    vectors, kind = embedding.detach()[known], kind[known]
    nearest = torch.cdist(vectors, vectors).fill_diagonal_(math.inf).argmin(1)
    count = torch.bincount(kind).double()
    chance = (count * (count - 1)).sum() / (count.sum() * (count.sum() - 1))
    return (kind[nearest] == kind).double().mean().item(), chance.item()


def bound_parts(parts, entropy: float) -> Picture:
    """Nats per word of every step of the bound, and its four sums."""
    steps = parts.steps.mean((1, 2))
    t = torch.arange(2, len(steps) + 2) / (len(steps) + 1)
    sums = {
        "prior": parts.prior.mean().item(),
        "steps": steps.sum().item(),
        "start": parts.start.mean().item(),
        "rounding": parts.rounding.mean().item(),
    }
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), width_ratios=(2, 1))
    left.fill_between(t, steps * len(t), step="mid", color=METHOD_COLOUR["diffusion_lm"], alpha=0.5, lw=0)
    left.set(xlabel="t", ylabel="nats per word and unit of t", xlim=(0, 1), title="Where the bound arises")
    flat, peak = (steps * len(t))[t > 0.2].max().item(), (steps * len(t)).max().item()
    left.set_ylim(0, 2 * flat)
    if peak > 2 * flat:
        left.annotate(f"up to {peak:.0f}", (0.01, 1.9 * flat), xytext=(12, 0), textcoords="offset points", va="center")
    right.bar(list(sums), list(sums.values()), color=METHOD_COLOUR["diffusion_lm"], alpha=0.7)
    for place, value in enumerate(sums.values()):
        right.annotate(f"{value:.3f}", (place, max(value, 0)), ha="center", xytext=(0, 3), textcoords="offset points")
    right.axhline(0, color=BLACK, lw=0.8)
    right.set(ylabel="nats per word", title=f"In all {sum(sums.values()):.2f}")
    right.margins(y=0.15)
    found = ", ".join(f"{name} {value:.3f}" for name, value in sums.items())
    alt = (
        f"Left: nats per step over t, a peak of {peak:.0f} at 0 and, beyond 0.2, a low slope. Right: sums of the four"
        f" parts, {found}; together {sum(sums.values()):.3f}."
    )
    return fig, alt, f"The exact entropy of the language is {entropy:.3f} nats per word."


SCHEDULES = {  # name: (colour, dashes), here and in the schedule explorer
    "linear beta": (VERMILLION, ":"),
    "cosine": (SKY, "-."),
    "sqrt": (METHOD_COLOUR["diffusion_lm"], "--"),
    "shifted cosine 3": (GREEN, "-"),
    "shifted cosine 9": (PURPLE, (0, (5, 1, 1, 1))),
}


def recoverable(study: dict) -> Picture:
    """Recoverable words against t for each schedule, for narrow and wide embeddings (study recoverable_tokens)."""
    fig, axes = plt.subplots(1, 2, figsize=(10, 3.9), sharey=True)
    t, blind, said = study["settings"]["times"], study["settings"]["guessed_blind"], []
    for ax, D in zip(axes, (16, 128)):
        wasted = []
        for name, (colour, dashes) in SCHEDULES.items():
            runs = [r for r in study["runs"] if (r["D"], r["scale"], r["schedule"]) == (D, "unit variance", name)]
            share = 100 * torch.tensor([r["context"] for r in runs])
            ax.plot(t, share.mean(0), color=colour, ls=dashes, label=name)
            ax.fill_between(t, share.amin(0), share.amax(0), color=colour, alpha=0.2, lw=0)
            easy, noisy = (100 * sum(r["useless"][key] for r in runs) / len(runs) for key in ("too_easy", "too_noisy"))
            wasted.append(f"{name} {easy:.0f} + {noisy:.0f} %")
        ax.axhspan(98, 100, color="#eeeeee")
        ax.axhspan(0, 100 * blind + 2, color="#eeeeee")
        ax.set(xlabel="t", xlim=(0, 1), ylim=(0, 102), title=f"D = {D}")
        said.append(f"D = {D}: " + ", ".join(wasted))
    axes[0].set_ylabel("words that can be recovered, %")
    axes[1].legend(loc="lower left")
    alt = "Share of recoverable words over t. Useless part of [0, 1], too easy plus too noisy: " + "; ".join(said) + "."
    caption = (
        f"Grey: nothing to learn, since all words can be read (top) or no more than blind guessing gives ({blind:.0%})."
        f" Random embeddings of unit variance, {study['settings']['texts']} sentences, three seeds. {again(study)}"
    )
    return fig, alt, caption


def useless(study: dict) -> str:
    """A table: the useless share of [0, 1], too easy + too noisy, for each schedule and width."""
    widths = [(16, "unit variance"), (64, "unit variance"), (128, "unit variance"), (16, "unit length")]
    head = "".join(f"{f'D = {D}, {scale}':>24s}" for D, scale in widths)
    lines = [f"{'useless: too easy + too noisy, %':34s}{head}"]
    for name in SCHEDULES:
        cells = []
        for D, scale in widths:
            easy, noisy = (100 * share for share in useless_shares(study, name, D, scale))
            cells.append(f"{f'{easy:.0f} + {noisy:.0f} = {easy + noisy:.0f}':>24s}")
        lines.append(f"{name:34s}" + "".join(cells))
    return "\n".join(lines)


def useless_shares(study: dict, schedule: str, D: int, scale: str = "unit variance") -> tuple[float, float]:
    """Shares of [0, 1] that are too easy and too noisy, means over the study's seeds."""
    runs = [r for r in study["runs"] if (r["D"], r["scale"], r["schedule"]) == (D, scale, schedule)]
    return tuple(sum(r["useless"][key] for r in runs) / len(runs) for key in ("too_easy", "too_noisy"))


def reading(t: Float[Tensor, "T"], shares: dict[str, list[float]]) -> Picture:
    """Words read right over t, by several readers."""
    fig, ax = plt.subplots(figsize=(7.6, 3.4))
    looks = [style_of("exact"), style_of("diffusion_lm"), {"color": GREY, "linestyle": "-.", "marker": ""}]
    for (name, share), look in zip(shares.items(), looks):
        ax.plot(t, [100 * value for value in share], label=name, **look)
    ax.set(xlabel="t", ylabel="words read right, %", ylim=(0, 102), title="What can be read, and what is read")
    label_lines(ax)
    middle = len(t) // 2
    found = ", ".join(f"{name} {100 * share[middle]:.0f} %" for name, share in shares.items())
    alt = f"Three falling curves over t. At t = {t[middle]:.2f}: {found}."
    return fig, alt, "One look of each, at the same noisy texts."
