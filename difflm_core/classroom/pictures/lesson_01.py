"""The pictures of lesson 01: noisy densities, paths of samplers, and the stored study gaussian_ddpm."""

import math

import torch
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from difflm_core.classroom.pictures.lesson_08 import again
from difflm_core.classroom.plots import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION

Picture = tuple[Figure, str, str]
SCHEDULE = {"linear": (VERMILLION, "--"), "cosine": (BLUE, "-")}  # colour, dashes
OUTPUT = {"x": (GREEN, "-"), "eps": (VERMILLION, "--"), "v": (BLUE, "-.")}


def density_over_time(data, process, height: float = 3.2, times: int = 121) -> tuple[Tensor, Tensor, Tensor]:
    """(t, z, q) with q[i, j] = q(z_j at t_i), for data on a line."""
    t, z = torch.linspace(0, 1, times, dtype=torch.float64), torch.linspace(-height, height, 321, dtype=torch.float64)
    q = [data.noisy_log_prob(z[:, None], now.expand(len(z)), process).exp() for now in t]
    return t, z, torch.stack(q)


def sheet(ax, data, process) -> None:
    """The noisy density as grey levels over (t, z), darkest where it is largest at that t."""
    t, z, q = density_over_time(data, process)
    shade = (q / q.amax(1, keepdim=True)).sqrt()
    ax.pcolormesh(t, z, shade.T, cmap="Greys", vmin=0, vmax=1.3, shading="auto", rasterized=True)
    ax.set(xlabel="t", ylabel="z", xlim=(0, 1), ylim=(-3.2, 3.2))
    ax.grid(False)


def marginals(data, process, paths: Float[Tensor, "times N"] | None = None) -> Picture:
    """q(z_t) over t as a sheet with some noise paths on it, and as curves at five times."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    sheet(left, data, process)
    if paths is not None:
        left.plot(torch.linspace(0, 1, len(paths)), paths, lw=1, alpha=0.9)
    left.set_title("From data (left) to noise (right)")
    t, z, q = density_over_time(data, process, times=5)
    for row, now in enumerate(t):
        curve = q[row] / q[row].max() * 0.85 + (4 - row)
        right.fill_between(z, 4 - row, curve, color=BLUE, alpha=0.25, lw=0)
        right.plot(z, curve, color=BLUE, lw=1.5)
        right.text(-3.1, 4 - row + 0.35, f"t = {now:.2f}", fontsize=10)
    right.set(xlabel="z", yticks=[], title="The density at five times")
    right.grid(False)
    humps = [int(((row[1:-1] > row[:-2]) & (row[1:-1] > row[2:])).sum()) for row in q]
    alt = "Density of noisy data over time: " + ", ".join(
        f"{n} hump{'s' * (n > 1)} at t = {now:.2f}" for n, now in zip(humps, t)
    )
    return (
        fig,
        alt + ".",
        "Darker is likelier, lines are single points on their way. Each curve has its own height.",
    )


def posterior_by_bayes(z: Tensor, brute: Tensor, closed: Tensor, z_t: float, x: float) -> Picture:
    """The law of z_s given z_t and x, on a grid by Bayes' rule, and by the formula."""
    fig, ax = plt.subplots(figsize=(7.2, 3.2))
    ax.fill_between(z, brute, color=BLUE, alpha=0.25, lw=0, label="Bayes on a grid")
    ax.plot(z, closed, color=VERMILLION, ls="--", label="the formula")
    for place, name in ((z_t, "$z_t$"), (x, "$x$")):
        ax.axvline(place, color=GREY, lw=1, ls=":")
        ax.text(place, ax.get_ylim()[1] * 0.98, " " + name, va="top", fontsize=11)
    ax.set(xlabel="$z_s$", ylabel="density", title="One step back, if we knew x")
    ax.legend()
    mean = float((z * brute).sum() / brute.sum())
    alt = f"A normal density around {mean:.2f}, between x = {x:g} and z_t = {z_t:g}; both computations coincide."
    return fig, alt, ""


def guesses(z: Tensor, curves: dict[float, dict[str, Tensor]], hills: Tensor) -> Picture:
    """Clean guess against noisy value, one panel a time; hills are the centres of the data."""
    fig, axes = plt.subplots(1, len(curves), figsize=(10, 3.3), sharey=True)
    for ax, (t, lines) in zip(axes, curves.items()):
        for centre in hills:
            ax.axhline(centre, color="#e4e4e4", lw=1)
        for (name, value), (colour, dashes) in zip(lines.items(), ((BLACK, ":"), (BLUE, "-"), (VERMILLION, "--"))):
            ax.plot(z, value, color=colour, ls=dashes, label=name)
        ax.set(title=f"t = {t:g}", xlabel="what is seen, $z_t$", xlim=(z[0], z[-1]), ylim=(-2, 2.3))
        ax.grid(False)
    axes[0].set_ylabel("best guess of x")
    axes[0].legend(loc="upper left")
    alt = (
        "Guess of x against z_t. At small t a staircase whose steps are the hills, at medium t a smooth S, "
        "at large t a gently rising line around the mean of the data."
    )
    return fig, alt, "Grey lines: the centres of the hills. The best guess is a mean and may lie where no data is."


def per_step(found: dict[str, dict], T: int) -> Picture:
    """The bound's steps over t for each schedule, and their share below t."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
    said = []
    for name, parts in found.items():
        colour, dashes = SCHEDULE[name]
        steps = parts["steps"]
        t = torch.arange(2, T + 1) / T
        left.semilogy(t, steps, color=colour, ls=dashes, label=name)
        right.plot(t, 100 * steps.cumsum(0) / steps.sum(), color=colour, ls=dashes, label=name)
        idle = int((steps < 1e-3).sum())
        said.append(f"{name}: the first tenth of the steps holds {100 * steps[: T // 10].sum() / steps.sum():.0f} %, "
                    f"{idle} steps cost less than 0.001 nats")  # fmt: skip
    left.axhline(1e-3, color=GREY, lw=1, ls=":")
    left.set(xlabel="t", ylabel="$L_t$, nats", title="What each step costs", ylim=(1e-6, 3))
    right.set(xlabel="t", ylabel="share of the sum below t, %", title="Where the bound sits", ylim=(0, 103))
    left.legend()
    alt = f"The cost of each of {T} steps falls steeply with t, for the linear schedule further. " + "; ".join(said)
    return fig, alt + ".", "Dotted: a thousandth of a nat. " + "; ".join(said) + "."


def weights(t: Tensor, curves: dict[str, Tensor], blow: dict[str, tuple[Tensor, Tensor]]) -> Picture:
    """Weight on the error of x for each loss; and what an output error of 1 becomes in x and in eps."""
    fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.5))
    looks = dict(zip(curves, ((GREEN, "-"), (VERMILLION, "--"), (BLUE, "-."), (BLACK, ":"))))
    for name, value in curves.items():
        axes[0].semilogy(t, value, color=looks[name][0], ls=looks[name][1], label=name)
    axes[0].set(title="Weight on $|x - \\hat x|^2$", xlabel="t", ylim=(1e-4, 1e5))
    axes[0].legend(fontsize=9)
    for ax, which, title in ((axes[1], 0, "... becomes in $\\hat x$"), (axes[2], 1, "... becomes in $\\hat\\epsilon$")):
        for name, pair in blow.items():
            ax.semilogy(t, pair[which], color=OUTPUT[name][0], ls=OUTPUT[name][1], label=f"{name} network")
        ax.set(title=title, xlabel="t", ylim=(1e-2, 1e3))
    axes[1].set_ylabel("an output error of 1 ...")
    axes[2].legend(fontsize=9)
    alt = (
        "Left, weights over t: x is 1 everywhere; eps and v rise steeply towards t = 0, and towards t = 1 eps falls to "
        "0, v to 1; the bound's rises fastest towards 0. Middle: an eps network's error in x explodes at t = 1, those "
        "of x and v stay at most 1. Right: an x network's error in eps explodes at t = 0."
    )
    return fig, alt, ""


def walks(data, process, trajectories: dict[str, Float[Tensor, "times N"]], times: dict[str, Tensor]) -> Picture:
    """Paths of samplers from noise (right) to data (left) on the density's sheet."""
    fig, axes = plt.subplots(1, len(trajectories), figsize=(8, 3.4), sharey=True)
    for ax, (name, paths) in zip(axes, trajectories.items()):
        sheet(ax, data, process)
        ax.plot(times[name], paths, lw=1.1)
        ax.set_title(name)
    alt = "Paths from noise at t = 1 to the hills at t = 0. Ancestral paths jitter, DDIM's are smooth and do not cross."
    return fig, alt, "The same noise at t = 1 in both. Read from right to left."


def histograms(data, drawn: dict[str, Tensor]) -> Picture:
    """Samples on a line against the true density."""
    fig, axes = plt.subplots(1, len(drawn), figsize=(10.5, 2.8), sharey=True)
    z = torch.linspace(-3, 3, 301, dtype=torch.float64)
    for ax, (name, x) in zip(axes, drawn.items()):
        ax.hist(x.flatten().clamp(-3, 3).numpy(), bins=75, range=(-3, 3), density=True, color=ORANGE, alpha=0.7)
        ax.plot(z, data.log_prob(z[:, None]).exp(), color=BLACK, ls=":", lw=1.5)
        ax.set_title(name, fontsize=10)
        ax.set(xlabel="x", yticks=[])
        ax.grid(False)
    alt = "Histograms of samples with the true density: " + "; ".join(name.replace("\n", " ") for name in drawn) + "."
    return fig, alt, "Orange: samples; dotted: the data."


def clouds(data, drawn: dict[str, Tensor]) -> Picture:
    """Samples in the plane, one panel each, over the centres of the islands."""
    fig, axes = plt.subplots(1, len(drawn), figsize=(10.5, 2.9))
    for ax, (name, x) in zip(axes, drawn.items()):
        ax.plot(*x[:1000].T, ".", ms=2, color=BLUE, alpha=0.5)
        ax.plot(*data.means.T, "o", ms=15, mfc="none", mec=GREY, mew=0.8)
        ax.set(title=name, xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal", xticks=[], yticks=[])
        ax.title.set_fontsize(10)
        ax.grid(False)
    return fig, "Samples in the plane around eight islands: " + "; ".join(drawn) + ".", "Grey rings: the eight islands."


def rate(log_snr: Tensor, value: Tensor, over_t: dict[str, tuple[Tensor, Tensor]]) -> Picture:
    """Nats per unit of log-SNR, and the same integrand over t for schedules with the same ends."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
    left.fill_between(log_snr, value, color=BLUE, alpha=0.25, lw=0)
    left.plot(log_snr, value, color=BLUE)
    left.axhline(0.5, color=GREY, ls=":", lw=1)
    left.text(float(log_snr[0]), 0.505, "1/2", fontsize=10, va="bottom")
    left.set(xlabel="log SNR", ylabel="nats per unit", title="One curve, given by the data", ylim=(0, 0.6))
    for (name, (t, height)), (colour, dashes) in zip(over_t.items(), ((BLUE, "-"), (VERMILLION, "--"))):
        right.plot(t, height, color=colour, ls=dashes, label=name)
    right.set(xlabel="t", ylabel="integrand", title="Two schedules walk along it")
    right.legend()
    alt = (
        f"Left: nats per unit of log-SNR rise from 0 at {float(log_snr.min()):.0f} to 1/2 at "
        f"{float(log_snr.max()):.0f}, with a dip in between. Right: two different curves over t with the same area."
    )
    return fig, alt, "Left, dotted: 1/2, what every smooth density approaches where noise is small."


# The stored study


def select(study: dict, **wanted) -> list[dict]:
    return [r for r in study["runs"] if all(r.get(key) == value for key, value in wanted.items())]


def of_samples(runs: list[dict], eta: float, key: str) -> Float[Tensor, "seeds calls"]:
    return torch.tensor([[s[key] for s in r["samples"] if s["eta"] == eta] for r in runs])


def mean_sd(values) -> str:
    values = torch.as_tensor(values, dtype=torch.float64)
    return f"{values.mean():.3f} ± {values.std():.3f}"


def above_best(study: dict, runs: list[dict], variance: str = "large") -> Tensor:
    """Nats per coordinate above the best denoiser with the best variance: same schedule, points and noise."""
    best = select(study, kind="exact", schedule=runs[0]["schedule"])[0]["bounds"]["best"]["bound"]
    return torch.tensor([r["bounds"][variance]["bound"] - best for r in runs])


def best_line(study: dict) -> str:
    """How far the reference of `above_best` is from the truth."""
    best = {s: select(study, kind="exact", schedule=s)[0]["bounds"]["best"] for s in SCHEDULE}
    shown = ", ".join(f"{name} {b['excess']:+.3f} ± {b['standard_error']:.3f}" for name, b in best.items())
    return f"(above the best denoiser with the best variance, same points and noise; that one above -log p: {shown})"


def objectives(study: dict) -> str:
    """A table: the same network with the simple loss and with the bound."""
    few, many = (study["settings"]["calls"].index(calls) for calls in (20, 200))
    head = f"{'loss':9s}{'schedule':10s}{'nats above best':>18s}{'at sea, 20 calls':>18s}{'200 calls':>14s}"
    lines = [head + f"{'distance, 200 calls':>22s}"]
    for schedule in SCHEDULE:
        for loss in ("none", "simple", "bound"):
            runs = select(study, loss=loss, schedule=schedule)
            sea, far = 100 * of_samples(runs, 1.0, "at_sea"), of_samples(runs, 1.0, "distance")
            few_, many_ = (f"{sea[:, i].mean():.1f} ± {sea[:, i].std():.1f} %" for i in (few, many))
            lines.append(
                f"{'(best)' if loss == 'none' else loss:9s}{schedule:10s}{mean_sd(above_best(study, runs)):>18s}"
                f"{few_:>18s}{many_:>14s}{mean_sd(far[:, many]):>22s}"
            )
    truth = select(study, kind="truth")
    sea, far = 100 * sum(r["at_sea"] for r in truth) / len(truth), mean_sd([r["distance"] for r in truth])
    lines.append(f"true samples: {sea:.2f} % at sea, distance {far}; ancestral sampling, bounds with the variance beta")
    return "\n".join([*lines, best_line(study)])


def outputs(study: dict) -> Picture:
    """The squared error of x_hat above the best denoiser's, over t, by what the network answers."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    said = []
    for kind, (colour, dashes) in OUTPUT.items():
        runs = select(study, loss="own", kind=kind, schedule="cosine")
        t = [row["t"] for row in runs[0]["errors"]]
        excess = torch.tensor([[max(row["excess"], 1e-9) for row in r["errors"]] for r in runs])
        alpha = torch.tensor([math.cos(now * math.pi / 2) ** 2 for now in t]).clamp_min(2e-7)  # the study's floor
        for ax, value in ((left, excess), (right, excess * alpha / (1 - alpha))):
            ax.semilogy(t, value.mean(0), color=colour, ls=dashes, marker="o", ms=3, label=kind)
            ax.fill_between(t, value.amin(0), value.amax(0), color=colour, alpha=0.2, lw=0)
        said.append(f"{kind}: {excess.mean(0)[0]:.1e} at t = {t[0]}, {excess.mean(0)[-2]:.1e} at t = {t[-2]}")
    left.set(xlabel="t", title="Error of $\\hat x$ above the best", ylim=(1e-6, 1e4))
    right.set(xlabel="t", title="The same in units of $\\epsilon$", ylim=(1e-6, 1e4))
    right.legend()
    alt = "Excess squared error of the clean guess over t: " + "; ".join(said) + "."
    return fig, alt, f"Mean and range of {len(runs)} seeds, cosine schedule. {again(study)}"


def output_table(study: dict) -> str:
    """Samples and bound by what the network answers."""
    calls = study["settings"]["calls"]
    lines = [f"{'answers':9s}{'schedule':10s}{'nats above best':>22s}" + "".join(f"{f'{c} calls':>16s}" for c in calls)]
    for kind, schedule in (("x", "cosine"), ("v", "cosine"), ("eps", "cosine"), ("eps", "linear")):
        runs = select(study, loss="own", kind=kind, schedule=schedule)
        nats, sea = above_best(study, runs), 100 * of_samples(runs, 1.0, "at_sea")
        lines.append(
            f"{kind:9s}{schedule:10s}{f'{nats.mean():.3g} ± {nats.std():.2g}':>22s}"
            + "".join(f"{f'{m:.1f} ± {d:.1f}':>16s}" for m, d in zip(sea.mean(0), sea.std(0)))
        )
    return "\n".join([*lines, "(calls: samples at sea in per cent, ancestral sampling, mean ± sd over seeds)"])


def steps(study: dict) -> Picture:
    """Points at sea against network calls: DDIM and ancestral, both schedules; best denoiser and trained network."""
    calls = study["settings"]["calls"]
    fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
    said = []
    for ax, who, title in (
        (axes[0], {"kind": "exact"}, "The best denoiser"),
        (axes[1], {"loss": "simple"}, "Trained (simple loss)"),
    ):
        for schedule, (colour, _) in SCHEDULE.items():
            for eta, name, dashes, mark in ((0.0, "DDIM", "-", "o"), (1.0, "ancestral", "--", "s")):
                sea = (100 * of_samples(select(study, schedule=schedule, **who), eta, "at_sea")).clamp_min(0.02)
                ax.plot(calls, sea.mean(0), color=colour, ls=dashes, marker=mark, label=f"{name}, {schedule}")
                ax.fill_between(calls, sea.amin(0), sea.amax(0), color=colour, alpha=0.15, lw=0)
                said.append(f"{title.lower()}, {name}, {schedule} " + " ".join(f"{m:.1f}" for m in sea.mean(0)))
        ax.axhline(0.034, color=BLACK, ls=":", lw=1)
        ax.set(xscale="log", yscale="log", xlabel="network calls", title=title)
        ax.set_xticks(calls, calls)
        ax.minorticks_off()
    axes[0].set_ylabel("points at sea, %")
    axes[1].legend(fontsize=9)
    alt = f"Points at sea in per cent at {', '.join(map(str, calls))} calls: " + "; ".join(said) + "."
    return fig, alt, f"Dotted: true samples. Bands: range of the seeds. {again(study)}"


def step_table(study: dict) -> str:
    """Distance to true samples (sliced) against calls, mean ± sd over seeds."""
    calls = study["settings"]["calls"]
    lines = ["distance to true samples, mean ± sd over seeds"]
    lines += [f"{'denoiser':10s}{'schedule':10s}{'sampler':11s}" + "".join(f"{f'{c} calls':>17s}" for c in calls)]
    for label, who in (("best", {"kind": "exact"}), ("trained", {"loss": "simple"})):
        for schedule in SCHEDULE:
            for eta, name in ((0.0, "DDIM"), (1.0, "ancestral")):
                far = of_samples(select(study, schedule=schedule, **who), eta, "distance")
                cells = "".join(f"{mean_sd(far[:, i]):>17s}" for i in range(len(calls)))
                lines.append(f"{label:10s}{schedule:10s}{name:11s}{cells}")
    truth = [r["distance"] for r in select(study, kind="truth")]
    return "\n".join([*lines, f"two true samples of the same size: {mean_sd(truth)}"])


def variances(study: dict) -> str:
    """The bound (T of the study) with each variance: best denoiser, and a network with a learned one."""
    lines = ["nats per coordinate above the best, mean ± sd over seeds"]
    lines += [f"{'denoiser':20s}{'schedule':10s}{'beta-tilde':>18s}{'beta':>18s}{'learned (or best)':>20s}"]
    for label, who, last in (("best", {"kind": "exact"}, "best"), ("trained, hybrid", {"loss": "hybrid"}, "learned")):
        for schedule in SCHEDULE:
            runs = select(study, schedule=schedule, **who)
            small, large, third = (mean_sd(above_best(study, runs, name)) for name in ("small", "large", last))
            lines.append(f"{label:20s}{schedule:10s}{small:>18s}{large:>18s}{third:>20s}")
    return "\n".join([*lines, best_line(study)])
