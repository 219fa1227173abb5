"""Exercise 0.1: the perplexity of a text, from the probabilities of its words."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import close

TEXTS = (
    torch.tensor([0.25, 0.25, 0.25, 0.25], dtype=torch.float64),
    torch.tensor([0.5, 0.125, 0.9], dtype=torch.float64),
    torch.tensor([0.02, 1.0, 0.3, 0.7, 0.05, 0.6], dtype=torch.float64),
)


def right(p):
    return (-p.log()).mean().exp()


def value(perplexity, p) -> torch.Tensor:
    return torch.as_tensor(perplexity(p.clone()), dtype=torch.float64)


def test(perplexity):
    for p in TEXTS:
        found = value(perplexity, p)
        assert found.ndim == 0, f"Return one number, not something shaped {tuple(found.shape)}."
        assert close(found, right(p)), (
            f"For the probabilities {[round(v, 3) for v in p.tolist()]} the perplexity is {right(p):.3f}; yours is"
            f" {float(found):.3f}."
        )


def is_like(wrong):
    """A probe: the attempt gives what `wrong` gives, for every text."""
    return lambda perplexity: all(close(value(perplexity, p), torch.as_tensor(wrong(p))) for p in TEXTS)


MISTAKES = [
    (
        lambda perplexity: value(perplexity, TEXTS[1]).shape == TEXTS[1].shape,
        "One perplexity for each word: average the nats over the words first, then take exp.",
    ),
    (
        is_like(lambda p: (-p.log()).mean()),
        "Those are the nats per word. The perplexity is their exponential: as unsure as between so many options.",
    ),
    (
        is_like(lambda p: (-p.log()).sum().exp()),
        "You took the nats of the whole text. Perplexity is per word: the mean, not the sum.",
    ),
    (
        is_like(lambda p: p.log().mean().exp()),
        "That is the typical probability of a word, a number below 1. The sign: a cost is *minus* the logarithm.",
    ),
    (
        is_like(lambda p: 1 / p.mean()),
        "You averaged the probabilities. The probability of a text is a product, so it is their logarithms that are"
        " averaged.",
    ),
    (
        is_like(lambda p: (1 / p).mean()),
        "You averaged 1/p. A single word with a tiny p would rule the result: average the logarithms instead.",
    ),
    (
        is_like(lambda p: (-(p * p.log()).sum()).exp()),
        "That is the formula of an entropy, in which every option is weighted with its own probability. Here the words"
        " have come already: each counts once.",
    ),
    (
        is_like(lambda p: 2 ** (-p.log()).mean()),
        "Nats and the base 2 do not go together: with natural logarithms the perplexity is exp of the mean.",
    ),
    (
        is_like(lambda p: (-p.log2()).mean().exp()),
        "Bits and exp do not go together: take the natural logarithm, or 2 to the power of the mean bits.",
    ),
]

ex0_1 = Check(
    "0.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Three steps: the cost of each word in nats, their mean, and the exponential of that.",
        "The cost of a word is -p.log().",
        "(-p.log()).mean().exp()",
    ],
    reference=right,
    praise="As unsure as somebody who chooses between so many equal options at every word.",
)
