"""The pictures and tables of lesson 00: two training curves, and what its stored studies found."""

import torch
from matplotlib import pyplot as plt

from difflm_core.classroom.pictures.lesson_08 import Picture, again, curve
from difflm_core.classroom.plots import BLACK, BLUE, GREY, METHOD_COLOUR, style_of

NAMES = {"ar-tiny": ("autoregressive", "ar"), "mdlm-tiny": ("masked diffusion", "mdlm")}
LOOKS = {  # way to write (study calls_and_seconds): style
    "autoregressive, no cache": {"color": GREY, "ls": ":", "marker": "o"},
    "autoregressive, cached": {"color": GREY, "ls": "-", "marker": "o"},
    "masked, one word a call": {"color": BLUE, "ls": ":", "marker": "s"},
    "masked, 16 steps": {"color": BLUE, "ls": "-", "marker": "s"},
}


def two_curves(histories: dict[str, list[dict]], entropy: float) -> Picture:
    """Nats per word on held-out sentences while both models train."""
    fig, ax = plt.subplots()
    for name, history in histories.items():
        label, method = NAMES[name]
        ax.plot([r["step"] for r in history], [r["bound"] for r in history], label=label, **style_of(method))
    last = max(r["step"] for history in histories.values() for r in history)
    ax.plot([0, last], [entropy, entropy], label="exact entropy", **style_of("exact"))
    ax.set(xlabel="training step", ylabel="nats per word", title="AR: exact cost; masked diffusion: its bound")
    ax.legend()
    said = "; ".join(
        f"{NAMES[name][0]} from {history[0]['bound']:.2f} at step {history[0]['step']} to {history[-1]['bound']:.3f}"
        for name, history in histories.items()
    )
    alt = f"Nats per word against training steps: {said}. The entropy is {entropy:.3f}."
    return fig, alt, "The same held-out sentences at every point."


def bounds_and_quality(study: dict) -> Picture:
    """Study tiny_seeds: the final nats of both models, and broken sentences against network calls."""
    runs = {name: [run for run in study["runs"] if run["recipe"] == name] for name in NAMES}
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), width_ratios=(0.8, 1))
    for row, (name, (_, method)) in enumerate(NAMES.items()):
        bounds = [run["bound"] for run in runs[name]]
        left.plot(bounds, [row] * len(bounds), "o", color=METHOD_COLOUR[method], alpha=0.6)
    exact = study["runs"][0]["exact"]
    left.axvline(exact, ls=":", color=style_of("exact")["color"])
    left.annotate("exact −log p", (exact, 0.5), xytext=(4, 0), textcoords="offset points", fontsize=10, va="center")
    left.set(yticks=[0, 1], yticklabels=["AR", "masked\ndiffusion"], ylim=(1.6, -0.6), xlabel="nats per word")
    left.set_title("Cost of fresh sentences")
    left.locator_params(axis="x", nbins=4)
    calls, broken = curve([run["samplers"] for run in runs["mdlm-tiny"]], "ancestral", lambda q: 100 * q["broken"])
    twin = [100 * run["samplers"]["autoregressive"]["broken"] for run in runs["ar-tiny"]]
    single = [100 * run["samplers"]["first-hitting"]["broken"] for run in runs["mdlm-tiny"]]
    right.plot(calls, broken.mean(0), label="masked, T steps", **style_of("mdlm"))
    right.fill_between(calls, broken.amin(0), broken.amax(0), color=METHOD_COLOUR["mdlm"], alpha=0.25, lw=0)
    right.plot([12], [sum(single) / len(single)], "s", ms=8, mfc="white", mew=2, color=BLUE, label="masked, one a call")
    right.plot([12], [sum(twin) / len(twin)], "D", ms=8, mfc="white", mew=2, color=GREY, label="autoregressive")
    right.set(ylim=(-4, 104), xlabel="network calls per sentence", ylabel="broken sentences, %")
    right.set_title("Few calls cost quality")
    right.legend()
    means = {name: sum(run["bound"] for run in runs[name]) / len(runs[name]) for name in NAMES}
    alt = (
        f"Left: AR {means['ar-tiny']:.4f}, masked diffusion {means['mdlm-tiny']:.4f}, exact {exact:.4f} nats per word. "
        f"Right: broken sentences of masked diffusion fall from {broken.mean(0)[0]:.0f} % at one call to "
        f"{broken.mean(0)[-1]:.0f} % at {calls[-1]:.1f}; with exactly one word per call "
        f"{sum(single) / len(single):.1f} %, AR {sum(twin) / len(twin):.1f} %."
    )
    samples = study["settings"]["samples"]
    return fig, alt, f"Dots: seeds; band: their range; {samples:,} sentences each. {again(study)}"


def twelve_calls(study: dict) -> str:
    """Study tiny_seeds, a table: both models fully trained, at twelve calls and at about four."""
    lines = [f"{'':38s}{'calls':>7s}{'broken %, by seed':>22s}"]
    rows = (
        ("autoregressive", "ar-tiny", "autoregressive"),
        ("masked, one word per call", "mdlm-tiny", "first-hitting"),
        ("masked, 4 steps", "mdlm-tiny", "ancestral 4"),
    )
    for label, recipe, sampler in rows:
        found = [run["samplers"][sampler] for run in study["runs"] if run["recipe"] == recipe]
        calls = sum(q["network_calls"] for q in found) / len(found)
        shares = "  ".join(f"{100 * q['broken']:.1f}" for q in found)
        lines.append(f"{label:38s}{calls:7.1f}{shares:>22s}")
    return "\n".join(lines)


def calls_and_seconds(study: dict) -> Picture:
    """Study calls_and_seconds: network calls, and seconds for each batch size, against the length."""
    lengths, batches = study["settings"]["lengths"], study["settings"]["batches"]
    fig, axes = plt.subplots(1, 1 + len(batches), figsize=(10.5, 3.9))
    for way, look in LOOKS.items():
        calls = over_seeds(study, way, batches[0], "network_calls")
        axes[0].plot(lengths, calls.mean(0), label=way, **look)
        for ax, batch in zip(axes[1:], batches):
            seconds = over_seeds(study, way, batch, "seconds")
            ax.plot(lengths, seconds.mean(0), **look)
            ax.fill_between(lengths, seconds.amin(0), seconds.amax(0), color=look["color"], alpha=0.25, lw=0)
    axes[0].set(title="Network calls", ylabel="calls per text")
    for ax, batch in zip(axes[1:], batches):
        ax.set(title=f"{batch} text{'s at once' if batch > 1 else ''}", ylabel="seconds")
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlabel="words in the text")
        ax.set_xticks(lengths, lengths, minor=False)
        ax.set_xticks([], minor=True)
    axes[0].annotate(
        "three on one line:\none call a word", (lengths[2], lengths[2]), xytext=(-8, 24), textcoords="offset points",
        ha="right", va="center", fontsize=10, arrowprops={"arrowstyle": "-", "color": BLACK, "lw": 0.8},
    )  # fmt: skip
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    said = "; ".join(
        f"{way} " + " and ".join(f"{over_seeds(study, way, b, 'seconds').mean(0)[-1]:.2f} s" for b in batches)
        for way in LOOKS
    )
    how_many = " and ".join(map(str, batches))
    alt = "Three panels on logarithmic axes. In calls three ways coincide, at one call a word, and 16 steps lie below. "
    alt += f"At {lengths[-1]} words, for {how_many} texts: {said}."
    return fig, alt, f"{study['made_on']['threads']} thread; bands: three networks. {again(study)}"


def over_seeds(study: dict, way: str, batch: int, key: str) -> torch.Tensor:
    """(seeds, lengths) of one figure of the study calls_and_seconds."""
    runs = [r for r in study["runs"] if r["way"] == way and r["batch"] == batch]
    seeds = sorted({r["seed"] for r in runs})
    runs.sort(key=lambda r: r["length"])
    return torch.tensor([[float(r[key]) for r in runs if r["seed"] == seed] for seed in seeds])


def longest(study: dict) -> str:
    """A table: calls, places and seconds at the greatest length."""
    batches, length = study["settings"]["batches"], study["settings"]["lengths"][-1]
    head = "".join(f"{f'seconds, {b} text(s)':>20s}" for b in batches)
    lines = [f"{f'{length} words':28s}{'calls':>8s}{'places':>9s}{head}"]
    for way in LOOKS:
        calls, places = (over_seeds(study, way, batches[0], key).mean(0)[-1] for key in ("network_calls", "positions"))
        seconds = [over_seeds(study, way, b, "seconds")[:, -1] for b in batches]
        found = "".join(f"{f'{s.mean():.2f} ({s.min():.2f}-{s.max():.2f})':>20s}" for s in seconds)
        lines.append(f"{way:28s}{calls:8.0f}{places:9.0f}{found}")
    return "\n".join(lines)


def left_and_both(left: torch.Tensor, both: torch.Tensor, study: dict) -> Picture:
    """Nats of a hidden word at each place, from its left side and from both: networks, and the exact values (study
    looking_ahead).
    """
    exact = next(r for r in study["runs"] if r["model"] == "exact")
    fig, ax = plt.subplots(figsize=(8.4, 3.8))
    places = range(1, len(left) + 1)
    ax.plot(places, exact["left"], ls=":", color=GREY, label="exact, left side only")
    ax.plot(places, left, "o", color=GREY, ms=7, label="AR network")
    ax.plot(places, exact["both"], ls=":", color=BLUE, label="exact, both sides")
    ax.plot(places, both, "s", color=BLUE, ms=7, mfc="white", mew=2, label="masked network")
    ax.fill_between(places, exact["both"], exact["left"], color=BLUE, alpha=0.12, lw=0)
    ax.set(xlabel="place in the sentence", ylabel="nats for the hidden word", xticks=list(places), ylim=(-0.15, 3.9))
    ax.set_title("What the words to the right are worth")
    ax.legend(ncols=2, loc="upper right")
    gain = torch.tensor(exact["left"]) - torch.tensor(exact["both"])
    best = int(gain.argmax())
    alt = (
        f"Nats for a hidden word at each of {len(left)} places. Both sides are cheapest by most at place {best + 1}: "
        f"{exact['left'][best]:.2f} from the left, {exact['both'][best]:.2f} from both. At the last place there is no "
        f"difference. Each network lies on its exact curve."
    )
    return fig, alt, "Shaded: what an AR model cannot use. Dotted: exact (both sides: mean of 1,000 sentences)."


def mistakes(study: dict) -> str:
    """Study looking_ahead, a table: right sentences after a mistake at the beginning, and without one."""
    lines = [f"{'right sentences, %, by seed':40s}{'after a mistake':>20s}{'from an empty page':>22s}"]
    after = by_model(study, "good_after_start")
    for name, (label, _) in NAMES.items():
        lines.append(f"{label + ', nothing taken back':40s}{percents(after[name]):>20s}{'':>22s}")
    runs = [r for r in study["runs"] if r["model"] == "mdlm-tiny"]
    for T in study["settings"]["revisions"]:
        mended, fresh = ([r[key][str(T)] for r in runs] for key in ("good_revised", "good_fresh"))
        lines.append(f"{f'second thoughts, {T} steps':40s}{percents(mended):>20s}{percents(fresh):>22s}")
    return "\n".join(lines)


def by_model(study: dict, key: str) -> dict[str, list[float]]:
    return {name: [r[key] for r in study["runs"] if r["model"] == name] for name in NAMES}


def percents(values: list[float]) -> str:
    return "  ".join(f"{100 * value:.0f}" for value in values)
