"""The pictures and tables of lesson 04: eight texts on a line, and the stored study of PLANNER on the toy language."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from matplotlib import pyplot as plt
from torch import Tensor

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, style_of

HUES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY, BLACK)
SOURCES = {"N(0, I)": (GREY, ":", "o"), "one Gaussian": (ORANGE, "-.", "^"), "diffusion": (GREEN, "--", "s")}


def on_a_line(fits: dict[float, tuple], z: Float[Tensor, "Z"], p: Float[Tensor, "T"], names: list[str]) -> Picture:
    """Where each text's codes lie for several betas, and where the prior draws. `fits[beta]`: (q (T, Z), a remark)."""
    prior = (-z.square() / 2).exp() / (2 * torch.pi) ** 0.5
    fig, axes = plt.subplots(len(fits), 1, figsize=(8.4, 1.3 * len(fits) + 0.7), sharex=True)
    said = []
    for ax, (beta, (q, told)) in zip(axes, fits.items()):
        heights = p[:, None] * q
        for height, hue, name in zip(heights, HUES, names):
            ax.fill_between(z, height / heights.max(), color=hue, alpha=0.55, lw=0, label=name)
        ax.plot(z, prior / prior.max(), color=BLACK, ls=":", lw=1.5)
        ax.set(xlim=(-3, 3), ylim=(0, 1.1), yticks=[])
        ax.set_title(f"beta = {beta:g}: {told}", fontsize=10)
        said.append(f"beta {beta:g}: {told}")
    axes[-1].set_xlabel("z")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=9)
    alt = (
        "Densities of the codes of eight texts on a line, one panel per beta. Without KL they are narrow spikes with"
        " empty space between them inside (-1, 1), while the prior, dotted, is wide. " + ". ".join(said) + "."
    )
    return (
        fig,
        alt,
        "Coloured: where the codes of each text lie, times its probability. Dotted: N(0, 1). Each to its own scale.",
    )


def rows_of(study: dict, what: str, **wanted) -> list[dict]:
    """The rows of one kind that have the wanted values; an empty list is an error of the question."""
    usual = study["settings"]["usual"] if what != "plan" else {}
    wanted = usual | wanted
    rows = [r for r in study["runs"] if r["what"] == what and all(r.get(key) == value for key, value in wanted.items())]
    if not rows:
        raise ValueError(f"The study {study['study']} has no row of {what!r} with {wanted}.")
    return rows


def over_seeds(rows: list[dict], value: Callable[[dict], float]) -> Float[Tensor, "S"]:
    return torch.tensor([value(row) for row in rows], dtype=torch.float64)


def mean_range(values: Float[Tensor, "S"], digits: int = 2) -> str:
    return f"{values.mean():.{digits}f} ({values.min():.{digits}f}–{values.max():.{digits}f})"


def beta_name(beta: float, tokens: int = 12) -> str:
    return "1/12" if abs(beta * tokens - 1) < 1e-9 else f"{beta:g}"


def drawn(
    ax, study: dict, betas: list[float], value: Callable[[dict], float], label: str, look: dict, **wanted
) -> list:
    """A line over betas: mean and range over seeds. Returns the means."""
    what = wanted.pop("what", "codes")
    found = [over_seeds(rows_of(study, what, beta=beta, **wanted), value) for beta in betas]
    means = [values.mean().item() for values in found]
    places = range(len(betas))
    ax.plot(places, means, label=label, **look)
    ax.fill_between(
        places, [v.min() for v in found], [v.max() for v in found], color=look["color"], alpha=0.2, lw=0
    )  # fmt: skip
    return means


def price_of_kl(study: dict) -> Picture:
    """Over beta: nats, what comes back, and how smooth the space of codes is."""
    betas = study["settings"]["betas"]
    entropy = rows_of(study, "codes")[0]["entropy"]
    fig, (nats, back, smooth) = plt.subplots(1, 3, figsize=(11, 3.6))
    ours = style_of("planner")
    kl = drawn(nats, study, betas, lambda r: sum(r["kl"]), "KL", ours)
    bound = drawn(nats, study, betas, lambda r: r["bound"], "bound", {"color": BLUE, "marker": "o"})
    nats.axhline(entropy, label="entropy", **{k: v for k, v in style_of("exact").items() if k != "marker"})
    nats.set(yscale="log", ylabel="nats per text", title="What codes cost")
    own = drawn(back, study, betas, lambda r: r["own"]["bleu"], "own codes", ours)
    other = drawn(back, study, betas, lambda r: r["another's"]["bleu"], "another's", {"color": GREY, "marker": "o"})
    back.set(ylim=(0, 1), ylabel="BLEU of the text written", title="What comes back")
    looks = {"color": ORANGE, "marker": "^"}, {"color": PURPLE, "marker": "o"}
    noise = drawn(smooth, study, betas, relative_area, "noisy codes: AuBLEU / BLEU", looks[0])
    kept = drawn(smooth, study, betas, kept_above_chance, "midpoints: words kept", looks[1])
    smooth.set(ylim=(0, 1.1), ylabel="share that is kept", title="How smooth they are")
    for ax in (nats, back, smooth):
        ax.set_xticks(range(len(betas)), [beta_name(beta) for beta in betas])
        ax.set_xlabel("beta")
        ax.legend(fontsize=9)
    parts = {
        "KL": kl,
        "bound": bound,
        "BLEU of own": own,
        "of another's": other,
        "AuBLEU as a share of BLEU": noise,
        "kept": kept,
    }
    said = "; ".join(f"{name} {', '.join(f'{value:.2f}' for value in values)}" for name, values in parts.items())
    alt = f"Three panels over beta = {', '.join(map(beta_name, betas))}: {said}. Entropy {entropy:.2f} nats per text."
    usual, seeds = study["settings"]["usual"], len({r["seed"] for r in study["runs"]})
    caption = (
        f"{usual['N']} codes, {usual['share']:.0%} of the encoder's words swapped; mean and range of {seeds} seeds."
        " Words kept: share of the midpoint's words found at their place in one of the two texts, 0 being chance."
    )
    return fig, alt, f"{caption} {again(study)}"


def relative_area(row: dict) -> float:
    """What share of the clean BLEU is left under noise: robustness apart from quality."""
    return row["aubleu_over_1_minus_alpha"] / max(row["own"]["bleu"], 1e-9)


def kept_above_chance(row: dict) -> float:
    """The share of a midpoint's words that stand in one of the two texts, rescaled so that chance is 0."""
    kept, chance = row["between"]["kept"], row["between"]["by_chance"]
    return (kept - chance) / (1 - chance)


def told_of_codes(study: dict) -> str:
    """A table: one row per cell of the study, mean (lowest to highest) over seeds."""
    lines = [f"{'':34s}{'exact %':>18s}{'BLEU':>20s}{'KL, nats':>22s}{'AuBLEU':>20s}"]
    for (N, beta, share), rows in cells_of(study, "codes"):
        name = f"{N} code{'s' if N > 1 else ''}, beta {beta_name(beta)}, {share:.0%} swapped"
        exact = mean_range(100 * over_seeds(rows, lambda r: r["own"]["exact"]), 1)
        bleu = mean_range(over_seeds(rows, lambda r: r["own"]["bleu"]))
        kl = mean_range(over_seeds(rows, lambda r: sum(r["kl"])), 1)
        noise = mean_range(over_seeds(rows, lambda r: r["aubleu_over_1_minus_alpha"]))
        lines.append(f"{name:34s}{exact:>18s}{bleu:>20s}{kl:>22s}{noise:>20s}")
    return "\n".join(lines)


def cells_of(study: dict, what: str) -> list[tuple]:
    """((N, beta, share), its rows over seeds) for every cell, in the study's order."""
    rows = [r for r in study["runs"] if r["what"] == what]
    keys = list(dict.fromkeys((r["N"], r["beta"], r["share"]) for r in rows))
    return [(key, [r for r in rows if (r["N"], r["beta"], r["share"]) == key]) for key in keys]


def gap(row: dict) -> float:
    """Nats by which the grammatical sentences are likelier than true ones; NaN where none is grammatical."""
    return float("nan") if row["log_prob_gap"] is None else row["log_prob_gap"]


# figure: (its value, its digits), for every set of texts
TEXTS = {
    "grammatical %": (lambda r: 100 * r["grammatical"], 1),
    "distinct-2": (lambda r: r["distinct_2"], 3),
    "spread, nats": (lambda r: r["spread"], 2),
    "gap, nats": (gap, 2),
}


def figures_of(rows: list[dict]) -> str:
    """The figures of texts as columns: mean (lowest to highest)."""
    return "".join(f"{mean_range(over_seeds(rows, value), digits):>23s}" for value, digits in TEXTS.values())


def three_sources(study: dict, language: dict) -> str:
    """A table: texts written greedily from codes of three origins; `language` are the same figures of true texts."""
    lines = [f"{'':35s}{'codes from':14s}{''.join(f'{name:>23s}' for name in TEXTS)}"]
    lines.append(f"{'true sentences':49s}{''.join(f'{value(language):>23.{d}f}' for value, d in TEXTS.values())}")
    for (N, beta, share), rows in cells_of(study, "texts"):
        name = f"{N} code{'s' if N > 1 else ''}, beta {beta_name(beta)}, {share:.0%} swapped"
        for source in SOURCES:
            lines.append(f"{name:35s}{source:14s}{figures_of([r for r in rows if r['source'] == source])}")
            name = ""
    return "\n".join(lines)


def what_diffusion_adds(study: dict, language: dict) -> Picture:
    """Grammar, variety and likelihood of texts over beta, from codes of three origins."""
    betas = study["settings"]["betas"]
    fig, axes = plt.subplots(1, 3, figsize=(11.5, 3.6))
    shown = [name for name in TEXTS if name != "distinct-2"]
    said = []
    for ax, figure in zip(axes, shown):
        value, digits = TEXTS[figure]
        for source, (colour, dashes, marker) in SOURCES.items():
            look, wanted = {"color": colour, "ls": dashes, "marker": marker}, {"what": "texts", "source": source}
            means = drawn(ax, study, betas, value, source, look, **wanted)
            said.append(f"{figure} from {source} {', '.join(f'{mean:.{digits}f}' for mean in means)}")
        ax.axhline(value(language), color=BLACK, ls=":", lw=1.5, label="true sentences")
        ax.set_xticks(range(len(betas)), [beta_name(beta) for beta in betas])
        ax.set_xlabel("beta")
    axes[0].set(ylabel="grammatical sentences, %", ylim=(0, 104), title="The decoder knows grammar")
    axes[1].set(ylabel="spread, nats per place", ylim=(0, None), title="Variety comes from the codes")
    axes[2].set(ylabel="nats likelier than true ones", title="0 is right")
    axes[0].legend(fontsize=9)
    alt = f"Three panels over beta = {', '.join(map(beta_name, betas))}: {'; '.join(said)}."
    caption = f"{study['settings']['samples']} sentences, written greedily; mean and range over seeds. {again(study)}"
    return fig, alt, caption


def coarse_to_fine(study: dict) -> Picture:
    """Over the steps of sampling: how much of the final text's words and features is there already, above chance."""
    rows = rows_of(study, "plan", by="trajectory")
    looks = {
        "words": (BLACK, "-"), "colour": (VERMILLION, "--"), "subject number": (BLUE, "-."),
        "object number": (SKY, ":"),
    }  # fmt: skip
    fig, ax = plt.subplots(figsize=(7.6, 3.6))
    t, settled = rows[0]["t"], {}
    for name, (colour, dashes) in looks.items():
        there = torch.tensor([r["there"][name] for r in rows], dtype=torch.float64)
        chance = torch.tensor([r["chance"][name] for r in rows], dtype=torch.float64)[:, None]
        share = (there - chance) / (1 - chance).clamp_min(1e-9)
        ax.plot(t, 100 * share.mean(0), color=colour, ls=dashes, label=name)
        ax.fill_between(t, 100 * share.amin(0), 100 * share.amax(0), color=colour, alpha=0.15, lw=0)
        settled[name] = settled_at(t, share.mean(0))
    ax.axhline(80, color=GREY, lw=0.8)
    ax.set(xlim=(1, 0), ylim=(None, 102), xlabel="t (sampling goes to the right)")
    ax.set_ylabel("already decided, % above chance")
    ax.legend()
    told = ", ".join(f"{name} from t = {time:.2f}" for name, time in settled.items())
    alt = f"Curves over the steps of sampling from t = 1 to 0, which end at 100 %. They stay above 80 %: {told}."
    return fig, alt, f"Decoded x_hat of every step against the final text. Above 80 % for good: {told}. {again(study)}"


def settled_at(t: list[float], share: Float[Tensor, "T"], level: float = 0.8) -> float:
    """The first time from which on the share stays at the level or above; the last time if it never does."""
    after = max((i + 1 for i, value in enumerate(share.tolist()) if value < level), default=0)
    return t[min(after, len(t) - 1)]


def under_noise(study: dict) -> Picture:
    """BLEU of texts read from noisy codes: with and without swapped words in training, and after one denoising step."""
    t, usual = study["settings"]["times"], study["settings"]["usual"]
    looks = zip(study["settings"]["swapped_shares"], ((GREY, "-"), (GREEN, "--"), (ORANGE, ":")))
    curves = {f"{share:.0%} swapped": (rows_of(study, "codes", share=share), "noisy", *look) for share, look in looks}
    denoised = rows_of(study, "plan", by="noise"), "denoised", PURPLE, "-."
    curves[f"{usual['share']:.0%} swapped, denoised"] = denoised
    fig, ax = plt.subplots(figsize=(7.6, 3.4))
    said = []
    for name, (rows, key, colour, dashes) in curves.items():
        values = torch.tensor([r[key] for r in rows], dtype=torch.float64)
        area = mean_range(over_seeds(rows, lambda r: r["aubleu_over_1_minus_alpha"]))
        ax.plot(t, values.mean(0), color=colour, ls=dashes, label=f"{name}: AuBLEU {area}")
        ax.fill_between(t, values.amin(0), values.amax(0), color=colour, alpha=0.2, lw=0)
        first, middle = values.mean(0)[[0, len(t) // 2]].tolist()
        said.append(f"{name} {first:.2f} at t = {t[0]:g}, {middle:.2f} at t = {t[len(t) // 2]:g}")
    ax.set(xlabel="t", ylabel="BLEU with the true text", ylim=(0, 1))
    ax.legend(fontsize=9)
    caption = "Noise on standardised codes, cosine schedule; AuBLEU over 1 - alpha. Mean and range over seeds."
    return fig, f"Falling curves over t: {'; '.join(said)}.", f"{caption} {again(study)}"


def steps_and_weights(study: dict) -> str:
    """A table: diffusion with the usual settings by steps, and by guidance weight."""
    lines = [f"{'':14s}{'colour asked for %':>21s}{''.join(f'{name:>23s}' for name in TEXTS)}"]
    for by in ("steps", "weight"):
        for value in dict.fromkeys(r[by] for r in rows_of(study, "plan", by=by)):
            rows = rows_of(study, "plan", by=by, **{by: value})
            name = f"{value} steps" if by == "steps" else f"guidance {value:g}"
            asked = mean_range(over_seeds(rows, lambda r: 100 * r["asked_for"]), 1) if by == "weight" else "–"
            lines.append(f"{name:14s}{asked:>21s}{figures_of(rows)}")
    return "\n".join(lines)
