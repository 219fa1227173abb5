"""Type a sentence, choose a noise, drag t: what is left, and what an ideal reader could still make out.

The ideal reader knows the toy language exactly: it answers with the posterior p(word | noisy sentence), so nothing here
is a network's fault. A sentence that the language cannot produce is read as if some of its words were slips.
"""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import ipywidgets as controls
import torch
from IPython.display import display
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.classroom.choices import choice
from difflm_core.classroom.corruptions import left_over
from difflm_core.classroom.fills import PER_LINE, STYLE, cell
from difflm_core.classroom.lesson import is_static, samples_table
from difflm_core.classroom.sentences import CHANGED, MASKED, RIGHT, WRONG, Sentence, Word, compared, sentence, signed
from difflm_core.classroom.typed import answered, read_sentence
from difflm_core.oracle import EmbeddingEvidence, HiddenMarkovLanguage
from difflm_core.processes import GaussianProcess, Schedule, ShiftedCosine, hybrid, masked, uniform

FOX = "the great brown fox hops over the lazy dog in brown boots"
TYPOS = 1e-2  # how often a word of an impossible sentence is taken for a slip


@dataclass(frozen=True)
class Noise:
    """How a sentence is destroyed, `corrupt(ids, t, generator) -> z_t`; how z_t looks as ids; what it is evidence of,
    for the exact posterior; and q(z_t | x) of one word in words.
    """

    corrupt: Callable[[Int[Tensor, "1 L"], Float[Tensor, "1"], torch.Generator], Tensor]
    nearest: Callable[[Tensor, Float[Tensor, "1"]], Int[Tensor, "1 L"]]
    evidence: object
    marginal: Callable[[Float[Tensor, "1"]], str]


def symbols(process) -> Noise:
    """Masks, random words, or both."""

    def marginal(t):
        kept, hidden, random = (float(mass) for mass in process.masses(t))
        fates = {"is kept": kept, "is hidden": hidden, "becomes a random one": random}
        return "a word " + ", ".join(f"{fate} with {p:.0%}" for fate, p in fates.items() if p)

    return Noise(process.corrupt, lambda z_t, t: z_t, process, marginal)


def vectors(embeddings: Float[Tensor, "V D"], schedule: Schedule) -> Noise:
    """Gaussian noise on word vectors, which are read back as the nearest word."""
    process = GaussianProcess(schedule)

    def nearest(z_t, t):
        signal = process.alpha(t).sqrt().clamp_min(1e-3)[:, None, None]
        return torch.cdist(z_t / signal, embeddings[None]).argmin(-1)

    return Noise(
        lambda ids, t, generator: process.corrupt(embeddings[ids], t, generator),
        nearest,
        EmbeddingEvidence(embeddings, schedule),
        lambda t: (
            f"a vector is shrunk to {float(process.alpha(t).sqrt()):.2f} of itself, and the noise added to each "
            f"of its numbers has the standard deviation {float((1 - process.alpha(t)).sqrt()):.2f}"
        ),
    )


def usual_noises(language: HiddenMarkovLanguage, D: int = 16) -> dict[str, Noise]:
    """Masks, random words, both, and Gaussian noise on random vectors of D numbers."""
    points = torch.randn(language.V, D, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return {
        "mask": symbols(masked(language.V)),
        "random words": symbols(uniform(language.V)),
        "both": symbols(hybrid(language.V, 0.3)),
        "Gaussian": vectors(points, ShiftedCosine(1.0)),
    }


@dataclass(frozen=True)
class Reading:
    """One sentence under one noise: as it looks, the reader's best guesses with their probabilities, and in words what
    the noise does, what is left, and what is restored.
    """

    noisy: Sentence
    guesses: Sentence
    probability: Float[Tensor, "L"]
    marginal: str
    left: str
    restored: str


def read(language: HiddenMarkovLanguage, noise: Noise, x: Int[Tensor, "L"], t: float, seed: int = 0) -> Reading:
    time = torch.tensor([t], dtype=torch.float64)
    z_t = noise.corrupt(x[None], time, torch.Generator().manual_seed(seed))
    # at t = 0 vectors are exact and their evidence infinite: a hair of noise says the same
    p = language.posterior(z_t, time.clamp(1e-3, 1), noise.evidence, TYPOS)[0]
    probability, best = p.max(-1)
    word = language.words.__getitem__
    noisy = compared(noise.nearest(z_t, time)[0], x, word, language.mask_id)
    guesses = [Word(word(int(i)), RIGHT if i == j else WRONG) for i, j in zip(best, x)]
    right = int((best == x).sum())
    restored = f"an ideal reader restores {right} of {len(x)}, and expects {probability.sum():.1f}"
    return Reading(noisy, guesses, probability, noise.marginal(time), left_over(noisy), restored)


def reading_html(title: str, x: Sentence, found: Reading) -> str:
    """The live picture: the sentence, what is left, and what the ideal reader makes of it."""
    looks = {MASKED: "mask", CHANGED: "wrong", RIGHT: "right", WRONG: "wrong"}
    parts = []
    for start in range(0, len(x), PER_LINE):
        place = slice(start, start + PER_LINE)
        rows = {
            "sentence": "".join(cell(word.text, "") for word in x[place]),
            "noisy": "".join(cell(signed(word), looks.get(word.mark, "")) for word in found.noisy[place]),
            "ideal reader": "".join(
                cell(signed(word), looks[word.mark], f"<br><small>{p:.0%}</small>")
                for word, p in zip(found.guesses[place], found.probability[place])
            ),
        }
        parts.append(
            "<table>" + "".join(f'<tr><th scope="row">{name}</th>{row}</tr>' for name, row in rows.items()) + "</table>"
        )
    line = f"{title}: {found.marginal}. Here {found.left}; {found.restored}."
    return f'{STYLE}<div class="difflm-fill"><p role="status">{escape(line)}</p>{"".join(parts)}</div>'


def reader_controls(
    language: HiddenMarkovLanguage, noises: dict[str, Noise], text: str = FOX, seed: int = 0
) -> controls.VBox:
    """The live widget alone: a sentence to type, buttons for the noise, slider t, a number for the draw."""
    box = controls.Text(
        value=text, description="sentence", continuous_update=False, layout=controls.Layout(width="640px")
    )
    menu = choice(list(noises), "noise")
    slider = controls.FloatSlider(
        value=0.5, min=0.0, max=1.0, step=0.02, description="noise t", readout_format=".2f",
        tooltip="noise level t: 0 is the clean sentence, 1 pure noise", layout=controls.Layout(width="420px"),
    )  # fmt: skip
    draw = controls.BoundedIntText(
        value=seed, min=0, max=999, description="draw", tooltip="another number, other noise",
        layout=controls.Layout(width="160px"),
    )  # fmt: skip

    def html() -> str:
        x = read_sentence(box.value, language)
        found = read(language, noises[menu.value], x, slider.value, draw.value)
        return reading_html(
            f"{menu.value}, t = {slider.value:.2f}", sentence(x, language.words.__getitem__, language.V), found
        )

    return answered([box, menu, slider, draw], html)


def reader_explorer(
    language: HiddenMarkovLanguage,
    text: str = FOX,
    noises: dict[str, Noise] | None = None,
    times: tuple[float, ...] = (0.25, 0.5, 0.75),
    seed: int = 0,
) -> None:
    """Your own sentence under each noise, and what could still be read: first a table, then (with a live kernel) a text
    box, buttons and a slider. DIFFLM_STATIC=1 or CI leaves only the table. ValueError as `read_sentence`.
    """
    noises, x = noises or usual_noises(language), read_sentence(text, language)
    rows = []
    for name, noise in noises.items():
        for t in times:
            found = read(language, noise, x, t, seed)
            rows += [(f"{name}, t = {t:.2f}", found.noisy, found.left)]
            rows += [("   ideal reader", found.guesses, found.restored)]
    samples_table(
        rows, title="One sentence under noise, and what an ideal reader makes of it", head=("noise", "sentence", "")
    )
    if is_static():
        print("Run this cell in JupyterLab to type your own sentence.")
    else:
        display(reader_controls(language, noises, text, seed))
