"""The table and the pictures of lesson 12 on real text: the stored study text_scoreboard."""

from statistics import mean

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from difflm_core.classroom.pictures.lesson_06 import FIGURES, SYSTEM, filled
from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.pictures.lesson_12 import WRITERS
from difflm_core.classroom.plots import BLACK, METHOD_COLOUR, ON_VECTORS

# system in the study: how the toy scoreboard calls it, which gives it its name, colour, dashes and marker
WRITER_OF = {
    "ar-sentences": ("ar", "left to right"),
    "d3pm-uniform-sentences": ("d3pm_uniform", "posterior"),
    "d3pm-sentences": ("d3pm_absorbing", "posterior"),
    "mdlm-sentences": ("mdlm", "one by one"),
    "mdlm-sentences + remdm": ("mdlm", "remdm"),
    "mdlm-sentences + star": ("mdlm", "star"),
    "mdlm-sentences + gstar": ("gstar", "gstar"),
    "gidd-sentences": ("gidd", "posterior"),
    "block-sentences": ("block", "blocks"),
    "diffusion-lm-sentences": ("diffusion_lm", "ancestral"),
    "ld4lg-wikipedia": ("ld4lg", "diffusion"),
    "planner-wikipedia": ("planner", "diffusion"),
    "tencdm-wikipedia": ("tencdm", "diffusion"),
    "cosmos-wikipedia": ("cosmos", "diffusion"),
}
NAME = {system: WRITERS[writer][0] for system, writer in WRITER_OF.items()} | {
    "mdlm-sentences": "MDLM",
    "mdlm-sentences + gstar": "MDLM + G-Star",
    "human": SYSTEM["human"],
    "shuffled words": SYSTEM["shuffled words"],
}


def with_range(key: str, digits: int):
    """A cell from the rows of all seeds: the mean, and half of the range between the seeds."""

    def cell(rows: list[dict]) -> str:
        values = [row[key] for row in rows]
        half = (max(values) - min(values)) / 2
        return f"{mean(values):.{digits}f}" + (f" ± {half:.{digits}f}" if len(values) > 1 else "")

    return cell


def bound_and_error(rows: list[dict]) -> tuple[float, float] | None:
    """The mean of the seeds, and half of their range or, where that is larger, the standard error of one estimate."""
    bounds = [row["bound"] for row in rows]
    if None in bounds:
        return None
    return mean(bounds), max((max(bounds) - min(bounds)) / 2, *(row["standard_error"] for row in rows))


def bound_with_error(rows: list[dict]) -> str:
    found = bound_and_error(rows)
    return f"{found[0]:.3f} ± {found[1]:.3f}" if found else "none"


def averaged(figure, key: str):
    """A cell with the mean of the seeds, printed as `figure` prints one row."""
    return lambda rows: figure({key: mean(row[key] for row in rows)})


COLUMNS = {
    "parameters": averaged(FIGURES["parameters"], "parameters"),
    "bound": bound_with_error,
    "judge ppl": with_range("perplexity", 0),
    "entropy": averaged(FIGURES["entropy"], "entropy"),
    "diversity": with_range("diversity", 3),
    "distinct-2": averaged(FIGURES["distinct-2"], "distinct_2"),
    "MAUVE": with_range("mauve", 3),
    "memorised": averaged(FIGURES["memorised"], "memorised"),
    "words": averaged(FIGURES["words"], "words"),
    "calls": averaged(FIGURES["calls"], "network_calls"),
    "s / 1,000 tokens": averaged(lambda row: f"{row['seconds_per_1000_tokens']:.2f}", "seconds_per_1000_tokens"),
}


def real_text(study: dict) -> str:
    """One line a system at its own number of calls: bound, judge, variety, copies, costs, means and half ranges of the
    seeds; and why a bound is missing. Systems that the study does not have are left out.
    """
    table = {"": dict(zip(COLUMNS, COLUMNS))}
    for system, name in NAME.items():
        if rows := rows_of(study, system, None):
            table[name] = {head: filled(cell, rows) for head, cell in COLUMNS.items()}
    width = {head: 2 + max(len(cells[head]) for cells in table.values()) for head in COLUMNS}
    lines = []
    for name, cells in table.items():
        lines.append(f"{name:16s}" + "".join(cells[head].rjust(width[head]) for head in COLUMNS))
    said = []
    for why in dict.fromkeys(row["no_bound"] for row in study["runs"] if row.get("no_bound")):
        names = dict.fromkeys(row["system"] for row in study["runs"] if row.get("no_bound") == why)
        said.append(f"none: {', '.join(NAME[system] for system in names)}: {why.replace('mdlm-sentences', 'MDLM')}")
    judges = {row["judge"] for row in study["runs"] if row.get("judge")}
    told = [f"judge: {', '.join(sorted(judges))}"] if judges else []
    return "\n".join([*lines, "", *said, *told, again(study)])


def rows_of(study: dict, system: str, calls: int | None) -> list[dict]:
    """The rows of a system, one a seed, at its own number of calls (None) or at one of the smaller numbers."""
    return [row for row in study["runs"] if row["system"] == system and row.get("calls") == calls]


def path_of(study: dict, system: str) -> list[dict]:
    """The rows of a system from few calls to many, all of the first seed: only it was asked fewer times."""
    first = study["runs"][0]["seed"]
    rows = [row for row in study["runs"] if row["system"] == system and row["seed"] == first]
    return sorted(rows, key=lambda row: row["network_calls"])


def text_frontiers(study: dict) -> Picture:
    """The judge's perplexity against calls, and against the diversity of the same texts, of the first seed; human texts
    in both.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 6.2), sharey=True)
    said = []
    for system, writer in WRITER_OF.items():
        points = path_of(study, system)
        if not points:
            continue
        _, method, dashes, marker = WRITERS[writer]
        for ax, key in ((left, "network_calls"), (right, "diversity")):
            path(ax, points, key, NAME[system], METHOD_COLOUR[method], dashes, marker, method in ON_VECTORS)
        said.append(f"{NAME[system]}: " + ", ".join(at(point) for point in points))
    for system, mark in (("human", "*"), ("shuffled words", "X")):
        for point in rows_of(study, system, None)[:1]:
            left.axhline(point["perplexity"], color=BLACK, ls=":", lw=1.2)
            left.annotate(
                NAME[system], (0.01, point["perplexity"] * 1.06), xycoords=("axes fraction", "data"), fontsize=9
            )
            right.plot([point["diversity"]], [point["perplexity"]], mark, color=BLACK, ms=13, label=NAME[system])
            said.append(f"{NAME[system]}: {point['perplexity']:.0f} at diversity {point['diversity']:.2f}")
    left.set(xscale="log", yscale="log", xlabel="network calls per text", ylabel="judge's perplexity", title="Cost")
    right.set(xlabel="diversity of 300 texts", title="Variety", xlim=(-0.03, 1.03))
    left.xaxis.set_major_formatter("{x:g}")
    left.yaxis.set_major_formatter("{x:g}")
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9, handlelength=3)
    alt = f"The judge's perplexity against network calls and against diversity. {'; '.join(said)}."
    return fig, alt, f"First seed. The large mark of each path is its own number of calls. {again(study)}"


def path(ax: Axes, points: list[dict], key: str, name: str, colour: str, dashes: str, marker: str, hollow: bool):
    x, y, face = [p[key] for p in points], [p["perplexity"] for p in points], "white" if hollow else colour
    ax.plot(x, y, color=colour, ls=dashes, marker=marker, ms=4, mfc=face, label=name)
    ax.plot(x[-1:], y[-1:], marker=marker, ms=9, color=colour, mfc=face)


def at(point: dict) -> str:
    calls, ppl = point["network_calls"], point["perplexity"]
    return f"{ppl:.0f} at {calls:.0f} calls and diversity {point['diversity']:.2f}"
