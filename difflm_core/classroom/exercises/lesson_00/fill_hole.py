"""Exercise 0.3: p(x_i | all other words) out of a model that only knows the probabilities of whole sentences."""

import itertools

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import close, seeded

V, L = 4, 3
TABLE = torch.randn(V, V, V, generator=seeded(0), dtype=torch.float64).mul(1.5).flatten().log_softmax(0).view(V, V, V)
HOLES = [(torch.tensor([2, 0, 3]), 0), (torch.tensor([1, 3, 0]), 1), (torch.tensor([3, 2, 2]), 2)]


class Sentences:
    """A model of all V^L sentences, written down; it remembers what it was asked."""

    def __init__(self, offset: float = 0.0):
        self.asked, self.offset = [], offset

    def __call__(self, x: Int[Tensor, "B L"]) -> Float[Tensor, "B"]:
        assert x.ndim == 2 and x.shape[1] == L, f"log_prob wants sentences (B, {L}), it was given {tuple(x.shape)}."
        assert bool(((x >= 0) & (x < V)).all()), f"Word ids must lie in 0..{V - 1}: log_prob reads complete sentences."
        self.asked.append(x.clone())
        return TABLE[x[:, 0], x[:, 1], x[:, 2]] + self.offset


def right(x, i) -> Float[Tensor, "V"]:
    tries = x.repeat(V, 1)
    tries[:, i] = torch.arange(V)
    return Sentences()(tries).softmax(0)


def left_only(x, i) -> Float[Tensor, "V"]:
    """p(x_i | words before it): what an AR model answers."""
    p = TABLE.exp().view([V] * L)
    for place in range(i):
        p = p[x[place]]
    return p.flatten(1).sum(1) / p.sum() if p.ndim > 1 else p / p.sum()


def regardless(x, i) -> Float[Tensor, "V"]:
    p = torch.zeros(V, dtype=torch.float64)
    for word in itertools.product(range(V), repeat=L):
        p[word[i]] += TABLE[word].exp()
    return p


def answer(fill_hole, x, i, offset: float = 0.0):
    return fill_hole(Sentences(offset), x.clone(), i, V)


def spoils_x(fill_hole) -> bool:
    given = HOLES[0][0].clone()
    fill_hole(Sentences(), given, 0, V)
    return not torch.equal(given, HOLES[0][0])


def test(fill_hole):
    for x, i in HOLES:
        p = answer(fill_hole, x, i)
        assert isinstance(p, Tensor) and p.shape == (V,), (
            f"Return a tensor with a probability for each word, shaped {(V,)}."
        )
        p = p.detach()
        assert abs(float(p.sum()) - 1) < 1e-4, f"Probabilities add up to 1, yours to {float(p.sum()):.4f}."
        assert close(p, right(x, i)), (
            f"For place {i} of {x.tolist()} the answer is {[round(v, 3) for v in right(x, i).tolist()]}, yours"
            f" {[round(v, 3) for v in p.tolist()]}."
        )
    assert not spoils_x(fill_hole), "x must stay as it was."
    other = HOLES[0][0].clone()
    other[0] = 0
    assert close(answer(fill_hole, other, 0), right(HOLES[0][0], 0)), "What stood in the hole must not matter."
    assert close(answer(fill_hole, *HOLES[0], offset=-2000.0), right(*HOLES[0])), (
        "For long texts log-probabilities lie far below 0, and exp gives 0/0: softmax subtracts the largest first."
    )


def is_like(wrong):
    """A probe: the attempt gives what `wrong(x, i)` gives, in every hole."""
    return lambda fill_hole: all(close(answer(fill_hole, x, i), wrong(x, i)) for x, i in HOLES)


def scores(x, i):
    tries = x.repeat(V, 1)
    tries[:, i] = torch.arange(V)
    return Sentences()(tries)


MISTAKES = [
    (spoils_x, "Your function writes into x, the caller's sentence. Work on copies: x.repeat(V, 1)."),
    (
        is_like(scores),
        "Those are log-probabilities of sentences. Turn them into probabilities of the word: softmax.",
    ),
    (
        is_like(lambda x, i: scores(x, i).exp()),
        "Those are the probabilities of the V sentences, which do not add up to 1. Given that one of them it is, divide"
        " by their sum.",
    ),
    (
        is_like(lambda x, i: scores(x, i).log_softmax(0)),
        "Those are log-probabilities of the word. Return the probabilities: softmax, not log_softmax.",
    ),
    (
        is_like(lambda x, i: (scores(x, i) / L).softmax(0)),
        "You used the log-probability per word. Bayes' rule needs that of the whole sentence: the sum, not the mean.",
    ),
    (
        is_like(left_only),
        "That uses the words before the hole only, which is the AR model's own answer. Use all others.",
    ),
    (
        is_like(regardless),
        "That is how often the word stands there in any sentence. The other words must be the given ones.",
    ),
    (
        is_like(lambda x, i: torch.full((V,), 1 / V, dtype=torch.float64)),
        "Every word is equally likely in your answer: do your V sentences differ? Put word v into place i of copy v.",
    ),
    (
        lambda fill_hole: not torch.isfinite(answer(fill_hole, *HOLES[0], offset=-2000.0)).all(),
        "For long texts log-probabilities lie far below 0, and exp gives 0/0. Use softmax, which subtracts the largest"
        " first.",
    ),
]


def reference(log_prob, x, i, V):
    tries = x.repeat(V, 1)
    tries[:, i] = torch.arange(V)
    return log_prob(tries).softmax(0)


ex0_3 = Check(
    "0.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Try every word in the hole: V complete sentences, of which the model knows the probabilities.",
        "tries = x.repeat(V, 1) makes V copies; tries[:, i] = torch.arange(V) puts another word into each.",
        "p(x_i = v | rest) is proportional to p(sentence v): log_prob(tries).softmax(0).",
    ],
    reference=reference,
    praise="Exact, for V sentences read. For k holes it would be V^k.",
)
