"""The tables and the pictures of lesson 12 on the toy language: the stored study scoreboard."""

from itertools import combinations
from statistics import mean

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import BLACK, BLUE, METHOD_COLOUR, ON_VECTORS, ORANGE, label_lines, style_of

# (method, sampler) in the study: (name in pictures, colour of which method, dashes, marker)
WRITERS = {
    ("ar", "left to right"): ("AR", "ar", "-", "D"),
    ("d3pm_uniform", "posterior"): ("D3PM uniform", "d3pm", "--", "v"),
    ("d3pm_absorbing", "posterior"): ("D3PM absorbing", "d3pm", "-", "o"),
    ("mdlm", "ancestral"): ("MDLM", "mdlm", "-", "o"),
    ("mdlm", "one by one"): ("MDLM, one a call", "mdlm", "-", "*"),
    ("mdlm", "remdm"): ("MDLM + ReMDM", "mdlm", ":", "^"),
    ("mdlm", "star"): ("MDLM + Star+", "star", "-", "o"),
    ("gidd", "posterior"): ("GIDD", "gidd", "-", "o"),
    ("gstar", "gstar"): ("G-Star", "gstar", "-", "o"),
    ("block", "blocks"): ("blocks of 4", "block", "-", "o"),
    ("diffusion_lm", "ancestral"): ("Diffusion-LM", "diffusion_lm", "--", "s"),
    ("ld4lg", "diffusion"): ("LD4LG", "ld4lg", "--", "s"),
    ("planner", "diffusion"): ("PLANNER", "planner", "--", "s"),
    ("tencdm", "diffusion"): ("TEncDM", "tencdm", "--", "s"),
    ("cosmos", "diffusion"): ("COSMOS", "cosmos", "--", "s"),
}


def rows_of(study: dict, what: str, **wanted) -> list[dict]:
    """The rows of one kind that have these values, one a seed if all else is settled."""
    return [r for r in study["runs"] if r["what"] == what and all(r.get(key) == value for key, value in wanted.items())]


def frontier(study: dict, method: str, sampler: str) -> list[dict]:
    """From few calls to many: mean, least and largest share of grammatical sentences, calls, seconds, coverage."""
    points = []
    for timed in sorted(rows_of(study, "seconds", method=method, sampler=sampler), key=lambda row: row["calls"]):
        rows = rows_of(study, "texts", method=method, sampler=sampler, calls=timed["calls"])
        shares = [row["grammatical"] for row in rows]
        point = {"grammatical": mean(shares), "least": min(shares), "largest": max(shares), "seconds": timed["seconds"]}
        keys = ("network_calls", "coverage", "distinct_2", "copied", "spread")
        point |= {key: mean(row[key] for row in rows) for key in keys}
        points.append(point | {"calls": timed["calls"], "gap": gap(rows)})
    return points


def table(study: dict) -> str:
    """One line a way to write, at its best number of calls (`best_point`): bound, quality, variety, copies, cost; means
    of seeds.
    """
    heads = (
        "bound",
        "± sd",
        "grammatical %",
        "log p gap",
        "coverage %",
        "distinct-2",
        "copied %",
        "calls",
        "s / 1,000 tokens",
    )
    widths = [max(9, len(head) + 2) for head in heads]
    lines = [f"{'':17s}" + "".join(f"{head:>{width}s}" for head, width in zip(heads, widths))]
    for (method, sampler), (name, *_) in WRITERS.items():
        best = best_point(study, method, sampler)
        cells = [*bound_cells(study, method, sampler), f"{100 * best['grammatical']:.1f}", signed(best["gap"])]
        cells += [f"{100 * best['coverage']:.1f}", f"{best['distinct_2']:.3f}", f"{100 * best['copied']:.1f}"]
        cells += [f"{best['network_calls']:.1f}", f"{best['seconds']:.3f}"]
        lines.append(f"{name:17s}" + "".join(f"{cell:>{width}s}" for cell, width in zip(cells, widths)))
    true = rows_of(study, "true")
    cells = [f"{true[0]['exact']:.4f}", "", "100.0", signed(gap(true))]
    cells += [f"{100 * mean(row['coverage'] for row in true):.1f}", f"{mean(row['distinct_2'] for row in true):.3f}"]
    cells += [f"{100 * mean(row['copied'] for row in true):.1f}", "", ""]
    lines.append(f"{'true sentences':17s}" + "".join(f"{cell:>{width}s}" for cell, width in zip(cells, widths)))
    return "\n".join([*lines, "", *whys(study)])


def best_point(study: dict, method: str, sampler: str) -> dict:
    """Where it writes most right sentences, of the numbers of calls at which it covers at least half of what true
    sentences cover: a denoiser that is asked once may write one good sentence for ever. If there is none, all count.
    """
    points = frontier(study, method, sampler)
    least = mean(row["coverage"] for row in rows_of(study, "true")) / 2
    various = [point for point in points if point["coverage"] >= least]
    return max(various or points, key=lambda point: point["grammatical"])


def bound_cells(study: dict, method: str, sampler: str) -> tuple[str, str]:
    """The bound of the texts that this sampler writes; "none" where there is none, also with a network that has one."""
    bounds = [row["bound"] for row in rows_of(study, "method", method=method)]
    if bounds[0] is None or sampler in ("remdm", "star"):
        return "none", ""
    spread = (sum((bound - mean(bounds)) ** 2 for bound in bounds) / max(1, len(bounds) - 1)) ** 0.5
    return f"{mean(bounds):.4f}", f"{spread:.4f}"


def whys(study: dict) -> list[str]:
    """Why a bound is missing, method by method."""
    names = {method: name for (method, _), (name, *_) in WRITERS.items()}
    rows = {row["method"]: row for row in rows_of(study, "method") if row["bound"] is None}
    said = ["none: MDLM + ReMDM, MDLM + Star+: the network's bound is that of texts which nothing is taken back from"]
    return said + [f"none: {names[method]}: {row['no_bound']}" for method, row in rows.items()]


def gap(rows: list[dict]) -> float | None:
    """Mean over the seeds that wrote enough right sentences to say."""
    gaps = [row["log_prob_gap"] for row in rows if row["log_prob_gap"] is not None]
    return mean(gaps) if gaps else None


def signed(nats: float | None) -> str:
    return "none" if nats is None else f"{nats:+.2f}"


def costs(study: dict) -> str:
    """One line a method, of the first seed: parameters, FLOPs and seconds of training, steps, what was pretrained."""
    lines = [
        f"{'':15s}{'parameters':>12s}{'FLOPs':>10s}{'seconds':>9s}   stages (steps); what was trained before, outside"
    ]
    for row in rows_of(study, "method", seed=study["runs"][0]["seed"]):
        stages = ", ".join(f"{name} ({stage['steps']})" for name, stage in row["stages"].items() if stage["steps"])
        before = f"; before: {row['pretrained']}" if row["pretrained"] else ""
        numbers = f"{row['parameters']:12,}{row['flops']:10.3g}{row['train_seconds']:9.0f}"
        lines.append(f"{row['method']:15s}{numbers}   {stages}{before}")
    return "\n".join(lines)


def frontiers(study: dict, against: str = "network_calls") -> Picture:
    """The share of grammatical sentences against "network_calls" or "seconds" (per 1,000 tokens): methods on symbols on
    the left, on vectors on the right.
    """
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 5.6), sharey=True, sharex=True)
    said = []
    for writer, (name, method, dashes, marker) in WRITERS.items():
        points = frontier(study, *writer)
        ax = axes[int(method in ON_VECTORS)]
        draw(ax, points, against, name, METHOD_COLOUR[method], dashes, marker)
        said.append(f"{name}: " + ", ".join(f"{100 * p['grammatical']:.0f} % at {p[against]:.3g}" for p in points))
    unit = {"network_calls": "network calls per text", "seconds": "seconds per 1,000 tokens"}[against]
    for ax, title in zip(axes, ("On symbols", "On vectors")):
        ax.set(xscale="log", xlabel=unit, title=title, ylim=(-3, 103))
        ax.xaxis.set_major_formatter("{x:g}")
    axes[0].set_ylabel("grammatical sentences, %")
    for ax in axes:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=9, handlelength=3)
    seeds = len({row["seed"] for row in study["runs"]})
    alt = f"Grammatical sentences against {unit}. {'; '.join(said)}."
    caption = f"Mean and range of {seeds} seeds, {study['settings']['samples']} sentences each. {again(study)}"
    return fig, alt, caption


def draw(ax: Axes, points: list[dict], against: str, name: str, colour: str, dashes: str, marker: str) -> None:
    x = [point[against] for point in points]
    shares, size = [100 * point["grammatical"] for point in points], 9 if len(points) == 1 else None
    ax.plot(x, shares, color=colour, ls=dashes, marker=marker, markersize=size, label=name)
    ax.fill_between(
        x, [100 * p["least"] for p in points], [100 * p["largest"] for p in points], color=colour, alpha=0.15, lw=0
    )


# the trick of section 1


def temperatures(rows: dict[float, dict], true: dict) -> Picture:
    """Samples of one network at several temperatures {tau: figures}: what improves on the left, what it costs on the
    right, and both against each other.
    """
    taus = sorted(rows, reverse=True)
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6))
    left.plot(taus, [100 * rows[tau]["grammatical"] for tau in taus], "o-", color=BLUE, label="grammatical")
    left.plot(taus, [100 * rows[tau]["coverage"] for tau in taus], "s-", color=ORANGE, label="coverage")
    left.axhline(100 * true["coverage"], color=BLACK, ls=":", label="coverage of true sentences")
    left.set(xlabel="temperature", ylabel="%", ylim=(-3, 105), title="What the samples show")
    left.invert_xaxis()
    left.legend(loc="lower left")
    right.plot(taus, [rows[tau]["excess"] for tau in taus], "o-", color=BLUE)
    right.set(xlabel="temperature", ylabel="nats per word above the language", title="What true sentences cost it")
    right.set_yscale("log")
    right.yaxis.set_major_formatter("{x:g}")
    right.invert_xaxis()
    said = "; ".join(
        f"{tau:g}: {100 * rows[tau]['grammatical']:.0f} % grammatical, coverage {100 * rows[tau]['coverage']:.0f} %, "
        f"{rows[tau]['excess']:.3f} nats above"
        for tau in taus
    )
    return fig, f"Against temperature, {said}. True sentences cover {100 * true['coverage']:.0f} %.", ""


# training beside each other


def learning(histories: dict[str, list[dict]], step_flops: dict[str, float], entropy: float) -> Picture:
    """Nats per word against FLOPs spent, for methods {name of METHOD_COLOUR: history of a run}."""
    fig, ax = plt.subplots(figsize=(7.2, 3.4))
    for name, history in histories.items():
        spent = [row["step"] * step_flops[name] for row in history]
        ax.plot(spent, [row["bound"] for row in history], label=name.upper(), **style_of(name))
    last = max(row["step"] * step_flops[name] for name, history in histories.items() for row in history)
    ax.plot([0, last], [entropy, entropy], label="exact entropy", **style_of("exact"))
    ax.set(xlabel="FLOPs of training", ylabel="nats per word", title="Equal FLOPs, the same sentences")
    label_lines(ax)
    said = "; ".join(
        f"{name.upper()} {history[0]['bound']:.2f} to {history[-1]['bound']:.3f} in {history[-1]['step']} steps"
        for name, history in histories.items()
    )
    return fig, f"Nats per word against FLOPs: {said}. The entropy is {entropy:.3f}.", ""


# the scoreboard: other axes


def coverage_beside_grammar(study: dict) -> Picture:
    """Each way to write as a path from few calls to many: how many of the language's word pairs it covers, and how
    many of its sentences are right.
    """
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 5.6), sharey=True)
    true, said = rows_of(study, "true"), []
    right = 100 * mean(row["coverage"] for row in true)
    for writer, (name, method, dashes, marker) in WRITERS.items():
        points = frontier(study, *writer)
        x, y = ([100 * p[key] for p in points] for key in ("coverage", "grammatical"))
        ax = axes[int(method in ON_VECTORS)]
        ax.plot(x, y, color=METHOD_COLOUR[method], ls=dashes, marker=marker, ms=4, label=name)
        ax.plot(x[-1:], y[-1:], marker=marker, ms=9, color=METHOD_COLOUR[method])
        said.append(f"{name}: {y[-1]:.0f} % with coverage {x[-1]:.0f} %")
    for ax, title in zip(axes, ("On symbols", "On vectors")):
        ax.axvline(right, color=BLACK, ls=":")
        ax.plot([right], [100], "*", color=BLACK, ms=14)
        ax.set(xlabel="coverage of word pairs, %", title=title, ylim=(-3, 105))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=9, handlelength=3)
    axes[0].set_ylabel("grammatical sentences, %")
    truth = f"True sentences: 100 % with coverage {right:.0f} %."
    alt = f"Grammar against coverage, at most calls. {'; '.join(said)}. {truth}"
    return fig, alt, f"Star: true sentences. Large marks: most calls. Mind the two scales. {again(study)}"


def all_points(study: dict) -> list[dict]:
    """Every way to write at every number of calls: the figures of `frontier`, and "name"."""
    return [{"name": name} | p for writer, (name, *_) in WRITERS.items() for p in frontier(study, *writer)]


def undominated(points: list[dict], cost: str, gains: tuple[str, ...] = ("grammatical",)) -> list[dict]:
    """The points that no other beats: none costs no more, is no worse in all gains, and better in one of them."""

    def beats(a: dict, b: dict) -> bool:
        no_worse = a[cost] <= b[cost] and all(a[key] >= b[key] for key in gains)
        return no_worse and (a[cost] < b[cost] or any(a[key] > b[key] for key in gains))

    return sorted((p for p in points if not any(beats(q, p) for q in points)), key=lambda p: p[cost])


def choices(study: dict, cost: str, least_coverage: float = 0.0) -> str:
    """What a reasonable person could take: the frontier of cost and grammar, of all ways together, among those that
    cover at least so much.
    """
    kept = [p for p in all_points(study) if p["coverage"] >= least_coverage]
    head = f"{'':17s}{'calls':>8s}{'s / 1,000 tokens':>18s}{'grammatical %':>15s}{'coverage %':>12s}"
    lines = [
        f"{p['name']:17s}{p['network_calls']:8.1f}{p['seconds']:18.3f}{100 * p['grammatical']:15.1f}"
        f"{100 * p['coverage']:12.1f}"
        for p in undominated(kept, cost)
    ]
    return "\n".join([head, *lines])


# bounds and texts


def bounded(study: dict) -> dict[str, dict]:
    """Methods with a bound {method: nats above exact -log p, and the grammatical share where its own sampler writes
    most carefully}, lists over seeds.
    """
    exact, found = rows_of(study, "true")[0]["exact"], {}
    for (method, sampler), (name, colour, _, marker) in WRITERS.items():
        rows = rows_of(study, "method", method=method)
        if rows[0]["bound"] is None or sampler in ("remdm", "star"):
            continue
        written = [rows_of(study, "texts", method=method, sampler=sampler, seed=row["seed"]) for row in rows]
        most = [max(texts, key=lambda row: row["network_calls"]) for texts in written]
        found[method] = {
            "name": name,
            "colour": METHOD_COLOUR[colour],
            "marker": marker,
            "above": [row["bound"] - exact for row in rows],
            "grammatical": [row["grammatical"] for row in most],
        }
    return found


def bounds_and_texts(study: dict) -> Picture:
    """The bound's distance from the truth against the share of right sentences, a dot a seed."""
    fig, ax = plt.subplots(figsize=(8.4, 3.8))
    found = bounded(study)
    for row in found.values():
        ax.plot(
            row["above"],
            [100 * share for share in row["grammatical"]],
            row["marker"],
            color=row["colour"],
            alpha=0.8,
            label=row["name"],
        )
    ax.set(xscale="log", xlabel="nats per word above exact -log p", ylabel="grammatical sentences, %")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    said = "; ".join(
        f"{row['name']} {mean(row['above']):.3f} nats above, {100 * mean(row['grammatical']):.0f} %"
        for row in found.values()
    )
    alt = f"Methods with a bound, at their most calls: {said}."
    return fig, alt, f"Dots: seeds. To the left and up is better. {again(study)}"


def agreement(study: dict) -> str:
    """Pairs of methods in which the smaller bound also writes more right sentences, and the pairs in which not."""
    pairs = list(combinations(bounded(study).values(), 2))
    against = []
    for a, b in pairs:
        better, worse = (a, b) if mean(a["above"]) < mean(b["above"]) else (b, a)
        if mean(better["grammatical"]) < mean(worse["grammatical"]):
            against.append(
                f"  {better['name']} has the smaller bound ({mean(better['above']):+.3f} nats against "
                f"{mean(worse['above']):+.3f}), {worse['name']} writes more right sentences "
                f"({100 * mean(worse['grammatical']):.1f} % against {100 * mean(better['grammatical']):.1f} %)"
            )
    return "\n".join(
        [f"the smaller bound writes better in {len(pairs) - len(against)} of {len(pairs)} pairs", *against]
    )
