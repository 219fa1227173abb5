"""The picture and tables of lesson 09's stored study, gidd_sweep."""

import torch
from matplotlib import pyplot as plt

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import GREEN, METHOD_COLOUR, ORANGE, VERMILLION, style_of

COLOURS = (METHOD_COLOUR["mdlm"], GREEN, ORANGE, VERMILLION)


def select(study: dict, network: str, p_uniform: float, weights: str = "dynamic") -> list[dict]:
    """The runs (seeds) of a network, "trained" or "exact", at one share of random tokens."""
    same = [r for r in study["runs"] if r["network"] == network and r["p_uniform"] == p_uniform]
    return [r for r in same if r.get("weights", weights) == weights]


def broken(study: dict, network: str, p_uniform: float) -> torch.Tensor:
    """Broken sentences in per cent, (seeds, steps)."""
    steps = [str(T) for T in study["settings"]["steps"]]
    return torch.tensor([[100 * r["samplers"][T]["broken"] for T in steps] for r in select(study, network, p_uniform)])


def sweep(study: dict) -> Picture:
    """The bound against p_u, and broken sentences against network calls for the perfect and the trained denoisers."""
    shares, steps = study["settings"]["p_uniform"], study["settings"]["steps"]
    fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), width_ratios=(0.8, 1, 1))
    for p_u, colour, mark in zip(shares, COLOURS, "osD^"):
        bounds = [r["bound"] for r in select(study, "trained", p_u)]
        axes[0].plot([p_u] * len(bounds), bounds, mark, color=colour, alpha=0.6)
        for ax, network in ((axes[1], "exact"), (axes[2], "trained")):
            shown = broken(study, network, p_u)
            ax.plot(steps, shown.mean(0), color=colour, marker=mark, label=f"$p_u$ = {p_u:g}")
            ax.fill_between(steps, shown.amin(0), shown.amax(0), color=colour, alpha=0.2, lw=0)
    exact = select(study, "trained", shares[0])[0]["exact"]
    axes[0].axhline(exact, ls=":", color=style_of("exact")["color"])
    axes[0].set(xlabel="$p_u$", ylabel="bound, nats per word", title="The bound")
    for ax, title in ((axes[1], "Perfect denoiser"), (axes[2], "Trained")):
        ax.set(xscale="log", xlabel="network calls", ylabel="broken sentences, %", title=title, ylim=(0, 100))
        ax.set(xticks=steps, xticklabels=steps)
        ax.minorticks_off()
    axes[2].legend()
    said = []
    for p_u in shares:
        bound = sum(r["bound"] for r in select(study, "trained", p_u)) / len(select(study, "trained", p_u))
        trained, perfect = (broken(study, network, p_u).mean(0)[1] for network in ("trained", "exact"))
        said.append(f"p_u = {p_u:g}: bound {bound:.3f}, broken {trained:.0f} % (perfect {perfect:.0f} %)")
    alt = f"Bound, and broken sentences at {steps[1]} calls. {'; '.join(said)}. Exact -log p {exact:.3f}."
    seeds = len(select(study, "trained", shares[0]))
    caption = f"Dots: seeds; dotted line: exact −log p of the same sentences; bands: {seeds} seeds. {again(study)}"
    return fig, alt, caption


def corrections(study: dict) -> str:
    """A table: four-step drafts before and after correction, by network, share and editor, means over seeds."""
    lines = [
        f"{'network':9s}{'p_u':>5s}  {'editor':16s}{'broken %':>16s}{'self-accuracy %':>17s}{'changes':>9s}"
        f"{'calls':>7s}{'spread':>15s}{'distinct %':>14s}{'true ones broken %':>20s}"
    ]
    for network in ("trained", "exact"):
        for p_u in study["settings"]["p_uniform"]:
            found = [r["correction"] for r in select(study, network, p_u) if "correction" in r]
            editors = [editor for editor in (found[0] if found else {}) if editor != "before"]
            lines += [correction_row(f"{network:9s}{p_u:5.1f}", found, editor) for editor in editors]
    return "\n".join(lines)


def correction_row(start: str, found: list[dict], editor: str) -> str:
    def mean(who, key):
        return sum(c[who][key] for c in found) / len(found)

    broken_, distinct = (
        f"{100 * mean('before', key):.0f} -> {100 * mean(editor, key):.0f}" for key in ("broken", "distinct")
    )
    spread = f"{mean('before', 'spread'):.2f} -> {mean(editor, 'spread'):.2f}"
    accuracy = f"{100 * mean(editor, 'self_accuracy_before'):.0f} -> {100 * mean(editor, 'self_accuracy_after'):.0f}"
    return (
        f"{start}  {editor.replace('own token', 'the word'):16s}{broken_:>16s}{accuracy:>17s}"
        f"{mean(editor, 'changes'):9.2f}"
        f"{mean(editor, 'network_calls'):7.1f}{spread:>15s}{distinct:>14s}{100 * mean(editor, 'true_broken'):20.1f}"
    )


def weightings(study: dict) -> str:
    """A table: the unweighted bound after training with each weighting, at one p_u, seed by seed."""
    at = study["settings"]["weighted_at"]
    base = {r["seed"]: r["bound"] for r in select(study, "trained", at, "bound")}
    lines = [f"{'trained with':14s}{'unweighted bound, by seed':>30s}{'mean':>9s}{'± sd':>8s}   minus 'bound', by seed"]
    for weights in ("bound", "clamped", "dynamic", "relative"):
        runs = select(study, "trained", at, weights)
        bounds = torch.tensor([r["bound"] for r in runs])
        by_seed = "  ".join(f"{b:.4f}" for b in bounds)
        difference = "  ".join(f"{r['bound'] - base[r['seed']]:+.4f}" for r in runs)
        lines.append(f"{weights:14s}{by_seed:>30s}{bounds.mean():9.4f}{bounds.std():8.4f}   {difference}")
    error = max(r["standard_error"] for r in study["runs"] if "bound" in r)
    exact = select(study, "trained", at)[0]["exact"]
    return "\n".join([*lines, f"exact -log p of these sentences {exact:.4f}; ± of one estimate at most {error:.4f}"])
