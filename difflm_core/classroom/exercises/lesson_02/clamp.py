"""Exercise 2.3: the clamping trick, each predicted vector replaced by the nearest embedding."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

V, B, L, D = 9, 40, 5, 3
LENGTHS = torch.linspace(0.5, 3.0, V, dtype=torch.float64)[:, None]  # of different lengths, so that scores mislead
EMBEDDING = LENGTHS * torch.nn.functional.normalize(torch.randn(V, D, generator=seeded(1), dtype=torch.float64), dim=-1)
X_HAT = 1.5 * torch.randn(B, L, D, generator=seeded(2), dtype=torch.float64)
DISTANCE = (X_HAT[:, :, None] - EMBEDDING).norm(dim=-1)  # (B, L, V)


def reference(x_hat, embedding):
    return embedding[torch.cdist(x_hat, embedding.expand(len(x_hat), *embedding.shape)).argmin(-1)]


TRUTH = EMBEDDING[DISTANCE.argmin(-1)]


def ask(attempt):
    return torch.as_tensor(attempt(X_HAT.clone(), EMBEDDING.clone()))


def test(attempt):
    value = ask(attempt)
    assert value.shape == X_HAT.shape, f"Return vectors shaped {tuple(X_HAT.shape)}, not {tuple(value.shape)}."
    off = (value.double() - TRUTH).abs().amax(-1) > 1e-6
    assert not bool(off.any()), f"{int(off.sum())} of {off.numel()} vectors are not the nearest embedding."
    assert not writes(attempt), "x_hat must stay as it was."


def writes(attempt) -> bool:
    given = X_HAT.clone()
    attempt(given, EMBEDDING.clone())
    return not torch.equal(given, X_HAT)


def gives(wrong):
    return lambda attempt: ask(attempt).shape == wrong.shape and torch.allclose(ask(attempt).double(), wrong, atol=1e-6)


SCORE = X_HAT @ EMBEDDING.T
COSINE = SCORE / EMBEDDING.norm(dim=-1)

MISTAKES = [
    (
        lambda f: ask(f).shape == (B, L) and not ask(f).is_floating_point(),
        "You return the numbers of the words. The next step needs vectors: embedding[ids].",
    ),
    (
        gives(EMBEDDING[SCORE.argmax(-1)]),
        "The largest inner product is not the nearest: long embeddings win. Compare distances: |x_hat - e|^2 ="
        " |x_hat|^2 - 2 x_hat e + |e|^2, and you left |e|^2 out.",
    ),
    (
        gives(EMBEDDING[COSINE.argmax(-1)]),
        "You compare directions (cosine). Embeddings differ in length as well: take the Euclidean distance.",
    ),
    (
        gives(DISTANCE.amin(-1)),
        "You return the distances. Take the embeddings that stand at them: argmin, then embedding[ids].",
    ),
    (gives(EMBEDDING[DISTANCE.argmax(-1)]), "That is the farthest embedding: argmin, not argmax."),
    (
        gives((-DISTANCE).softmax(-1) @ EMBEDDING),
        "A weighted mean of embeddings is no embedding. Clamping decides: one word per place.",
    ),
    (
        gives(SCORE.softmax(-1) @ EMBEDDING),
        "A weighted mean of embeddings is no embedding. Clamping decides: one word per place.",
    ),
    (gives(X_HAT), "Nothing is changed. Each vector is to be replaced by an embedding."),
    (
        lambda f: writes(f) and torch.equal(ask(f), TRUTH),
        "Right, but it writes into x_hat, the caller's tensor: return a new one.",
    ),
]

ex2_3 = Check(
    "2.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Distances of every predicted vector to every embedding, then argmin over the words.",
        "torch.cdist(x_hat, embedding) gives (B, L, V) for (B, L, D) and (V, D).",
        "embedding[torch.cdist(x_hat, embedding).argmin(-1)]",
    ],
    reference=reference,
    praise="The network is made to commit to a word at every step.",
)
