"""The pictures and tables of lesson 08's stored studies."""

import math

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from difflm_core.classroom.plots import BLACK, METHOD_COLOUR, style_of

Picture = tuple[Figure, str, str]
RUNGS = {  # name in the study: (name in the picture, the paper's perplexity on LM1B: MDLM Table 8)
    "continuous": ("MDLM", 27.04),
    "discrete": ("− continuous time", 27.19),
    "no_carry_over": ("− carry-over", 28.56),
    "no_zero_masking": ("− zero masking", 28.51),
}


def training_curve(history: list[dict], entropy: float) -> Picture:
    """The bound on held-out sentences while a run trains, and the entropy that it cannot pass."""
    fig, ax = plt.subplots()
    steps, bounds = [row["step"] for row in history], [row["bound"] for row in history]
    spread = [2 * row["standard_error"] for row in history]
    ax.errorbar(steps, bounds, spread, label="bound, ±2 s.e.", **style_of("mdlm"))
    ax.plot([0, steps[-1]], [entropy, entropy], label="exact entropy", **style_of("exact"))
    ax.set(xlabel="training step", ylabel="nats per word", title="The bound falls to the entropy, and stops there")
    ax.legend()
    alt = f"The bound falls from {bounds[0]:.2f} to {bounds[-1]:.3f} nats per word; the entropy is {entropy:.3f}."
    return fig, alt, "Each point: the same held-out sentences, four draws of the noise."


def quality_against_calls(study: dict) -> Picture:
    """Broken sentences against network calls (study tiny_seeds): plans on the left, what broke on the right."""
    masked = [run["samplers"] for run in study["runs"] if run["recipe"] == "mdlm-tiny"]
    twin = [run["samplers"] for run in study["runs"] if run["recipe"] == "ar-tiny"]
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    for label, plan, colour in (("ancestral", "ancestral", "mdlm"), ("most confident first", "confidence", "block")):
        calls, broken = curve(masked, plan, lambda q: 100 * q["broken"])
        left.plot(calls, broken.mean(0), marker="o", color=METHOD_COLOUR[colour], label=label)
        left.fill_between(calls, broken.amin(0), broken.amax(0), color=METHOD_COLOUR[colour], alpha=0.25, lw=0)
    single = {"first-hitting": (masked, "s", "mdlm"), "autoregressive": (twin, "D", "ar")}
    share = {name: [100 * run[name]["broken"] for run in runs] for name, (runs, *_) in single.items()}
    for name, (_, marker, colour) in single.items():
        mean = sum(share[name]) / len(share[name])
        left.plot([12], [mean], marker, ms=8, mfc="white", mew=2, color=METHOD_COLOUR[colour], label=name)
    left.set(ylim=(-3, 103), xlabel="network calls per sentence", ylabel="broken sentences, %")
    left.set_title("Quality costs network calls")
    left.legend()
    rules = {"word order": "-", "subject number": "--", "colour": ":", "object number": "-."}
    for rule, dashes in rules.items():
        calls, broken = curve(masked, "ancestral", lambda q, rule=rule: 100 * q["broken_rules"][rule])
        right.plot(calls, broken.mean(0), ls=dashes, color=METHOD_COLOUR["mdlm"], label=rule)
    right.set(ylim=(-3, 103), xlabel="network calls per sentence", ylabel="sentences that break it, %")
    right.set_title("Which rule breaks (ancestral)")
    right.legend()
    calls, broken = curve(masked, "ancestral", lambda q: 100 * q["broken"])
    alt = (
        f"Left: with ancestral sampling {broken.mean(0)[0]:.0f} % of sentences are broken at one network call, "
        f"{broken.mean(0)[-1]:.0f} % at {calls[-1]:.1f}. Revealing the most confident words first lies below it. "
        + " ".join(f"{name} at 12 calls: {sum(v) / len(v):.1f} %." for name, v in share.items())
        + " Right: each of the four rules is broken less with more calls; word order and subject number break most."
    )
    samples = study["settings"]["samples"]
    return fig, alt, f"{samples:,} samples each; mean and range of {len(masked)} trained models. {again(study)}"


def curve(runs: list[dict], plan: str, value) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean calls (T,), value of each run (seeds, T)) of a plan over its numbers of steps."""
    names = [name for name in runs[0] if name.startswith(plan + " ")]
    calls = torch.tensor([[run[name]["network_calls"] for name in names] for run in runs]).mean(0)
    return calls, torch.tensor([[value(run[name]) for name in names] for run in runs])


def variety(study: dict) -> str:
    """A table: at twelve calls, broken and distinct sentences of each way to write (study tiny_seeds)."""
    lines = [f"{'twelve network calls':24s}{'broken %':>10s}{'distinct %':>12s}"]
    for name in ("first-hitting", "left to right", "confidence 12", "autoregressive"):
        found = [run["samplers"][name] for run in study["runs"] if name in run["samplers"]]
        broken, distinct = (sum(100 * q[key] for q in found) / len(found) for key in ("broken", "distinct"))
        lines.append(f"{name:24s}{broken:10.1f}{distinct:12.1f}")
    return "\n".join(lines)


def ladder(study: dict) -> Picture:
    """The bound of each rung, one dot a seed (study mdlm_ladder)."""
    fig, ax = plt.subplots(figsize=(7.2, 2.9))
    bounds, exact = ladder_bounds(study), study["runs"][0]["exact"]
    for row, values in enumerate(bounds.values()):
        ax.plot(values, [row] * len(values), "o", color=METHOD_COLOUR["mdlm"], alpha=0.6)
        ax.plot(values.mean(), row, "|", ms=20, mew=2, color=METHOD_COLOUR["mdlm"])
    ax.axvline(exact, ls=":", color=BLACK)
    ax.annotate("exact −log p", (exact, 3.45), xytext=(4, 0), textcoords="offset points", fontsize=10)
    labels = [f"{name}  (paper: {perplexity:.2f})" for name, perplexity in RUNGS.values()]
    ax.set(yticks=range(len(labels)), yticklabels=labels, ylim=(3.7, -0.6), xlabel="bound, nats per word")
    ax.locator_params(axis="x", nbins=5)
    ax.grid(axis="x")
    found = "; ".join(f"{RUNGS[rung][0]} {values.mean():.4f}" for rung, values in bounds.items())
    alt = f"Mean bounds of the four rungs: {found}; the exact value is {exact:.4f}."
    return fig, alt, f"Dots: seeds; bar: their mean. In brackets the paper's perplexity on LM1B. {again(study)}"


def ladder_bounds(study: dict) -> dict[str, torch.Tensor]:
    return {rung: torch.tensor([r["bound"] for r in study["runs"] if r["rung"] == rung]) for rung in RUNGS}


def ladder_table(study: dict) -> str:
    """Each rung's bound, and its difference from MDLM seed by seed: paired, since sentences and masks are the same."""
    bounds = ladder_bounds(study)
    lines = [f"{'rung':20s}{'bound':>9s}{'± sd':>9s}   difference from MDLM, seed by seed"]
    for rung, values in bounds.items():
        differences = "  ".join(f"{d:+.4f}" for d in values - bounds["continuous"])
        lines.append(f"{RUNGS[rung][0]:20s}{values.mean():9.4f}{values.std():9.4f}   {differences}")
    copying = torch.tensor([r["copying"] for r in study["runs"] if r["rung"] == "no_carry_over"])
    return "\n".join([*lines, f"of which copying the visible words, without carry-over: {copying.mean():+.4f}"])


def time_noise(study: dict) -> str:
    """How noisy loss and gradient are for each way to choose t (study time_sampling)."""
    runs, settings = study["runs"], study["settings"]
    base = {r["seed"]: r["same_texts"]["gradient_variance"] for r in runs if r["way"] == "independent t"}
    lines = [f"{'how t is chosen':20s}{'sd of the loss':>16s}   variance of the gradient (independent = 1), by seed"]
    for way in dict.fromkeys(r["way"] for r in runs):
        chosen = [r for r in runs if r["way"] == way]
        sd = sum(r["same_texts"]["loss_sd"] for r in chosen) / len(chosen)
        ratios = "  ".join(f"{r['same_texts']['gradient_variance'] / base[r['seed']]:.2f}" for r in chosen)
        lines.append(f"{way:20s}{sd:16.4f}   {ratios}")
    what = f"(the same {settings['batch_size']} sentences, {settings['batches']} draws of the noise. {again(study)})"
    return "\n".join([*lines, what])


def price_of_steps(study: dict) -> Picture:
    """The bound of chains with T steps (study mdlm_time): one checkpoint, and the exact denoiser."""
    runs = {run["denoiser"]: run for run in study["runs"] if "denoiser" in run}
    finite = [T for T in study["settings"]["T"] if T != "inf"]
    places = [*map(int, finite), 10 * int(finite[-1])]  # infinity is drawn one decade further
    fig, ax = plt.subplots()
    looks = {study["settings"]["checkpoint"]: style_of("mdlm"), "exact": style_of("exact") | {"marker": "o"}}
    for name, look in looks.items():
        of = [runs[name]["steps"][T] for T in (*finite, "inf")]
        label = "exact denoiser" if name == "exact" else f"checkpoint {name}"
        ax.errorbar(places, [o["bound"] for o in of], [2 * o["standard_error"] for o in of], label=label, **look)
    exact = runs["exact"]["exact"]
    ax.axhline(exact, color=BLACK, lw=1)
    ax.annotate("exact −log p", (places[0], exact), xytext=(0, -13), textcoords="offset points", fontsize=10)
    ax.set(
        xscale="log", xlabel="steps T", ylabel="bound, nats per word", title="Each number of steps has its own bound"
    )
    ax.set_xticks(places, [*(f"{T:,}" for T in places[:-1]), "∞"])
    ax.minorticks_off()
    ax.margins(y=0.15)
    ax.legend()
    found = "; ".join(
        f"{'T infinite' if T == 'inf' else 'T = ' + T}: {runs['exact']['steps'][T]['bound']:.3f} and "
        f"{runs[study['settings']['checkpoint']]['steps'][T]['bound']:.3f}"
        for T in (*finite, "inf")
    )
    alt = f"Bounds of the exact denoiser and of the checkpoint. {found}. The exact value is {exact:.3f}."
    caption = (
        f"{study['settings']['sentences']:,} sentences, {study['settings']['draws']} draws of the masks, the same for "
        f"both and for all T; bars: ±2 s.e. {again(study)}"
    )
    return fig, alt, caption


def price_table(study: dict) -> str:
    """What T steps cost above infinitely many, here and in MDLM's Table 11 (OpenWebText)."""
    paper = {"10": 42.18, "20": 30.70, "50": 25.77, "100": 24.35, "1000": 23.15}
    runs = {run["denoiser"]: run["steps"] for run in study["runs"] if "denoiser" in run}
    lines = ["nats per token above the bound of infinitely many steps"]
    lines += [f"{'steps T':>8s}{'exact denoiser':>21s}{'checkpoint':>21s}{'OpenWebText (paper)':>21s}"]
    for T, perplexity in paper.items():
        cells = "".join(
            f"{of[T]['price']:+12.4f} ± {of[T]['price_standard_error']:.4f}"
            for of in (runs["exact"], runs[study["settings"]["checkpoint"]])
        )
        lines.append(f"{T:>8s}{cells}{math.log(perplexity / 23.05):+21.4f}")
    return "\n".join(lines)


def time_input(study: dict) -> str:
    """The bound with and without a time input, and the difference seed by seed (study mdlm_time)."""
    runs = [run for run in study["runs"] if "time_conditioning" in run]
    bounds = {way: torch.tensor([r["bound"] for r in runs if r["time_conditioning"] is way]) for way in (False, True)}
    size = {r["time_conditioning"]: r["parameters"] for r in runs}
    lines = [f"{'network':18s}{'parameters':>12s}{'bound':>10s}{'± sd':>9s}   difference, seed by seed"]
    for way, name in ((False, "without time"), (True, "with time")):
        differences = "  ".join(f"{d:+.4f}" for d in bounds[way] - bounds[False]) if way else ""
        line = f"{name:18s}{size[way]:12,}{bounds[way].mean():10.4f}{bounds[way].std():9.4f}   {differences}"
        lines.append(line.rstrip())
    exact, error = runs[0]["exact"], max(r["standard_error"] for r in runs)
    lines.append(f"exact −log p {exact:.4f}; each bound ± {error:.4f} for its draws of the masks, the same for all.")
    lines.append(again(study))

    return "\n".join(lines)


def times(draw: dict[str, torch.Tensor]) -> Picture:
    """One row of marks for each way to draw a batch of times."""
    fig, ax = plt.subplots(figsize=(7.2, 1.7))
    for row, t in enumerate(draw.values()):
        ax.plot(t, [row] * len(t), "|", ms=16, mew=2, color=METHOD_COLOUR["mdlm" if row else "ar"])
    ax.set(yticks=range(len(draw)), yticklabels=list(draw), xlabel="t", ylim=(-0.6, len(draw) - 0.4))
    ax.grid(False)
    alt = "Rows of marks between 0 and 1: independent times form clumps and gaps, stratified ones are spread evenly."
    return fig, alt, "The times of one batch. Clumps and gaps are noise in the gradient."


def again(study: dict) -> str:
    return f"Make it again: {study['command']}"
