"""The pictures and tables of lesson 11's stored studies, and two pictures of who sees whom."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from torch import Tensor

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, label_lines

RULES = {
    "random": (GREY, "o-"),
    "low-confidence": (ORANGE, "D-"),
    "low-confidence in blocks": (ORANGE, "s--"),
    "threshold": (PURPLE, "^-"),
    "entropy bound": (BLUE, "o-"),
}
NOISES = {"masks": (BLUE, "o"), "random words": (SKY, "s")}
WAYS = {
    "from scratch": (GREY, "s--"),
    "adapted, no shift": (ORANGE, "D-"),
    "adapted": (BLUE, "o-"),
    "adapted, opened at once": (GREEN, "^-"),
}


def over_seeds(rows: list[dict], key: str) -> Tensor:
    """(seeds,) of one setting."""
    return torch.tensor([float(row[key]) for row in rows])


def chosen(study: dict, **wanted) -> list[dict]:
    """The runs with these labels, one a seed."""
    return [run for run in study["runs"] if all(run.get(key) == value for key, value in wanted.items())]


def values(study: dict, key: str, **wanted) -> list:
    """The different values of a label, in order."""
    return sorted({run[key] for run in chosen(study, **wanted)})


def band(ax: Axes, x: Sequence[float], figures: list[Tensor], look: str, colour: str, label: str) -> None:
    """Mean over seeds against x, and their range."""
    mean, low, high = (torch.stack([f(figure) for figure in figures]) for f in (Tensor.mean, Tensor.amin, Tensor.amax))
    ax.plot(x, mean, look, color=colour, label=label)
    ax.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)


def who_sees_whom(masks: dict[str, Bool[Tensor, "Q K"]], ticks: int = 0) -> Picture:
    """One square a mask: a row asks, a column is seen, dark is allowed. `ticks` draws a line every so many tokens."""
    fig, axes = plt.subplots(1, len(masks), figsize=(3.3 * len(masks), 3.5), squeeze=False)
    for ax, (title, where) in zip(axes[0], masks.items()):
        ax.imshow(where, cmap=ListedColormap(["#f2f2f2", BLUE]), vmin=0, vmax=1, interpolation="nearest")
        ax.set(title=title, xlabel="is seen", ylabel="asks", xticks=[], yticks=[])
        for place in range(ticks, where.shape[0], ticks) if ticks else ():
            for line in (ax.axhline, ax.axvline):
                line(place - 0.5, color="white", lw=2)
        ax.grid(False)
    said = "; ".join(f"{title}: {where.double().mean():.0%} of the pairs are allowed" for title, where in masks.items())
    return fig, f"Squares of who may look at whom. {said}.", "Blue: allowed."


def block_sizes(study: dict) -> Picture:
    """Bound against block size on the left, cost of a word with and without the cache on the right."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9))
    sizes = values(study, "block", table="bound")
    drawn = [over_seeds(chosen(study, table="bound", block=n, times="drawn times"), "above_entropy") for n in sizes]
    band(left, sizes, drawn, "o-", ORANGE, "times drawn from [0, 1]")
    exact = over_seeds(chosen(study, table="bound", block=1, times="all masked"), "above_entropy")
    left.plot([1] * len(exact), exact, "D", color=GREY, mfc="white", label="all masked (autoregressive)")
    left.set(xscale="log", xlabel="words in a block", ylabel="nats a word above the entropy", title="The bound")
    left.set(ylim=(0, None))
    timed = values(study, "block", table="cost")
    for count, look in ((1, "-"), (4, "--")):
        for key, colour, name in (("with_cache", BLUE, "cache"), ("without_cache", VERMILLION, "no cache")):
            at = [n for n in timed if n >= count]
            cost = [1000 * over_seeds(chosen(study, table="cost", block=n, a_call=count), key) for n in at]
            band(right, at, cost, "o" + look, colour, f"{name}, {count} a call")
    length = study["settings"]["length"]
    right.set(xscale="log", yscale="log", xlabel="words in a block", ylabel="ms of processor time a word")
    right.set(title=f"Cost, a text of {length} words")
    for ax, at in ((left, sizes), (right, timed)):
        ax.set_xticks(at, at)
        ax.minorticks_off()
    left.legend(fontsize=9)
    right.legend(fontsize=9, ncols=2, handlelength=3, loc="center left", bbox_to_anchor=(0.0, 0.7))
    said = ", ".join(f"{n}: {figure.mean():.4f}" for n, figure in zip(sizes, drawn))
    one = {n: chosen(study, table="cost", block=n, a_call=1) for n in timed}
    kept, whole = ({n: 1000 * over_seeds(one[n], key).mean() for n in timed} for key in ("with_cache", "without_cache"))
    ms = ", ".join(f"{n}: {kept[n]:.1f} and {whole[n]:.1f}" for n in timed)
    alt = (
        f"Left, nats a word above the entropy by block size: {said}; size 1 trained all masked {exact.mean():.4f}. "
        f"Right, milliseconds a word with and without the cache, one word a call, by block size: {ms}."
    )
    seeds = len({run["seed"] for run in study["runs"]})
    return fig, alt, f"Mean and range of {seeds} seeds. Right: untrained networks, one text at a time. {again(study)}"


def decoding_rules(study: dict) -> Picture:
    """Grammatical sentences, and how much likelier than true ones they are, against network calls, by rule."""
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.1))
    said = []
    for rule, (colour, look) in RULES.items():
        settings = values(study, "setting", rule=rule)
        rows = [chosen(study, rule=rule, setting=setting) for setting in settings]
        calls = [over_seeds(r, "network_calls").mean().item() for r in rows]
        good = [100 * over_seeds(r, "grammatical") for r in rows]
        band(axes[0], calls, good, look, colour, rule)
        counted = [(c, r) for c, r in zip(calls, rows) if all(row["log_prob_gap"] is not None for row in r)]
        gaps = [over_seeds(r, "log_prob_gap") for _, r in counted]
        if counted:
            band(axes[1], [c for c, _ in counted], gaps, look, colour, rule)
        said.append(f"{rule}: " + ", ".join(f"{g.mean():.0f} % at {c:.1f}" for c, g in zip(calls, good)))
    axes[0].set(xlabel="network calls a sentence", ylabel="grammatical, %", ylim=(-3, 103), title="Right sentences")
    axes[1].axhline(0, color=BLACK, ls=":", lw=1)
    axes[1].set(xlabel="network calls a sentence", ylabel="nats above true sentences", title="How much they flatter")
    axes[0].legend(fontsize=9, loc="lower right")
    alt = f"Left, grammatical sentences by rule and calls. {'; '.join(said)}. Right: low-confidence lies far above 0."
    settings, seeds = study["settings"], len({run["seed"] for run in study["runs"]})
    caption = f"{settings['samples']} sentences of mdlm-tiny for each of {seeds} seeds, mean and range. {again(study)}"
    return fig, alt, caption


def renoising(study: dict) -> Picture:
    """Masks against random words as the noise that is renewed, at limits on the calls; early stops on the right."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9))
    said, ended, bounds = [], [], values(study, "setting", rule="renoising")
    for noise, (colour, mark) in NOISES.items():
        for nats, dashes in zip(bounds, (":", "--", "-")):
            steps = values(study, "steps", rule="renoising", noise=noise)
            rows = [chosen(study, rule="renoising", noise=noise, setting=nats, steps=T) for T in steps]
            good = [100 * over_seeds(r, "grammatical") for r in rows]
            band(left, steps, good, mark + dashes, colour, f"{noise}, {nats:g} nats")
            said.append(f"{noise} {nats:g} nats: " + ", ".join(f"{g.mean():.0f}" for g in good))
        stops = values(study, "stop", rule="stop", noise=noise)
        rows = [chosen(study, rule="stop", noise=noise, stop=stop) for stop in stops]
        calls = [over_seeds(r, "network_calls").mean().item() for r in rows]
        good = [100 * over_seeds(r, "grammatical") for r in rows]
        band(right, calls, good, mark + "-", colour, noise)
        for c, g, stop in zip(calls, good, stops):
            ended.append(f"{noise}, {stop:g} nats: {g.mean():.0f} % at {c:.1f}")
            if noise == "random words" or stop == stops[-1]:
                beside = (14 if stop in stops[1:2] else 0, -15)  # two limits can end together
                right.annotate(f"{stop:g}", (c, g.mean()), xytext=beside, textcoords="offset points", fontsize=9)
    left.set(xscale="log", xlabel="most network calls", ylabel="grammatical, %", title="A perfect network, two noises")
    left.set(ylim=(-3, 103))
    left.set_xticks(steps, steps)
    left.minorticks_off()
    left.legend(fontsize=8, handlelength=3.5, loc="lower right")
    right.set(xlabel="network calls a sentence", ylabel="grammatical, %", title="Stopping when little is left (nats)")
    right.set(ylim=(-3, 103))
    right.legend()
    alt = f"Left, grammatical sentences in per cent at limits of {steps} calls. {'; '.join(said)}. "
    alt += f"Right, stopped early, by mean calls. {'; '.join(ended)}."
    settings, seeds = study["settings"], len({run["seed"] for run in study["runs"]})
    return fig, alt, f"{settings['renoised']} sentences for each of {seeds} seeds, mean and range. {again(study)}"


def adaptation(study: dict) -> Picture:
    """The bound after N steps, adapted and from scratch."""
    fig, ax = plt.subplots(figsize=(7.6, 3.9))
    steps, said = values(study, "steps"), []
    for way, (colour, look) in WAYS.items():
        figures = [over_seeds(chosen(study, way=way, steps=N), "above_entropy") for N in steps]
        band(ax, [max(N, 12) for N in steps], figures, look, colour, way)
        said.append(f"{way}: " + ", ".join(f"{f.mean():.3f} after {N}" for N, f in zip(steps, figures)))
    ax.set(xscale="log", yscale="log", xlabel="steps", ylabel="nats a word above the entropy")
    ax.set(title="From an autoregressive network, and from nothing")
    ax.set_xticks([max(N, 12) for N in steps], steps)
    ax.minorticks_off()
    label_lines(ax)
    alt = f"Nats a word above the entropy by steps, both axes logarithmic. {'; '.join(said)}."
    seeds = len({run["seed"] for run in study["runs"]})
    return fig, alt, f"Mean and range of {seeds} seeds; each N is a run of its own. {again(study)}"


def table(study: dict, row: Callable[[dict], str], columns: dict[str, tuple[str, str]], **wanted) -> str:
    """Means over seeds, and the range behind them: a line for every `row(run)`, a column for every figure.

    `columns` gives each key its heading and a format; figures that a run lacks are left empty.
    """
    runs = chosen(study, **wanted)
    names = list(dict.fromkeys(row(run) for run in runs))
    width = max(map(len, names)) + 2
    lines = [" " * width + "".join(f"{heading:>22s}" for heading, _ in columns.values())]
    for name in names:
        cells = []
        for key, (_, how) in columns.items():
            found = [run[key] for run in runs if row(run) == name and run.get(key) is not None]
            spread = f"{sum(found) / len(found):{how}} ({min(found):{how}} to {max(found):{how}})" if found else ""
            cells.append(f"{spread:>22s}")
        lines.append(f"{name:{width}s}" + "".join(cells))
    return "\n".join(lines)


def reversal(study: dict) -> str:
    share = {"forward": "A follows ?", "reverse_told": "B leads ?, told", "reverse_untold": "B leads ?, not told"}
    share |= {"before_untold": "? follows B", "before_by_search": "the same, by search"}
    return table(study, lambda run: run["model"], {key: (name, ".2f") for key, name in share.items()})


def edit_stage(study: dict) -> str:
    columns = {"before": ("right before", ".2f"), "after": ("right after", ".2f"), "restored": ("restored", ".2f")}
    columns |= {"changes": ("changes", ".1f"), "distinct": ("distinct", ".2f")}
    columns |= {"bound_above_entropy": ("bound - entropy", ".2f")}
    return table(study, lambda run: f"{run['stage']}: {run['texts']}", columns)


def code_infilling(study: dict) -> str:
    columns = {"parse": ("parses", ".2f"), "run": ("definition runs", ".2f"), "same": ("as it stood", ".2f")}
    columns |= {"tokens_same": ("its tokens", ".2f"), "problems_right": ("problems solved", ".2f")}
    return table(study, lambda run: f"{run['task']}, {run['model']}", columns)
