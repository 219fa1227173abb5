"""The pictures and tables of lesson 03: states of one word, three losses, and the stored study ld4lg."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from matplotlib import pyplot as plt
from torch import Tensor

from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import BLACK, BLUE, GREEN, GREY, METHOD_COLOUR, ORANGE, SKY, VERMILLION, style_of
from difflm_core.processes import masked

NETWORK_LOOK = {
    "v": ("v, self-conditioned", BLUE, "o", "-"),
    "v without self-conditioning": ("v, not self-conditioned", VERMILLION, "s", "--"),
    "x": ("x, self-conditioned", GREEN, "^", "-."),
}


def the_word(states: Float[Tensor, "B D"], number: Int[Tensor, "B"]) -> Picture:
    """States of one word in many sentences on two axes: the one that tells the subject's number best (fitted on one
    half of the sentences, drawn for the other), and the longest axis within one number.
    """
    half = len(states) // 2
    h = (states - states.mean(0)).double()
    target = 2.0 * number.double() - 1
    shift = target[:half].mean()
    axis = torch.linalg.lstsq(h[:half].T @ h[:half] + torch.eye(h.shape[1]), h[:half].T @ (target[:half] - shift))[0]
    tells, seen = (h @ axis + shift)[half:], number[half:]
    right = ((tells > 0).long() == seen).double().mean().item()
    within = h - torch.stack([h[number == value].mean(0) for value in (0, 1)])[number]
    along = (within @ torch.linalg.svd(within, full_matrices=False)[2][0])[half:]
    fig, (left, ax) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=[1, 2])
    left.plot(0, 0, "o", ms=12, color=GREY)
    left.annotate("the", (0, 0), xytext=(12, 8), textcoords="offset points")
    left.set(title="embedding", xlim=(-1, 1), ylim=(-1, 1), xticks=[], yticks=[])
    for value, name, colour, mark in ((0, "one subject", BLUE, "o"), (1, "many", ORANGE, "^")):
        ax.plot(tells[seen == value], along[seen == value], mark, ms=5, alpha=0.7, color=colour, label=name)
    ax.axvline(0, color=GREY, lw=1)
    ax.set(
        title="states",
        xlabel="direction that tells the subject's number",
        ylabel="longest axis within a number",
        yticks=[],
    )
    ax.legend(loc="center", bbox_to_anchor=(0.28, 0.5))
    alt = f"Left: the embedding of 'the' is a single point. Right: its states in {len(seen)} sentences, two clouds by"
    alt += f" the number of the subject; a line between them is right for {right:.0%}."
    return fig, alt, f"A line fitted on other sentences tells one from many for {right:.0%} of these."


@torch.no_grad()
def words_read(encoder, x: Int[Tensor, "B L"]) -> float:
    """Share of words that a linear map reads from their states, fitted on one half of the texts, tried on the other."""
    h = encoder.hidden(x)
    h = torch.cat([h, torch.ones_like(h[..., :1])], -1).double()  # and a constant
    half = len(x) // 2
    known, one_hot = h[:half].flatten(0, 1), torch.nn.functional.one_hot(x[:half].flatten(), encoder.V).double()
    ridge = 1e-3 * torch.eye(known.shape[1], dtype=known.dtype)
    weights = torch.linalg.solve(known.T @ known + ridge, known.T @ one_hot)
    return ((h[half:] @ weights).argmax(-1) == x[half:]).double().mean().item()


@torch.no_grad()
def hidden_floor(language, hide: Callable, sentences: int, generator: torch.Generator) -> float:
    """Exact -log p(text | what `hide` leaves of it), in nats per word, by the chain rule over the hidden words."""
    x = language.sample(sentences, generator=generator)
    z, process, nats = hide(x), masked(language.V), 0.0
    for i in range(language.length):
        rows = (z[:, i] == language.V).nonzero()[:, 0]
        if len(rows):
            p = language.posterior(z[rows], None, process)[torch.arange(len(rows)), i, x[rows, i]]
            nats -= p.log().sum().item()
            z[rows, i] = x[rows, i]
    return nats / x.numel()


def smooth(losses: list[float], window: int = 10) -> Float[Tensor, "n"]:
    window = min(window, len(losses))
    return torch.tensor(losses).unfold(0, window, 1).mean(1)


def losses(pretraining: list[float], bottleneck: list[float], floor: float, entropy: float) -> Picture:
    """The losses of the two stages, with what no model can be below in the first and guessing in both."""
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    parts = (("1 · encoder and decoder mend texts", pretraining), ("2 · the bottleneck, both frozen", bottleneck))
    curves = [smooth(values) for _, values in parts]
    top = 1.05 * max(entropy, *(curve.max().item() for curve in curves))
    for ax, curve, (title, values) in zip(axes, curves, parts):
        ax.plot(torch.arange(len(curve)) + len(values) - len(curve) + 1, curve, color=METHOD_COLOUR["ld4lg"])
        ax.axhline(entropy, color=GREY, ls=":", lw=1.5)
        ax.set(title=title, xlabel="step", ylim=(0, top))
    axes[0].axhline(floor, color=BLACK, ls=":", lw=1.5)
    axes[0].text(len(pretraining), floor - 0.06, "exact floor", ha="right", va="top", fontsize=9)
    axes[0].text(len(pretraining), entropy - 0.06, "writing blind: the entropy", ha="right", va="top", fontsize=9)
    axes[0].set_ylabel("nats per word")
    ends = [sum(part[-20:]) / len(part[-20:]) for part in (pretraining, bottleneck)]
    alt = (
        f"Two loss curves. Mending texts ends at {ends[0]:.2f} nats per word, above an exact floor of {floor:.2f}; the"
    )
    alt += f" bottleneck ends at {ends[1]:.2f}. A decoder that sees nothing would pay {entropy:.2f}."
    return fig, alt, "Left: 30 % of the words are hidden. Right: all are there, but must pass the bottleneck."


def rows(study: dict, what: str, **like) -> list[dict]:
    """The runs of one kind, one per seed, that agree with `like`."""
    return [r for r in study["runs"] if r["what"] == what and all(r[key] == value for key, value in like.items())]


def values(runs: list[dict], key: str, scale: float = 1.0) -> Float[Tensor, "seeds"]:
    return scale * torch.tensor([float(r[key]) for r in runs])


def span(found: Float[Tensor, "seeds"], digits: int = 0) -> str:
    """Mean, and range over seeds: `61 (58 to 64)`."""
    return f"{found.mean():.{digits}f} ({found.min():.{digits}f} to {found.max():.{digits}f})"


def sizes_of(study: dict) -> list[tuple[int, int]]:
    """All bottlenecks (N, D_ae), the uncompressed states last."""
    return sorted({(r["N"], r["D_ae"]) for r in rows(study, "bottleneck")}, key=lambda size: size[0] * size[1])


def reconstruction_table(study: dict) -> str:
    """What comes back of held-out texts, by size of the bottleneck: means and ranges over seeds."""
    last = sizes_of(study)[-1]
    lines = [
        f"{'latents':18s}{'numbers':>8s}{'own latents: BLEU':>24s}{'whole texts, %':>20s}{'another text: BLEU':>24s}"
    ]
    for N, D in sizes_of(study):
        runs = rows(study, "bottleneck", N=N, D_ae=D)
        own = [r["own"] for r in runs]
        name = f"{N} x {D}" + (", all states" if (N, D) == last else "")
        lines.append(
            f"{name:18s}{N * D:8d}{span(values(own, 'bleu'), 3):>24s}{span(values(own, 'exact', 100)):>20s}"
            f"{span(values([r['another' + chr(39) + 's'] for r in runs], 'bleu'), 3):>24s}"
        )
    return "\n".join(lines)


def who_writes(study: dict) -> Picture:
    """Words kept and texts correct as noise is added to the latents of true texts, and the decoder on random ones."""
    times = [0.0, *study["settings"]["noisy_at"], 1.0]
    given = ["own", *(f"noisy at {t:g}" for t in study["settings"]["noisy_at"]), "random"]
    fig, ax = plt.subplots(figsize=(7.6, 3.6))
    said = []
    for key, name, colour, mark in (("grammatical", "texts correct", BLUE, "o"), ("kept", "words kept", ORANGE, "s")):
        found = torch.stack([values(rows(study, "alone", given=way), key, 100) for way in given])
        ax.plot(times, found.mean(1), mark + "-", color=colour, label=name)
        ax.fill_between(times, found.amin(1), found.amax(1), color=colour, alpha=0.25, lw=0)
        said.append(name + " " + ", ".join(f"{v:.0f} %" for v in found.mean(1).tolist()))
    N, D = study["settings"]["usual"]
    ax.set(xlabel="noise t on the latents (1: random points of the sphere)", ylabel="%", ylim=(0, 102), xlim=(0, 1))
    ax.legend(loc="upper right")
    alt = f"Noise on {N} x {D} latents at t = {', '.join(f'{t:g}' for t in times)}: {'; '.join(said)}."
    return fig, alt, f"Decoded as they are, without a denoiser. Bands: {len(study_seeds(study))} seeds. {again(study)}"


def study_seeds(study: dict) -> list[int]:
    return sorted({r["seed"] for r in study["runs"]})


def by_steps(study: dict) -> Picture:
    """Correct texts, and their variety, over the number of steps for the three networks."""
    fig, axes = plt.subplots(1, 2, figsize=(10, 3.7))
    steps, said = study["settings"]["step_counts"], []
    true = values(rows(study, "alone", given="true texts"), "distinct_2").mean()
    for network, (name, colour, mark, dashes) in NETWORK_LOOK.items():
        for ax, key, scale in ((axes[0], "grammatical", 100), (axes[1], "distinct_2", 1)):
            found = torch.stack(
                [
                    values(rows(study, "generation", network=network, steps=n, variance="large"), key, scale)
                    for n in steps
                ]
            )
            ax.plot(steps, found.mean(1), dashes, marker=mark, color=colour, label=name)
            ax.fill_between(steps, found.amin(1), found.amax(1), color=colour, alpha=0.2, lw=0)
            if key == "grammatical":
                said.append(f"{name}: " + ", ".join(f"{v:.0f} %" for v in found.mean(1).tolist()))
    axes[1].axhline(true, **style_of("exact"))
    axes[1].annotate(
        "true texts", (steps[-1], true), xytext=(-4, 5), textcoords="offset points", ha="right", fontsize=9
    )
    for ax in axes:
        ax.set(xscale="log", xlabel="steps = network calls")
        ax.set_xticks(steps, steps)
        ax.set_xticks([], minor=True)
    axes[0].set(ylabel="correct texts, %", ylim=(0, 100))
    axes[1].set(ylabel="distinct-2", ylim=(0, 1.15 * true))
    axes[0].legend(loc="lower right")
    N, D = study["settings"]["usual"]
    alt = (
        f"Correct texts at {', '.join(map(str, steps))} steps. {'; '.join(said)}. Right: distinct-2 of the same texts."
    )
    caption = f"{N} x {D} latents, {study['settings']['samples']} texts. Bands: {len(study_seeds(study))} seeds."
    return fig, alt, f"{caption} {again(study)}"


def variance_table(study: dict) -> str:
    """The two variances of a step, for the self-conditioned v-network."""
    lines = [f"{'steps':>5s}  {'variance':10s}{'correct, %':>18s}{'distinct-2':>26s}{'nats too usual':>24s}"]
    for steps in study["settings"]["small_step_counts"]:
        for variance in ("large", "small"):
            runs = rows(study, "generation", network="v", steps=steps, variance=variance)
            lines.append(
                f"{steps:5d}  {variance:10s}{span(values(runs, 'grammatical', 100)):>18s}"
                f"{span(values(runs, 'distinct_2'), 3):>26s}{span(values(runs, 'log_prob_gap'), 1):>24s}"
            )
    return "\n".join(lines)


def made_by(study: dict, N: int, D: int) -> list[dict]:
    """The generation rows of a bottleneck at the study's usual number of steps."""
    if [N, D] == study["settings"]["usual"]:
        return rows(study, "generation", network="v", steps=study["settings"]["steps"], variance="large")
    return rows(study, "size", N=N, D_ae=D)


def sizes(study: dict) -> Picture:
    """Reconstruction and generation over the size of the bottleneck: what is right, and how various it is."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.7))
    bottlenecks = sizes_of(study)[:-1]
    numbers = [N * D for N, D in bottlenecks]
    own = [values([r["own"] for r in rows(study, "bottleneck", N=N, D_ae=D)], "exact", 100) for N, D in bottlenecks]
    made = [made_by(study, N, D) for N, D in bottlenecks]
    curves = (
        (left, own, "held-out texts that come back whole", SKY, "s"),
        (left, [values(runs, "grammatical", 100) for runs in made], "sampled texts that are correct", BLUE, "o"),
        (right, [values(runs, "distinct_2") for runs in made], "sampled texts: distinct-2", BLUE, "o"),
    )
    said = []
    for ax, found, name, colour, mark in curves:
        found = torch.stack(found)
        ax.plot(numbers, found.mean(1), mark + "-", color=colour, label=name)
        ax.fill_between(numbers, found.amin(1), found.amax(1), color=colour, alpha=0.25, lw=0)
        said.append(f"{name}: " + ", ".join(f"{v:.3g}" for v in found.mean(1).tolist()))
    true = values(rows(study, "alone", given="true texts"), "distinct_2").mean()
    right.axhline(true, **style_of("exact"))
    right.annotate("true texts", (numbers[0], true), xytext=(0, 5), textcoords="offset points", fontsize=9)
    for ax in (left, right):
        ax.set(xscale="log", xlabel="latents, N x D_ae")
        ax.set_xticks(numbers, [f"{N} x {D}" for N, D in bottlenecks])
        ax.set_xticks([], minor=True)
    left.set(ylabel="%", ylim=(0, 102))
    right.set(ylabel="distinct-2", ylim=(0, 1.15 * true))
    left.legend(loc="upper left")
    alt = f"At {', '.join(f'{N} x {D}' for N, D in bottlenecks)}: {'; '.join(said)}. True texts have {true:.3f}."
    return fig, alt, f"Bands: {len(study_seeds(study))} seeds. {again(study)}"


def uncompressed_table(study: dict) -> str:
    """Generation by size, and in the uncompressed states, at equal steps of training and sampling."""
    lines = [f"{'latents':16s}{'predicts':10s}{'correct, %':>18s}{'distinct-2':>26s}{'spread, nats':>24s}"]
    cells = [(f"{N} x {D}", "v", made_by(study, N, D)) for N, D in sizes_of(study)[:-1]]
    N, D = sizes_of(study)[-1]
    cells += [(f"{N} x {D}, all", kind, rows(study, "uncompressed", kind=kind)) for kind in ("v", "x")]
    cells.append(("true texts", "", rows(study, "alone", given="true texts")))
    for name, kind, runs in cells:
        lines.append(
            f"{name:16s}{kind:10s}{span(values(runs, 'grammatical', 100)):>18s}"
            f"{span(values(runs, 'distinct_2'), 3):>26s}{span(values(runs, 'spread'), 2):>24s}"
        )
    return "\n".join(lines)


def guidance_table(study: dict) -> str:
    """The wanted class, the grammar and the variety by the weight of guidance."""
    lines = [f"{'w':>3s}{'wanted colour, %':>20s}{'correct, %':>18s}{'distinct-2':>26s}{'nats too usual':>24s}"]
    for weight in study["settings"]["weights"]:
        runs = rows(study, "guidance", weight=weight)
        lines.append(
            f"{weight:3.0f}{span(values(runs, 'asked_for', 100)):>20s}{span(values(runs, 'grammatical', 100)):>18s}"
            f"{span(values(runs, 'distinct_2'), 3):>26s}{span(values(runs, 'log_prob_gap'), 1):>24s}"
        )
    return "\n".join(lines)
