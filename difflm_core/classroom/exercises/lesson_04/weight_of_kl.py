"""Exercise 4.1: a beta read from code, as the weight of KL in the bound."""

import math

from difflm_core.classroom.checks import Check

CASES = [(1e-5, 32, 256), (5e-6, 1, 12), (1e-3, 64, 12)]  # beta, texts in a batch, tokens of a text


def reference(beta: float, B: int, tokens: int) -> float:
    return beta * B * tokens


def test(weight_of_kl):
    for case in CASES:
        value, truth = float(weight_of_kl(*case)), reference(*case)
        assert math.isclose(value, truth, rel_tol=1e-6), (
            f"For beta = {case[0]:g}, {case[1]} texts and {case[2]} tokens KL weighs {truth:.4g} times as much as in"
            f" the bound; yours: {value:.4g}."
        )


def gives(wrong):
    """A probe: the attempt gives what `wrong` gives, in every case."""
    return lambda weight_of_kl: all(math.isclose(float(weight_of_kl(*c)), wrong(*c), rel_tol=1e-6) for c in CASES)


MISTAKES = [
    (
        gives(lambda beta, B, tokens: beta),
        "That is beta as it is written. It multiplies a sum over the batch, but reconstruction is a mean over all"
        " tokens of the batch: the two parts have different units.",
    ),
    (
        gives(lambda beta, B, tokens: beta * B),
        "The texts are right: a sum over the batch is B times a mean. But reconstruction is per *token* as well: in"
        " nats per text it would be `tokens` times larger.",
    ),
    (
        gives(lambda beta, B, tokens: beta * tokens),
        "The tokens are right. But KL is summed over the batch, not averaged: B is missing.",
    ),
    (
        gives(lambda beta, B, tokens: beta / (B * tokens)),
        "Upside down. Multiply their loss by B * tokens: reconstruction is then in nats, summed over the batch, and KL"
        " has the factor that you are looking for.",
    ),
    (gives(lambda beta, B, tokens: beta * tokens / B), "B belongs on the other side: KL is summed over the batch."),
    (gives(lambda beta, B, tokens: beta * B / tokens), "The tokens belong on the other side: their mean makes"
     " reconstruction smaller, so KL weighs more beside it."),
]  # fmt: skip

ex4_1 = Check(
    "4.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Write both parts as sums in nats: reconstruction / (B * tokens) + beta * KL, each summed over the batch.",
        "Multiply the whole loss by B * tokens. A loss may be multiplied by anything without changing its minimum.",
    ],
    reference=reference,
    praise="Whoever doubles the batch doubles this weight, and finds it nowhere in the configuration.",
)
