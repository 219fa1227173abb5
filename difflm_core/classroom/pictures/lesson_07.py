"""The pictures, the widget and the table of lesson 07: matrices, information, the bound's parts, stored runs."""

from collections.abc import Callable
from html import escape

import ipywidgets as controls
import torch
from IPython.display import display
from jaxtyping import Float, Int
from matplotlib import pyplot as plt
from torch import Tensor

from difflm_core.classroom.choices import choice
from difflm_core.classroom.corruptions import corruption_html, left_over
from difflm_core.classroom.fills import Decode
from difflm_core.classroom.lesson import is_static, samples_table
from difflm_core.classroom.pictures.lesson_08 import Picture, again
from difflm_core.classroom.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, label_lines
from difflm_core.classroom.sentences import compared, sentence

NOISE_COLOUR = {"absorbing": BLUE, "uniform": VERMILLION, "nearest neighbour": GREEN, "Gaussian": PURPLE}

# --- the matrices ------------------------------------------------------------------------------------------------


def heat_maps(Q: dict[str, Float[Tensor, "T K K"]], steps: tuple[int, ...], words: list[str]) -> Picture:
    """Cumulative matrices after `steps`, one column of panels for each family; `words` name the states (and a mask)."""
    fig, axes = plt.subplots(len(steps), len(Q), figsize=(10, 0.5 + 2.55 * len(steps)), squeeze=False)
    for place, (column, (name, single)) in enumerate(zip(axes.T, Q.items())):
        product, shown = torch.eye(single.shape[-1], dtype=single.dtype), {}
        for step, matrix in enumerate(single, 1):
            product = product @ matrix
            shown[step] = product
        names = words + ["▢"] * (single.shape[-1] - len(words))
        for ax, step in zip(column, steps):
            image = ax.imshow(shown[step].sqrt().numpy(), cmap="Blues", vmin=0, vmax=1)
            bottom = names if ax is column[-1] else [""] * len(names)
            ax.set_xticks(range(len(names)), bottom, rotation=90, fontsize=7)
            named = place == 0 or len(names) > len(words)  # a mask is one row more than the rest
            ax.set_yticks(range(len(names)), names if named else [""] * len(names), fontsize=7)
            ax.tick_params(length=0)
            ax.grid(False)
            ax.set_title(f"{name}, {step} step{'s' * (step > 1)}", fontsize=10)
    bar = fig.colorbar(image, ax=axes, ticks=[0, 0.1**0.5, 0.5**0.5, 1], shrink=0.5, pad=0.01)
    bar.ax.set_yticklabels(["0", "0.1", "0.5", "1"], fontsize=9)
    alt = (
        f"Heat maps of the cumulative transition matrices after {' and '.join(map(str, steps))} steps. Uniform: a dark"
        " diagonal on an even grey. Absorbing: the diagonal and one dark last column, the mask. Gaussian: a band along"
        " the diagonal that blurs. Nearest neighbour: blocks of words of one kind."
    )
    return fig, alt, "Row: from; column: to; darker: likelier (square-root scale). Every row sums to 1."


def information_left(curves: dict[str, Float[Tensor, "T"]]) -> Picture:
    """I(z_t; x) / H(x) against t for each noise, from t = 0."""
    looks = {
        "absorbing, 1/(T−t+1)": (BLUE, "-"),
        "nearest neighbour, by information": (GREEN, "--"),
        "uniform, cosine": (VERMILLION, "-"),
        "uniform, 1/(T−t+1)": (ORANGE, "-."),
        "Gaussian, 1e-4 to 0.02": (PURPLE, ":"),
    }
    fig, ax = plt.subplots(figsize=(7.6, 3.6))
    said = []
    for name, left in curves.items():
        values = torch.cat([left.new_ones(1), left])
        t = torch.linspace(0, 1, len(values))
        colour, dashes = looks[name]
        ax.plot(t, values, dashes, color=colour, label=name)
        said.append(f"{name} {values[len(left) // 2]:.2f}")
    ax.set(xlabel="t", ylabel="information left, share", title="What a noisy word still says of the word", ylim=(0, 1))
    ax.set_xlim(0, 1)
    ax.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return (
        fig,
        f"Information left against t. Half way: {'; '.join(said)}.",
        "A straight line loses as much in each step.",
    )


# --- the bound ---------------------------------------------------------------------------------------------------


def parts_of_the_bound(parts: dict[str, tuple[float, Float[Tensor, "T"]]], entropy: float) -> Picture:
    """Stacked bars: L_0, then the terms of the steps, then L_T; `parts` maps a name to (L_T, terms from L_0 on)."""
    fig, ax = plt.subplots(figsize=(8.4, 0.9 + 0.62 * len(parts)))
    said = []
    for place, (name, (prior, terms)) in enumerate(parts.items()):
        left = 0.0
        T = len(terms)
        for step, value in enumerate([*terms.tolist(), prior]):
            colour = GREY if step == T else GREEN if step == 0 else plt.cm.Blues(0.25 + 0.6 * step / T)
            ax.barh(place, value, left=left, color=colour, edgecolor="white", lw=0.8, height=0.72)
            label = "$L_T$" if step == T else f"$L_{{{step}}}$"
            if value > 0.045:
                ax.text(left + value / 2, place, label, ha="center", va="center", fontsize=9,
                        color="white" if colour in (GREEN, GREY) or step > T // 2 else "black")  # fmt: skip
            left += value
        ax.text(left + 0.01, place, f"{left:.3f}", va="center", fontsize=10)
        steps = ", ".join(f"{v:.3f}" for v in terms)
        said.append(f"{name}: L_0 and the later terms {steps}; L_T {prior:.3f}; together {left:.3f}")
    ax.axvline(entropy, color=BLACK, ls=":", lw=1.5)
    ax.set_yticks(range(len(parts)), list(parts))
    ax.invert_yaxis()
    ax.set(xlabel="nats per text", title=f"Every part of the bound (dotted: the entropy, {entropy:.3f})")
    ax.set_xlim(0, 1.12 * ax.get_xlim()[1])
    ax.grid(False)
    return fig, ". ".join(said) + ".", "Green: L_0; blue: the steps, later ones darker; grey: L_T."


def gaps(steps: list[int], curves: dict[str, list[float]]) -> Picture:
    """By how much each bound stays above the entropy, against the number of steps (both axes logarithmic)."""
    looks = dict(zip(curves, [(BLUE, "o-"), (GREEN, "s--"), (VERMILLION, "^-"), (ORANGE, "D:")]))
    fig, ax = plt.subplots(figsize=(7.6, 3.6))
    for name, values in curves.items():
        colour, look = looks[name]
        ax.loglog(steps, values, look, color=colour, label=name)
    ax.set_xticks(steps, steps)
    ax.minorticks_off()
    ax.set(xlabel="steps T", ylabel="nats above the entropy", title="A perfect network, four bounds")
    ax.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    said = "; ".join(
        f"{name}: {values[0]:.3f} at T = {steps[0]}, {values[-1]:.4f} at {steps[-1]}" for name, values in curves.items()
    )
    return fig, f"Nats above the entropy against steps. {said}.", "Both axes logarithmic: a straight line down is 1/T."


def tug_of_war(shares: Tensor, found: dict[str, tuple[list[float], list[float]]], entropy: float) -> Picture:
    """Bound and cross-entropy against the power of the own evidence, a panel for each noise."""
    fig, axes = plt.subplots(1, len(found), figsize=(10, 3.6), sharey=True)
    said = []
    for ax, (name, (bound, cross)) in zip(axes, found.items()):
        for values, colour, dashes, label in ((bound, BLUE, "-", "bound"), (cross, ORANGE, "--", "cross-entropy")):
            ax.plot(shares, values, dashes, color=colour, label=label)
            if max(values) - min(values) > 1e-6:
                low = min(range(len(values)), key=values.__getitem__)
                ax.plot(shares[low], values[low], "o", color=colour, ms=7)
                said.append(f"{name}, {label}: smallest at {shares[low]:.2f} ({values[low]:.3f})")
            else:
                said.append(f"{name}, {label}: {values[0]:.3f} everywhere")
        ax.axhline(entropy, color=BLACK, ls=":", lw=1.5)
        ax.set(xlabel="power $g$ of the own evidence", title=f"{name} noise")
        ax.legend()
    axes[0].set_ylabel("nats per text")
    return fig, "; ".join(said) + ".", "Dots: the minima. g = 0: what the others say; g = 1: p(x | z). Dotted: entropy."


def calls_and_mistakes(calls: list[int], broken: dict[str, list[float]]) -> Picture:
    """Broken sentences against network calls."""
    fig, ax = plt.subplots(figsize=(7.2, 3.4))
    for name, values in broken.items():
        ax.plot(calls, [100 * v for v in values], "o-", color=NOISE_COLOUR[name], label=name)
    ax.set(xscale="log", xlabel="network calls", ylabel="broken sentences, %", ylim=(-3, 103))
    ax.set_xticks(calls, calls)
    ax.minorticks_off()
    ax.set_title("The same two networks, with longer and longer jumps")
    ax.legend()
    said = "; ".join(
        name + ": " + ", ".join(f"{100 * v:.0f} % at {c}" for c, v in zip(calls, values))
        for name, values in broken.items()
    )
    return fig, f"Broken sentences against network calls. {said}.", ""


# --- the stored study --------------------------------------------------------------------------------------------

VARIANTS = [  # (noise, whether lambda > 0, own evidence): what the picture calls it
    (("absorbing", False, False), "absorbing"),
    (("absorbing", True, False), "absorbing, λ"),
    (("uniform", False, False), "uniform"),
    (("uniform", True, False), "uniform, λ"),
    (("uniform", True, True), "uniform, λ asked rightly"),
    (("uniform, 1/(T-t+1)", False, False), "uniform, 1/(T−t+1)"),
    (("nearest neighbour", False, False), "nearest neighbour"),
    (("nearest neighbour", True, False), "nearest neighbour, λ"),
]


def runs_of(study: dict, variant: tuple[str, bool, bool]) -> list[dict]:
    """The runs (seeds) of one variant."""
    return [r for r in study["runs"] if (r["noise"], r["lam"] > 0, r["own_evidence"]) == variant]


def mean_bits(study: dict, variant: tuple[str, bool, bool], steps: int | None = None) -> float:
    """Mean over the seeds, by default at all T steps."""
    steps = str(steps or study["settings"]["T"])
    found = [r["bits_by_steps"][steps] for r in runs_of(study, variant)]
    return sum(found) / len(found)


def characters(study: dict) -> Picture:
    """Bits per character: every seed of every variant on the left, the same networks with fewer steps on the right."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9), width_ratios=(1.25, 1))
    settings, said = study["settings"], []
    for place, (variant, name) in enumerate(VARIANTS):
        bits = [r["bits"] for r in runs_of(study, variant)]
        colour = NOISE_COLOUR[variant[0].split(",")[0]]
        face = colour if variant[1] else "white"
        left.plot(bits, [place] * len(bits), "s" if variant[2] else "o", color=colour, mfc=face, ms=7, mew=1.6)
        left.plot([sum(bits) / len(bits)] * 2, [place - 0.3, place + 0.3], color=colour, lw=2)
        said.append(f"{name}: {', '.join(f'{b:.2f}' for b in bits)}")
    left.set_yticks(range(len(VARIANTS)), [name for _, name in VARIANTS])
    left.invert_yaxis()
    left.grid(axis="x", color="#e4e4e4")
    left.set(xlabel="bits per character, all T steps", title="Lower is better; each dot a seed")
    steps = sorted([settings["T"], *settings["fewer_steps"]])
    for variant, name in (VARIANTS[1], VARIANTS[2], VARIANTS[6]):
        bits = [mean_bits(study, variant, T) for T in steps]
        right.plot(steps, bits, "o-", color=NOISE_COLOUR[variant[0]], label=name)
        said.append(f"{name} by steps: " + ", ".join(f"{b:.2f} at {T}" for T, b in zip(steps, bits)))
    right.set(xscale="log", xlabel="steps of the bound", title="Fewer, longer steps (mean)")
    right.set_xticks(steps, steps)
    right.minorticks_off()
    label_lines(right)
    error = max(r["standard_error"] for r in study["runs"])
    caption = f"Filled: with λ = {settings['lambda_times_T'] / settings['T']:g}. Estimates: ± {error:.2f} at most. "
    return fig, ". ".join(said) + ".", caption + again(study)


def character_table(study: dict) -> str:
    """Mean and spread over seeds of every variant, and the difference from the same noise without lambda."""
    lines = [f"{'':26s}{'bits per character, by seed':>30s}{'mean':>8s}{'sd':>7s}   minus λ = 0, by seed"]
    for variant, name in VARIANTS:
        runs = runs_of(study, variant)
        base = {r["seed"]: r["bits"] for r in runs_of(study, (variant[0].split(",")[0], False, False))}
        bits = torch.tensor([r["bits"] for r in runs])
        difference = "  ".join(f"{r['bits'] - base[r['seed']]:+.2f}" for r in runs)
        same = (variant[0], variant[1]) in [(n, False) for n in ("absorbing", "uniform", "nearest neighbour")]
        by_seed = "  ".join(f"{b:.2f}" for b in bits)
        lines.append(f"{name:26s}{by_seed:>30s}{bits.mean():8.2f}{bits.std():7.2f}   {'' if same else difference}")
    return "\n".join(line.rstrip() for line in lines)


# --- the widget --------------------------------------------------------------------------------------------------

Walk = Callable[[Int[Tensor, "L"], torch.Generator], Int[Tensor, "T+1 L"]]  # a whole path of the noise


def chain_controls(
    walks: dict[str, Walk], encode: Callable[[str], Tensor], decode: Decode, mask_id: int, text: str, seed: int = 0
) -> controls.VBox:
    """The live widget alone: a line to type in, a button for each matrix, a slider for the step, and the picture."""
    line = controls.Text(value=text, description="sentence", continuous_update=False,
                         layout=controls.Layout(width="640px"))  # fmt: skip
    menu = choice(list(walks), "matrix")
    T = len(next(iter(walks.values()))(encode(text), torch.Generator().manual_seed(seed))) - 1
    slider = controls.IntSlider(value=min(5, T), min=0, max=T, description="step",
                                tooltip="step 0 is the clean sentence, the last step pure noise",
                                layout=controls.Layout(width="420px"))  # fmt: skip
    redraw = controls.Button(description="other noise", tooltip="draw the noise anew")
    picture, noise = controls.HTML(), {"seed": seed}

    def draw(_=None) -> None:
        picture.value = chain_html(walks[menu.value], encode, decode, mask_id, line.value, menu.value, slider.value,
                                   noise["seed"])  # fmt: skip

    def new_noise(_) -> None:
        noise["seed"] += 1
        draw()

    for control in (line, menu, slider):
        control.observe(draw, "value")
    redraw.on_click(new_noise)
    draw()
    return controls.VBox([line, menu, controls.HBox([slider, redraw]), picture])


def chain_html(walk: Walk, encode, decode: Decode, mask_id: int, text: str, name: str, step: int, seed: int) -> str:
    """The sentence and what is left of it after `step` steps, or one line that says which word is not known."""
    try:
        x = encode(text)
        if not len(x) or bool((x == mask_id).any()):
            raise ValueError("Type at least one word, and no mask: masks come from the noise.")
    except ValueError as error:
        return f'<p role="alert">{escape(str(error))}</p>'
    path = walk(x, torch.Generator().manual_seed(seed))
    noisy = compared(path[step], x, decode, mask_id)
    return corruption_html(name, step / (len(path) - 1), sentence(x, decode, mask_id), noisy)


def chain_explorer(
    walks: dict[str, Walk],
    encode: Callable[[str], Tensor],
    decode: Decode,
    mask_id: int,
    text: str,
    steps: tuple[int, ...],
    seed: int = 0,
) -> None:
    """A sentence of the reader's own on its way through several chains: first a table, then (with a live kernel) a line
    to type in, a matrix to choose and a slider for the step.

    `walks` maps the name of a matrix to `walk(ids (L,), generator) -> (T + 1, L)`; `encode` turns a text into ids and
    raises ValueError for unknown words. `steps` are the rows of the table; DIFFLM_STATIC=1 or CI leaves only the table.
    """
    x, rows = encode(text), []
    for name, walk in walks.items():
        path = walk(x, torch.Generator().manual_seed(seed))
        for step in steps:
            words = compared(path[step], x, decode, mask_id)
            rows.append((f"{name}, step {step}", words, left_over(words)))
    samples_table(rows, title="One sentence in the chains of " + ", ".join(walks), head=("matrix", "sentence", "left"))
    if is_static():
        print("Run this cell in JupyterLab to type a sentence, choose a matrix and move the step yourself.")
    else:
        display(chain_controls(walks, encode, decode, mask_id, text, seed))
