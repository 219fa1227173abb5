"""The pictures and tables of lesson 05: what states show, what decoders bear, and the stored study `tencdm`."""

from collections.abc import Iterable

import torch
from matplotlib import pyplot as plt

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, style_of
from difflm_core.data import toy_language
from difflm_core.evaluation import distinct_n

SCHEDULE_LOOK = {
    "tan-1": (BLUE, "-"), "tan-3": (GREEN, "--"), "tan-5": (SKY, ":"), "tan-9": (VERMILLION, "-."),
    "sqrt": (GREY, "--"),
}  # fmt: skip
DECODER_LOOK = {
    "MLP": (SKY, ":"), "MLP + Cor": (BLUE, "-"), "transformer": (ORANGE, "--"), "transformer + Cor": (VERMILLION, "-."),
}  # fmt: skip
BEST = "transformer + Cor"
STEP_LOOK = ((SKY, ":"), (ORANGE, "-."), (GREEN, "--"), (BLUE, "-"), (VERMILLION, "-"))


def readers(times: Iterable[float], curves: dict[str, list[float]], title: str) -> Picture:
    """Shares of words that decoders read from noisy encodings, as they are."""
    times = list(times)
    fig, ax = plt.subplots(figsize=(7.2, 3.4))
    for name, shares in curves.items():
        colour, dashes = DECODER_LOOK[name]
        ax.plot(times, [100 * share for share in shares], dashes, marker="o", ms=3, color=colour, label=name)
    ax.set(xlabel="t of the encodings that are read", ylabel="words read right, %", ylim=(0, 102), title=title)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    said = "; ".join(
        f"{name} " + ", ".join(f"{share:.0%} at t = {t:g}" for t, share in zip(times, shares) if t in times[::2])
        for name, shares in curves.items()
    )
    return fig, f"Words read right over the noise. {said}.", "No denoiser is at work: the decoder reads z_t as it is."


def sizes(walks: dict[int, tuple[list[float], list[float]]]) -> Picture:
    """Mean square of x_hat over t, for walks of different numbers of steps: {steps: (times, sizes)}."""
    fig, ax = plt.subplots(figsize=(7.2, 3.3))
    for (steps, (times, values)), (colour, dashes) in zip(walks.items(), STEP_LOOK):
        ax.plot(times, values, dashes, color=colour, label=f"{steps} steps")
    ax.axhline(1.0, color="#000000", ls=":", lw=1)
    ax.set(xlim=(1.02, 0), xlabel="t (sampling goes to the right)", ylabel="mean square of x_hat")
    ax.legend(loc="lower right")
    said = "; ".join(f"{steps} steps end at {values[-1]:.2f}" for steps, (_, values) in walks.items())
    return fig, f"Mean square of the estimate along the walk. {said}.", "Dotted: the data's own mean square."


# The stored study


def rows(study: dict, canvas="encodings", schedule: str | None = None, self_conditioning=0.5) -> list[dict]:
    """The seeds of one cell; the schedule is the usual one unless named."""
    wanted = (canvas, schedule or study["settings"]["usual"], self_conditioning)
    return [r for r in study["runs"] if (r["canvas"], r["schedule"], r["self_conditioning"]) == wanted]


def drawn(study: dict, key: str, decoder: str = BEST, **cell) -> list[float | None]:
    """A figure of the drawn texts, seed by seed."""
    return [r["decoders"][decoder][key] for r in rows(study, **cell)]


def spread(values: list[float | None], form: str, scale: float = 1.0) -> str:
    """Mean and range over seeds."""
    known = [scale * value for value in values if value is not None]
    if not known:
        return "too few"
    mean = sum(known) / len(known)
    return f"{mean:{form}} ({min(known):{form}} to {max(known):{form}})"


def verdict(first: str, second: str, a: list[float], b: list[float]) -> str:
    """Which of two cells has more grammatical sentences, seed by seed, and by how much."""
    gaps = [100 * (x - y) for x, y in zip(a, b, strict=True)]
    ahead, mean = sum(gap > 0 for gap in gaps), sum(gaps) / len(gaps)
    return (
        f"{first} against {second}: more grammatical in {ahead} of {len(gaps)} seeds, by {mean:+.0f} points on average "
        f"({min(gaps):+.0f} to {max(gaps):+.0f})"
    )


CANVASES = {
    "embeddings": "word embeddings",
    "untuned": "states of mdlm-tiny as it is",
    "encodings": "states after the tuning",
}


def canvases(study: dict) -> str:
    """A table: what can be read back, and what is generated, on three canvases."""
    lines = [f"{'canvas':30s}{'texts read back, %':>22s}{'grammatical, %':>18s}{'distinct-2':>12s}{'likelier by':>13s}"]
    for canvas, name in CANVASES.items():
        cell = {"canvas": canvas}
        texts = [r["reading"][BEST]["texts"] for r in rows(study, **cell)]
        figures = (
            spread(texts, ".0f", 100), spread(drawn(study, "grammatical", **cell), ".0f", 100),
            mean_of(drawn(study, "distinct_2", **cell), ".3f"), mean_of(drawn(study, "log_prob_gap", **cell), "+.2f"),
        )  # fmt: skip
        lines.append(f"{name:30s}{figures[0]:>22s}{figures[1]:>18s}{figures[2]:>12s}{figures[3]:>13s}")
    lines.append(f"{'true sentences':30s}{'':22s}{'100':>18s}{true_distinct(study):12.3f}{'0':>13s}")
    own, others = (drawn(study, "grammatical", canvas=canvas) for canvas in ("encodings", "embeddings"))
    return "\n".join([*lines, "", verdict("encodings", "embeddings", own, others), again(study)])


def true_distinct(study: dict) -> float:
    """Distinct-2 of as many true sentences as the study draws."""
    texts = toy_language().sample(study["settings"]["samples"], generator=torch.Generator().manual_seed(0))
    return distinct_n(texts, 2)


def mean_of(values: list[float | None], form: str) -> str:
    return spread(values, form).split(" (")[0]


def schedules(study: dict) -> Picture:
    """Grammatical sentences for every schedule, and the words that each network's x_hat shows over t."""
    names = study["settings"]["schedules"]
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    said = []
    for place, name in enumerate(names):
        colour, dashes = SCHEDULE_LOOK[name]
        good = [100 * share for share in drawn(study, "grammatical", schedule=name)]
        left.bar(place, sum(good) / len(good), color=colour, alpha=0.5, width=0.7)
        left.plot([place] * len(good), good, "o", color=colour, ms=5, mec="white")
        words = 100 * torch.tensor([r["denoising"]["words"] for r in rows(study, schedule=name)])
        right.plot(study["settings"]["read_at"], words.mean(0), dashes, marker="o", ms=3, color=colour, label=name)
        said.append(f"{name} {spread([share / 100 for share in good], '.0f', 100)} %")
    left.set_xticks(range(len(names)), names)
    left.set(ylabel="grammatical sentences, %", title="Trained and sampled on one schedule")
    right.set(xlabel="t", ylabel="words read from x_hat, %", ylim=(0, 102), title="What one call shows")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    alt = "Left: grammatical sentences: " + "; ".join(said) + ". Right: words read from one call's estimate over t."
    means = {name: sum(drawn(study, "grammatical", schedule=name)) for name in names}
    return fig, alt, f"Points: seeds. Most grammatical on average: {max(means, key=means.get)}. {again(study)}"


def walked(study: dict) -> str:
    """A table: networks (rows) sampled on the noise levels of other schedules (columns), grammatical %."""
    names = study["settings"]["schedules"]
    lines = [f"{'trained on':12s}" + "".join(f"{'on ' + name:>18s}" for name in names)]
    for trained in study["settings"]["walkers"]:
        cell = rows(study, schedule=trained)
        shares = (spread([r["walked"][name]["grammatical"] for r in cell], ".0f", 100) for name in names)
        lines.append(f"{trained:12s}" + "".join(f"{share:>18s}" for share in shares))
    table = torch.tensor(
        [
            [sum(r["walked"][name]["grammatical"] for r in rows(study, schedule=trained)) for name in names]
            for trained in study["settings"]["walkers"]
        ]
    ) / len({r["seed"] for r in study["runs"]})  # (networks, walks)
    along, down = (100 * (table.amax(axis) - table.amin(axis)).mean().item() for axis in (1, 0))
    effect = f"from worst to best: {along:.0f} points along a row (the walk), {down:.0f} down a column (the training)"
    return "\n".join([*lines, effect, again(study)])


def decoders(study: dict) -> str:
    """A table: four decoders on the same drawn latents."""
    at = study["settings"]["read_at"]
    shown = [at.index(t) for t in (0.1, 0.3)]
    lines = [
        f"{'decoder':20s}{'grammatical, %':>18s}{'distinct-2':>12s}{'likelier by':>13s}{'words read at':>17s}",
        f"{'':63s}" + "".join(f"{f't = {at[i]:g}':>9s}" for i in shown),
    ]
    for name in DECODER_LOOK:
        figures = (
            spread(drawn(study, "grammatical", name), ".0f", 100),
            mean_of(drawn(study, "distinct_2", name), ".3f"),
        )
        gap = mean_of(drawn(study, "log_prob_gap", name), "+.2f")
        bears = [mean_of([r["reading"][name]["noisy"][i] * 100 for r in rows(study)], ".0f") + " %" for i in shown]
        lines.append(f"{name:20s}{figures[0]:>18s}{figures[1]:>12s}{gap:>13s}" + "".join(f"{b:>9s}" for b in bears))
    good = {name: drawn(study, "grammatical", name) for name in DECODER_LOOK}
    pairs = (("MLP + Cor", "MLP"), ("transformer", "MLP"), (BEST, "transformer"), (BEST, "MLP + Cor"))
    return "\n".join([*lines, "", *(verdict(a, b, good[a], good[b]) for a, b in pairs), again(study)])


def steps(study: dict) -> Picture:
    """Grammatical sentences over sampling steps with self-conditioning and without; the estimate's size on the way."""
    counts = study["settings"]["step_counts"]
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    looks = {0.5: ("with self-conditioning", style_of("tencdm")), 0.0: ("without", {"color": GREY, "marker": "o"})}
    said = []
    for share, (name, look) in looks.items():
        cell = rows(study, self_conditioning=share)
        good = 100 * torch.tensor([[by["grammatical"] for by in r["by_steps"]] for r in cell])
        left.plot(counts, good.mean(0), label=name, **look)
        left.fill_between(counts, good.amin(0), good.amax(0), color=look["color"], alpha=0.2, lw=0)
        said.append(f"{name} " + ", ".join(f"{value:.0f} % at {T}" for T, value in zip(counts, good.mean(0).tolist())))
        last = torch.tensor([[by["magnitudes"][-1] for by in r["by_steps"]] for r in cell])
        right.plot(counts, last.mean(0), label=name, **look)
        right.fill_between(counts, last.amin(0), last.amax(0), color=look["color"], alpha=0.2, lw=0)
        said.append("mean square " + ", ".join(f"{v:.2f} at {T}" for T, v in zip(counts, last.mean(0).tolist())))
    right.axhline(1.0, color="#000000", ls=":", lw=1)
    left.set(ylabel="grammatical sentences, %", title="Quality")
    right.set(ylabel="mean square of the sample", title="Confidence")
    for ax in (left, right):
        ax.set(xscale="log", xlabel="sampling steps (network calls)")
        ax.set_xticks(counts, counts)
        ax.set_xticks([], minor=True)
    left.legend()
    alt = "Left: grammatical sentences over steps; right: mean square of the sample. " + "; ".join(said) + "."
    return fig, alt, f"Bands: seeds; dotted: the data's own mean square. {again(study)}"


def steps_table(study: dict) -> str:
    """The same with variety beside quality."""
    lines = [f"{'steps':>6s}" + "".join(f"{head:>30s}" for head in ("with self-conditioning", "without"))]
    lines.append(f"{'':6s}" + f"{'grammatical %, distinct-2':>30s}" * 2)
    for i, T in enumerate(study["settings"]["step_counts"]):
        line = f"{T:6d}"
        for share in (0.5, 0.0):
            by = [r["by_steps"][i] for r in rows(study, self_conditioning=share)]
            good, variety = (
                spread([b["grammatical"] for b in by], ".0f", 100),
                mean_of([b["distinct_2"] for b in by], ".3f"),
            )
            line += f"{f'{good}, {variety}':>30s}"
        lines.append(line)
    best = {share: best_steps(study, share) for share in (0.5, 0.0)}
    lines.append(f"best on average: {best[0.5]} steps with self-conditioning, {best[0.0]} without")
    return "\n".join([*lines, on_the_way(study), again(study)])


def on_the_way(study: dict, T: int = 50) -> str:
    """Mean square of x_hat along the walks in T steps, with self-conditioning and without it."""
    index, said = study["settings"]["step_counts"].index(T), []
    for t in (0.8, 0.6, 0.4, 0.2, 0.02):
        call = round((1 - t) * T)  # the calls are at t = 1, 1 - 1/T, ..., 1/T
        two = (
            [r["by_steps"][index]["magnitudes"][call] for r in rows(study, self_conditioning=share)]
            for share in (0.5, 0.0)
        )
        said.append("t = {:g} {} {}".format(t, *(mean_of(sizes, ".2f") for sizes in two)))
    return f"mean square of x_hat on walks in {T} steps, with and without:\n   " + "; ".join(said)


def best_steps(study: dict, self_conditioning: float) -> int:
    cell = rows(study, self_conditioning=self_conditioning)
    good = torch.tensor([[by["grammatical"] for by in r["by_steps"]] for r in cell]).mean(0)
    return study["settings"]["step_counts"][int(good.argmax())]


def calibration(study: dict) -> str:
    """Mean square and error of x_hat on held-out texts add up to 1 if it is the mean of what is possible."""
    at = study["settings"]["read_at"]
    lines = [f"{'t':>6s}{'mean square':>14s}{'squared error':>16s}{'sum':>8s}"]
    for i, t in enumerate(at):
        size, error = (sum(r["denoising"][key][i] for r in rows(study)) / len(rows(study)) for key in ("size", "error"))
        lines.append(f"{t:6g}{size:14.2f}{error:16.2f}{size + error:8.2f}")
    return "\n".join([*lines, again(study)])
