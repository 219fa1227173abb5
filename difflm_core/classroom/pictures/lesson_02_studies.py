"""The pictures and tables of lesson 02's stored studies diffusion_lm_dimension and diffusion_lm_drawbacks."""

import torch
from matplotlib import pyplot as plt

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import BLACK, BLUE, GREEN, METHOD_COLOUR, VERMILLION, style_of
from difflm_core.data.toy_language import toy_language


def cells(study: dict, kind: str, D: int, schedule: str = "sqrt") -> list[dict]:
    """The seeds of one cell (study diffusion_lm_dimension)."""
    return [r for r in study["runs"] if (r["kind"], r["D"], r["schedule"]) == (kind, D, schedule)]


DIMENSIONS = (4, 16, 64, 128)
KIND_LOOK = {"x": (METHOD_COLOUR["diffusion_lm"], "o", "-"), "eps": (BLUE, "s", "--")}


def dimension(study: dict) -> Picture:
    """What networks of both kinds fail to read, over the width, and at each signal for the widest."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.7))
    said = []
    for kind, (colour, mark, dashes) in KIND_LOOK.items():
        lost = 100 * torch.tensor([[r["lost"] for r in cells(study, kind, D)] for D in DIMENSIONS])
        name = "x" if kind == "x" else "noise"
        left.plot(DIMENSIONS, lost.mean(1), dashes, marker=mark, color=colour, label=f"predicts {name}")
        left.fill_between(DIMENSIONS, lost.amin(1), lost.amax(1), color=colour, alpha=0.25, lw=0)
        values = ", ".join(f"{v:.0f} % at D = {D}" for D, v in zip(DIMENSIONS, lost.mean(1).tolist()))
        said.append(f"predicting {name} {values}")
        read = 100 * torch.tensor([r["read"] for r in cells(study, kind, 128)])
        right.plot(study["settings"]["signals"], read.mean(0), dashes, marker=mark, color=colour)
    best = 100 * torch.tensor([r["best"] for r in cells(study, "x", 128)])
    right.plot(study["settings"]["signals"], best.mean(0), **style_of("exact"))
    right.annotate("exact posterior", (3, best.mean(0)[1]), xytext=(-72, 8), textcoords="offset points", fontsize=10)
    left.set(xscale="log", xlabel="D, numbers per word", ylabel="readable words lost, %")
    left.set_title("What the network loses")
    left.set_xticks(DIMENSIONS, DIMENSIONS)
    left.set_xticks([], minor=True)
    left.set_ylim(bottom=0)
    left.legend(loc="lower right")
    right.set(xscale="log", xlabel="signal |Emb|² α / (1 − α)", ylabel="words read right, %", title="D = 128")
    right.set_xticks(study["settings"]["signals"], study["settings"]["signals"])
    right.set_xticks([], minor=True)
    right.set_ylim(0, 102)
    alt = "Left: words that the exact posterior reads and the network does not: " + "; ".join(said) + ". Right: words"
    alt += " read right over the signal at D = 128: the noise-network is far below the other where there is little."
    caption = f"Means over four signals; bands: three seeds. {again(study)}"
    return fig, alt, caption


def dimension_table(study: dict) -> str:
    """Both schedules: words lost, and the bound with words read off at small t, mean and range over seeds."""
    lines = [f"{'predicts':10s}{'D':>5s}  {'schedule':10s}{'readable words lost, %':>26s}{'bound, nats per word':>38s}"]
    order = [(kind, D, schedule) for kind in ("x", "eps") for D in (16, 128) for schedule in ("sqrt", "linear")]
    for kind, D, schedule in order:
        runs = cells(study, kind, D, schedule)
        lost, bound = (torch.tensor([r[key] for r in runs]) for key in ("lost", "bound_rounded"))
        lost = 100 * lost
        left = f"{lost.mean():.1f} ({lost.min():.1f} to {lost.max():.1f})"
        right = f"{bound.mean():,.1f} ({bound.min():,.1f} to {bound.max():,.1f})"
        lines.append(f"{kind:10s}{D:5d}  {schedule:10s}{left:>26s}{right:>38s}")
    return "\n".join(lines)


def followed(study: dict, network: str, key: str) -> tuple[list[int], torch.Tensor]:
    """(training steps, values (seeds, steps)) of a network while it trains (study diffusion_lm_drawbacks)."""
    curves = [r["curve"] for r in study["runs"] if r["network"] == network]
    return [row["step"] for row in curves[0]], torch.tensor([[row[key] for row in curve] for curve in curves])


def convergence(study: dict) -> Picture:
    """Bound and grammar over training steps, beside masked diffusion."""
    fig, axes = plt.subplots(1, 2, figsize=(10, 3.7))
    looks = {"vectors": ("Diffusion-LM", style_of("diffusion_lm")), "masks": ("masked diffusion", style_of("mdlm"))}
    said = []
    for network, (name, look) in looks.items():
        for ax, key, scale in ((axes[0], "bound", 1), (axes[1], "grammatical", 100)):
            steps, values = followed(study, network, key)
            values = scale * values
            ax.plot(steps, values.mean(0), label=name, **look)
            ax.fill_between(steps, values.amin(0), values.amax(0), color=look["color"], alpha=0.2, lw=0)
        _, bound = followed(study, network, "bound")
        steps, good = followed(study, network, "grammatical")
        at = f"bound {bound.mean(0)[-1]:.2f}, grammatical {100 * good.mean(0)[-1]:.0f} % after {steps[-1]} steps"
        said.append(f"{name}: {at}")
    entropy = toy_language().entropy() / 12
    axes[0].axhline(entropy, ls=":", color=BLACK)
    axes[0].set(xscale="log", yscale="log", ylabel="bound, nats per word", title="The bound")
    axes[1].set(xscale="log", ylabel="grammatical sentences, %", title="The sentences", ylim=(0, 100))
    axes[0].set_yticks([2, 5, 10, 50, 200], [2, 5, 10, 50, 200])
    axes[0].set_yticks([], minor=True)
    for ax in axes:
        ax.set(xlabel=f"training steps of {study['settings']['batch_size']} sentences")
        ax.set_xticks(study["settings"]["looks"], study["settings"]["looks"])
        ax.set_xticks([], minor=True)
    axes[0].legend()
    same = "; ".join(said)
    alt = f"Bound and share of grammatical sentences over training steps. {same}. The entropy is {entropy:.2f}."
    calls = study["settings"]["look_steps"]
    caption = f"Diffusion-LM samples with {calls} calls, masked diffusion with 12. Bands: three seeds. {again(study)}"
    return fig, alt, caption


def steps(study: dict) -> Picture:
    """Grammatical sentences over sampling steps: plain, clamped, and with a perfect network."""
    runs = [r for r in study["runs"] if r["network"] == "vectors"]
    fig, ax = plt.subplots(figsize=(7.8, 3.7))
    looks = {
        None: ("as it is", {"color": METHOD_COLOUR["diffusion_lm"], "ls": "--", "marker": "s"}),
        0.5: ("clamped from t = 0.5", {"color": GREEN, "ls": "-.", "marker": "D"}),
        1.0: ("clamped from t = 1", {"color": VERMILLION, "ls": "-", "marker": "o"}),
    }
    said = []
    for clamp_from, (name, look) in looks.items():
        rows = [[q for q in r["qualities"] if q["clamp_from"] == clamp_from] for r in runs]
        said.append(name + " " + drawn(ax, rows, name, look))
    perfect = [r["exact_qualities"] for r in runs]
    said.append("perfect network " + drawn(ax, perfect, "perfect network", {**style_of("exact"), "marker": "."}))
    ticks = study["settings"]["sampling_steps"]
    ax.set(xscale="log", xlabel="sampling steps (network calls)", ylabel="grammatical sentences, %", ylim=(0, 102))
    ax.set_xticks(ticks, ticks)
    ax.set_xticks([], minor=True)
    ax.set_title("Whose fault are the steps?")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    alt = "Grammatical sentences over sampling steps. " + "; ".join(said) + "."
    caption = f"Bands: three trained models. {again(study)}"
    return fig, alt, caption


def drawn(ax, rows: list[list[dict]], name: str, look: dict) -> str:
    """One curve with its band; what it shows in words."""
    at = [row["steps"] for row in rows[0]]
    good = 100 * torch.tensor([[row["grammatical"] for row in run] for run in rows])
    ax.plot(at, good.mean(0), label=name, **look)
    ax.fill_between(at, good.amin(0), good.amax(0), color=look["color"], alpha=0.2, lw=0)
    return ", ".join(f"{value:.0f} % at {T}" for T, value in zip(at, good.mean(0).tolist()))


def variety(study: dict) -> str:
    """A table: grammar beside variety, means over seeds, at equal numbers of sentences."""
    runs = [r["varieties"] for r in study["runs"] if r["network"] == "vectors"]
    columns = {
        "grammatical %": ("grammatical", 100, ".0f"),
        "likelier by": ("log_prob_gap", 1, "+.2f"),
        "entropy within": ("entropy", 1, ".3f"),
        "spread": ("spread", 1, ".2f"),
        "distinct-1": ("distinct_1", 1, ".4f"),
        "distinct-2": ("distinct_2", 1, ".3f"),
        "distinct-3": ("distinct_3", 1, ".3f"),
    }
    n = study["settings"]["diverse_samples"]
    lines = [f"{f'{n} sentences each, {len(runs)} seeds':28s}" + "".join(f"{name:>16s}" for name in columns)]
    for way in runs[0]:
        line = f"{way:28s}"
        for key, scale, form in columns.values():
            values = [scale * run[way][key] for run in runs if run[way][key] is not None]
            line += f"{format(sum(values) / len(values), form) if values else 'too few':>16s}"
        lines.append(line)
    return "\n".join(lines)


def backbones(study: dict) -> str:
    """A table: transformer and U-Net after the same training, seed by seed."""
    lines = [
        f"{'backbone':14s}{'parameters':>12s}{'bound':>24s}{'words read, one call, %':>26s}{'grammatical, %':>22s}"
    ]
    for backbone in ("transformer", "unet"):
        runs = [r for r in study["runs"] if r["network"] == f"backbone {backbone}"]
        by_seed = ["  ".join(f"{scale * r[key]:.{digits}f}" for r in runs) for key, scale, digits in MEASURES]
        lines.append(f"{backbone:14s}{runs[0]['parameters']:12,d}{by_seed[0]:>24s}{by_seed[1]:>26s}{by_seed[2]:>22s}")
    steps_, batch = study["settings"]["backbone_steps"], study["settings"]["batch_size"]
    return "\n".join([*lines, f"seed by seed, after {steps_} steps of {batch}. {again(study)}"])


MEASURES = (("bound", 1, 2), ("read", 100, 1), ("grammatical", 100, 0))
