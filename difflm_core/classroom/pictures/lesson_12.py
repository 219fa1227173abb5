"""The table and the pictures of lesson 12: the stored study scoreboard, all methods beside each other."""

from statistics import mean

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import METHOD_COLOUR, ON_VECTORS

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
    """One line a way to write, at its best number of calls: bound, quality, variety, copies, costs; means of seeds."""
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
        best = max(frontier(study, method, sampler), key=lambda point: point["grammatical"])
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
