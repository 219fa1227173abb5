"""The picture and table of lesson 02's stored study guided_control."""

import torch
from matplotlib import pyplot as plt

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import BLACK, BLUE, GREY, VERMILLION


def control(study: dict) -> Picture:
    """Success and fluency against lambda, for each label (study guided_control)."""
    rows = [r for r in study["runs"] if r["what"] == "control"]
    labels = list(dict.fromkeys(r["label"] for r in rows))
    fig, axes = plt.subplots(1, len(labels), figsize=(10, 3.7), sharey=True, squeeze=False)
    said = []
    for ax, label in zip(axes[0], labels):
        mine = [r for r in rows if r["label"] == label]
        lambdas = sorted({r["lambda"] for r in mine if r["lambda"] is not None}, reverse=True)
        order = [None, *lambdas]
        names = ["off", *(f"{value:g}" for value in lambdas)]
        looks = {
            "success": ("has the label", VERMILLION, "o", "-"),
            "grammatical": ("grammatical", BLUE, "s", "--"),
            "both": ("both", BLACK, "D", ":"),
        }
        for key, (name, colour, mark, dashes) in looks.items():
            values = 100 * torch.tensor([[r[key] for r in mine if r["lambda"] == value] for value in order])
            ax.plot(range(len(order)), values.mean(1), dashes, marker=mark, color=colour, label=name)
            ax.fill_between(range(len(order)), values.amin(1), values.amax(1), color=colour, alpha=0.15, lw=0)
            found = ", ".join(f"{n} {v:.0f} %" for n, v in zip(names, values.mean(1).tolist()))
            said.append(f"{label}, {name}: {found}")
        ax.axhline(100 * mine[0]["base_rate"], color=GREY, lw=1, ls=":")
        ax.set(xlabel="λ (weight of fluency)", title=f"wanted: {label}", ylim=(0, 102))
        ax.set_xticks(range(len(order)), names)
    axes[0][0].set_ylabel("sentences, %")
    axes[0][-1].legend(loc="center left")
    alt = "Shares of sentences over lambda, from no guidance to lambda 0. " + "; ".join(said) + "."
    caption = f"Grey: how many true sentences have the label. Bands: three models. {again(study)}"
    return fig, alt, caption


def control_table(study: dict) -> str:
    """What else the study of control compares, means over seeds."""
    runs, usual = study["runs"], study["settings"]["lambda"]

    def controlled(value: float | None):
        return lambda r: r["what"] == "control" and r["lambda"] == value

    kinds = {
        "not guided": controlled(None),
        "lambda = 10": controlled(10.0),
        f"lambda = {usual:g}": controlled(usual),
        "lambda = 0": controlled(0.0),
        f"lambda = {usual:g}, one update a step": lambda r: r["what"] == "one update",
        f"lambda = {usual:g}, classifier of clean texts": lambda r: r["what"] == "clean classifier",
        f"lambda = {usual:g}, two classifiers": lambda r: r["what"] == "composition",
    }
    lines = [f"{'wanted, and how':46s}{'has it %':>10s}{'grammatical %':>15s}{'both %':>8s}{'likelier by':>13s}"]
    for name, chosen in kinds.items():
        rows = [r for r in runs if chosen(r)]
        for label in dict.fromkeys(r["label"] for r in rows):
            same = [r for r in rows if r["label"] == label]
            gaps = [r["log_prob_gap"] for r in same if r["log_prob_gap"] is not None]
            gap = f"{sum(gaps) / len(gaps):+.1f}" if gaps else "too few"
            what = f"{label}: {name}"
            shares = f"{mean(same, 'success'):10.0f}{mean(same, 'grammatical'):15.0f}{mean(same, 'both'):8.0f}"
            lines.append(f"{what:46s}{shares}{gap:>13s}")
    return "\n".join(lines)


def without_classifier(study: dict) -> str:
    """Infilling and length in the study of control, means over seeds."""
    filled, long = ([r for r in study["runs"] if r["what"] == what] for what in ("infilling", "length"))
    lines = []
    for way, name in (("one", "infilling, one sample"), ("mbr", f"least risk of {study['settings']['per_source']}")):
        rows = [r[way] for r in filled]
        good, right = mean(rows, "grammatical"), mean(rows, "words_right")
        lines.append(f"{name:28s}{good:4.0f} % grammatical, {right:3.0f} % of the hidden words found")
    asked, unasked = mean(long, "success"), mean(long, "by_itself")
    lines.append(f"{'length, END and PAD held':28s}{asked:4.0f} % as long as asked ({unasked:.0f} % without asking)")
    return "\n".join(lines)


def mean(rows: list[dict], key: str) -> float:
    """In per cent."""
    return 100 * sum(row[key] for row in rows) / len(rows)
