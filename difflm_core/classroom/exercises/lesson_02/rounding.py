"""Exercise 2.2: the rounding term, -log p(w | x_0), judged against the softmax over the words."""

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

V, B, L, D = 7, 2, 5, 3
EMBEDDING = torch.randn(V, D, generator=seeded(1), dtype=torch.float64)
BIAS = torch.randn(V, generator=seeded(2), dtype=torch.float64)
W = torch.randint(V, (B, L), generator=seeded(3))
X_0 = EMBEDDING[W] + 0.3 * torch.randn(B, L, D, generator=seeded(4), dtype=torch.float64)


def scores(x_0=X_0, embedding=EMBEDDING, bias=BIAS) -> Float[Tensor, "B L V"]:
    return x_0 @ embedding.T + bias


def at_words(table: Float[Tensor, "B L V"], w=W) -> Float[Tensor, "B L"]:
    return table.gather(-1, w[..., None])[..., 0]


def reference(x_0, embedding, bias, w):
    return -at_words(scores(x_0, embedding, bias).log_softmax(-1), w)


TRUTH = reference(X_0, EMBEDDING, BIAS, W)


def ask(attempt) -> Tensor:
    return torch.as_tensor(attempt(X_0.clone(), EMBEDDING.clone(), BIAS.clone(), W.clone())).double()


def test(attempt):
    value = ask(attempt)
    assert value.shape == (B, L), f"Return one number per word, shaped {(B, L)}, not {tuple(value.shape)}."
    assert torch.allclose(value, TRUTH, rtol=1e-5), (
        f"The first word costs {TRUTH[0, 0]:.4f} nats; yours: {value[0, 0]:.4f}."
    )


def gives(wrong: Tensor):
    return lambda attempt: ask(attempt).shape == wrong.shape and torch.allclose(ask(attempt), wrong, rtol=1e-5)


SQUARED = -0.5 * torch.cdist(X_0, EMBEDDING.expand(B, V, D)).square()

MISTAKES = [
    (
        gives(TRUTH.mean()),
        "That is the mean over all words. Return one number per word, (B, L): the loss adds them up.",
    ),
    (gives(-TRUTH), "The sign: log p is negative, a loss is -log p."),
    (gives(at_words(scores().softmax(-1))), "That is p(w | x_0) itself. The loss is minus its logarithm, in nats."),
    (
        gives(-at_words(scores())),
        "Scores are not log-probabilities yet: subtract their log-sum-exp over the V words (log_softmax).",
    ),
    (
        gives(-at_words(scores().softmax(-1).log_softmax(-1))),
        "You took softmax twice. log_softmax and cross_entropy want the scores themselves.",
    ),
    (
        gives(-at_words(scores(bias=0 * BIAS).log_softmax(-1))),
        "The bias is missing: the released code ties the weights to the embeddings and adds one bias per word.",
    ),
    (
        gives(-at_words(scores().log_softmax(1))),
        "You normalise over the positions (dim=1). p(w | x_0) sums to 1 over the words, the last dimension.",
    ),
    (
        gives(-at_words((SQUARED + BIAS).log_softmax(-1))),
        "You score by distance. Diffusion-LM scores by inner product, x_0 @ embedding.T: a softmax layer whose weights"
        " are the embeddings.",
    ),
    (
        gives(-at_words(SQUARED.log_softmax(-1))),
        "You score by distance. Diffusion-LM scores by inner product plus bias, x_0 @ embedding.T + bias.",
    ),
    (
        gives(reference(EMBEDDING[W], EMBEDDING, BIAS, W)),
        "You round the embeddings without their noise. The bound takes x_0, drawn around Emb(w): it is an average over"
        " q(x_0 | w).",
    ),
]

ex2_2 = Check(
    "2.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "A softmax layer whose weights are the embeddings: scores = x_0 @ embedding.T + bias, shaped (B, L, V).",
        "log_softmax over the last dimension; then pick each word's entry with gather.",
        "-(x_0 @ embedding.T + bias).log_softmax(-1).gather(-1, w[..., None])[..., 0]",
    ],
    reference=reference,
    praise="No network in it: this term trains embeddings only, and is the one that keeps words apart.",
)
