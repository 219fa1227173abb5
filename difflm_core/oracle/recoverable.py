"""How many words can still be read from noisy embeddings? "These steps are useless", computed instead of drawn.

A word is worth denoising only while it is in doubt. Near t = 0 the noise may be so weak that every word can be read
off, and a step there teaches nothing; near t = 1 nothing is left to read. How much of [0, 1] lies in between is the
schedule's doing. With the toy language no network is needed to find out: the best possible guess at a word is the
largest entry of its exact posterior, and it is right with just that probability.

Two readers are compared: one sees a single noisy vector and knows what usually stands at its position, the other sees
the whole noisy text and knows the grammar. Only alpha matters, not t: a schedule runs through one and the same curve
with its own clock.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.oracle.evidence import EmbeddingEvidence
from difflm_core.oracle.hmm import HiddenMarkovLanguage
from difflm_core.processes.gaussian import GaussianProcess
from difflm_core.processes.schedules import Schedule


class Recoverable(NamedTuple):
    """Shares of words in [0, 1] that the best guess gets right at each time, with standard errors over the texts."""

    alone: Float[Tensor, "T"]
    alone_error: Float[Tensor, "T"]
    context: Float[Tensor, "T"]
    context_error: Float[Tensor, "T"]


def recoverable(
    language: HiddenMarkovLanguage,
    embeddings: Float[Tensor, "V D"],
    schedule: Schedule,
    times: Float[Tensor, "T"],
    texts: int = 256,
    generator: torch.Generator | None = None,
) -> Recoverable:
    """Expected share of words that can be recovered from z_t, for each of the `times`.

    `texts` sentences with one draw of noise each serve all times, so that a curve has no jitter of its own. Averaged is
    the posterior probability of the best guess, not whether it happens to be right: the same mean, less noise. Raises
    ValueError if the embeddings are not one vector per word, or at a time without noise (alpha_t = 1).
    """
    check_embeddings(embeddings, language.V)
    if texts < 2:
        raise ValueError(f"A standard error needs at least 2 texts, got {texts}.")
    embeddings = embeddings.detach().double().cpu()
    x = language.sample(texts, generator=generator)
    noise = torch.randn(*x.shape, embeddings.shape[1], generator=generator, dtype=torch.float64)
    process, evidence = GaussianProcess(schedule), EmbeddingEvidence(embeddings, schedule)
    alone, context = [], []
    for time in times.double().cpu():
        t = time.expand(texts)
        signal, level = process.levels(t, noise)
        z_t = signal * embeddings[x] + level * noise
        alone.append(read_alone(language, z_t, t, evidence).amax(-1).mean(-1))
        context.append(language.posterior(z_t, t, evidence).amax(-1).mean(-1))
    alone, context = torch.stack(alone), torch.stack(context)  # (T, texts)
    root = texts**0.5
    return Recoverable(alone.mean(-1), alone.std(-1) / root, context.mean(-1), context.std(-1) / root)


def read_alone(
    language: HiddenMarkovLanguage, z_t: Float[Tensor, "B L D"], t: Float[Tensor, "B"], evidence: EmbeddingEvidence
) -> Float[Tensor, "B L V"]:
    """p(x_i = v | z_i): Bayes' rule with the usual words of position i as prior, and no look at the neighbours."""
    usual = language.positional_marginals(z_t.shape[1]).log()
    return torch.softmax(usual + evidence.log_evidence(z_t, t), dim=-1)


def guessed_blind(language: HiddenMarkovLanguage, L: int | None = None) -> float:
    """Share of words guessed right with nothing to see: where both curves end."""
    return language.positional_marginals(L).amax(-1).mean().item()


class UselessSteps(NamedTuple):
    """Shares of [0, 1] at whose times there is nothing to learn: everything can be read, or nothing can."""

    too_easy: float
    too_noisy: float


def useless_steps(
    times: Float[Tensor, "T"], share: Float[Tensor, "T"], blind: float, tolerance: float = 0.02
) -> UselessSteps:
    """How much of [0, 1] a schedule spends where more than 1 - tolerance of the words can be read, and where fewer than
    blind + tolerance can.

    `times` rise, `share` is a curve of `recoverable` and is taken as straight between them, and as 1 at t = 0.
    """
    if bool((times.diff() <= 0).any()) or times[0] < 0 or times[-1] > 1:
        raise ValueError("The times must rise and lie in [0, 1].")
    start = torch.zeros(1, dtype=torch.float64)
    times, share = torch.cat([start, times.double().cpu()]), torch.cat([start + 1, share.double().cpu()])
    return UselessSteps(crossing(times, share, 1 - tolerance), 1 - crossing(times, share, blind + tolerance))


def crossing(times: Float[Tensor, "T"], share: Float[Tensor, "T"], level: float) -> float:
    """The time at which a falling curve passes the level; 1 if it never does."""
    below = (share < level).nonzero().flatten()
    if len(below) == 0:
        return 1.0
    i = int(below[0])
    fraction = (share[i - 1] - level) / (share[i - 1] - share[i])
    return (times[i - 1] + fraction * (times[i] - times[i - 1])).item()


def check_embeddings(embeddings: Tensor, V: int) -> None:
    if embeddings.ndim != 2 or len(embeddings) != V:
        raise ValueError(
            f"embeddings has shape {tuple(embeddings.shape)} but must be ({V}, D): one vector for each word of the "
            "language."
        )
