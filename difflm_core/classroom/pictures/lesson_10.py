"""The picture of the stored study exact_samplers: every sampler of the course with a perfect network."""

import torch
from matplotlib import pyplot as plt

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION

MASKS = {
    "ancestral": ("MDLM", BLUE, "o-"),
    "remdm cap 0.04": ("ReMDM cap", SKY, "o-"),
    "star+ 0.3": ("Star+ 0.3", PURPLE, "o--"),
    "star": ("Star", PURPLE, "o-"),
    "exact count 1.0": ("exact count", GREY, "s-"),
    "confidence": ("most confident first", ORANGE, "D:"),
    "blocks of 4": ("blocks of 4", BLACK, "o--"),
}
NOISES = {
    "ancestral": ("masks", BLUE, "o-"),
    "hybrid": ("masks + words", GREEN, "o-"),
    "uniform": ("words, even grid", SKY, "o-"),
    "D3PM uniform": ("words, cosine", VERMILLION, "o-"),
    "Gaussian, ancestral": ("Gaussian", ORANGE, "s--"),
    "Gaussian, DDIM": ("Gaussian, DDIM", BLACK, "s:"),
}


def curve(study: dict, sampler: str, key: str = "broken") -> tuple[torch.Tensor, torch.Tensor]:
    """(mean network calls (steps,), figure (seeds, steps)) of one sampler."""
    rows = [r for r in study["runs"] if r["sampler"] == sampler]
    seeds, steps = sorted({r["seed"] for r in rows}), study["settings"]["steps"]

    def at(seed, T, what):
        return next(r[what] for r in rows if r["seed"] == seed and r["steps"] == T)

    calls = torch.tensor([[at(s, T, "network_calls") for T in steps] for s in seeds])
    return calls.mean(0), torch.tensor([[at(s, T, key) for T in steps] for s in seeds])


def every_sampler(study: dict) -> Picture:
    """Broken sentences against network calls: samplers of one masked model on the left, kinds of noise on the right."""
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.2), sharey=True)
    for ax, shown, title in (
        (axes[0], MASKS, "One masked model, many samplers"),
        (axes[1], NOISES, "Many kinds of noise"),
    ):
        for sampler, (label, colour, look) in shown.items():
            calls, figure = curve(study, sampler)
            ax.plot(calls, 100 * figure.mean(0), look, color=colour, label=label)
            ax.fill_between(calls, 100 * figure.amin(0), 100 * figure.amax(0), color=colour, alpha=0.15, lw=0)
        ax.set(xscale="log", xlabel="network calls", title=title, ylim=(-3, 102))
        ax.set_xticks([2, 4, 8, 16, 32], [2, 4, 8, 16, 32])
        ax.minorticks_off()
    axes[0].set_ylabel("broken sentences, %")
    axes[0].legend(loc="lower left", fontsize=9)
    axes[1].legend(loc="upper right", fontsize=9)
    alt = "Broken sentences in per cent against mean network calls, with a perfect network. " + "; ".join(
        f"{label}: " + ", ".join(f"{100 * b:.0f} at {c:.1f}" for c, b in zip(calls.tolist(), figure.mean(0).tolist()))
        for label, (calls, figure) in ((look[0], curve(study, name)) for name, look in (MASKS | NOISES).items())
    )
    seeds = len({r["seed"] for r in study["runs"]})
    return (
        fig,
        alt + ".",
        f"Mean and range of {seeds} seeds, {study['settings']['samples']} sentences each. {again(study)}",
    )


def price_in_variety(study: dict, T: int = 8) -> str:
    """A table at T steps: broken sentences beside what the others look like (gap 0, truth's entropy: nothing lost)."""
    lines = [
        f"{'sampler':22s}{'calls':>7s}{'broken %':>10s}{'log p gap, nats':>17s}{'word entropy':>14s}{'distinct %':>12s}"
    ]
    place = study["settings"]["steps"].index(T)
    for name in dict.fromkeys([*MASKS, *NOISES]):
        calls, broken = curve(study, name)
        gap, entropy, distinct = (
            curve(study, name, key)[1].mean(0)[place].item() for key in ("log_prob_gap", "entropy", "distinct")
        )
        lines.append(
            f"{name:22s}{calls[place]:7.1f}{100 * broken.mean(0)[place]:10.1f}{gap:17.2f}{entropy:14.3f}"
            f"{100 * distinct:12.1f}"
        )
    return "\n".join(lines)
