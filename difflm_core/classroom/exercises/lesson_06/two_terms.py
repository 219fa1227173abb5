"""Exercise 6.1: the autoencoder's loss, words and states, averaged over real tokens."""

import torch
import torch.nn.functional as F

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import close, seeded

B, L, D, V = 6, 5, 4, 7
NOISE = seeded(1)
FEATURES = torch.randn(B, L, D, generator=NOISE, dtype=torch.float64)
SEEN = 0.7 * FEATURES + 0.51**0.5 * torch.randn(B, L, D, generator=NOISE, dtype=torch.float64)
H_HAT = torch.randn(B, L, D, generator=NOISE, dtype=torch.float64)
LOGITS = 2 * torch.randn(B, L, V, generator=NOISE, dtype=torch.float64)
IDS = torch.randint(V, (B, L), generator=NOISE)
MASK = torch.arange(L) < torch.tensor([5, 5, 4, 3, 2, 5])[:, None]


def parts() -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy in nats and squared error averaged over the numbers of a state, (B, L) each."""
    return F.cross_entropy(LOGITS.flatten(0, 1), IDS.flatten(), reduction="none").view(B, L), error(FEATURES).mean(-1)


def error(target):
    return (H_HAT - target).square()


def reference(logits, h_hat, ids, features, seen, mask):
    ce = F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view(ids.shape)
    mse = (h_hat - features).square().mean(-1)
    return (ce + mse)[mask].mean()


CE, MSE = parts()
TRUTH = (CE + MSE)[MASK].mean()


def ask(attempt) -> torch.Tensor:
    return torch.as_tensor(attempt(LOGITS.clone(), H_HAT.clone(), IDS.clone(), FEATURES.clone(), SEEN.clone(), MASK))


def test(attempt):
    value = ask(attempt)
    assert value.shape == (), f"Return one number, the mean over real tokens; yours has shape {tuple(value.shape)}."
    assert close(value, TRUTH), f"On this batch the loss is {TRUTH:.4f} nats per token; yours is {float(value):.4f}."


def gives(wrong):
    return lambda attempt: close(ask(attempt), wrong, 1e-6)


PER_BATCH = (CE + MSE).masked_fill(~MASK, 0.0)
MISTAKES = [
    (
        gives((CE + error(SEEN).mean(-1))[MASK].mean()),
        "Your target is what the compressor read, noise and all: then it is rewarded for keeping the noise. The target"
        " is the clean `features`.",
    ),
    (
        gives((CE + error(FEATURES).sum(-1))[MASK].mean()),
        "You sum the squared error over the numbers of a state: then its weight grows with D. Average over them.",
    ),
    (gives((CE + MSE).mean()), "Padding is counted: average over the real tokens only, where `mask` is True."),
    (
        gives(CE[MASK].mean() + MSE.mean()),
        "The cross-entropy leaves padding out, the squared error does not: index both with `mask`.",
    ),
    (
        gives(CE.mean() + MSE[MASK].mean()),
        "The squared error leaves padding out, the cross-entropy does not: index both with `mask`.",
    ),
    (
        gives((CE[MASK] + error(FEATURES).sum(-1).sqrt()[MASK]).mean()),
        "You add the length of the error, its root: the loss has the squared error, averaged over the D numbers.",
    ),
    (
        gives(PER_BATCH.mean()),
        "Padding adds nothing, but you still divide by all B L places. Divide by the real tokens, mask.sum().",
    ),
    (gives(CE[MASK].mean()), "That is the first stage, CE alone: the squared error is missing."),
    (gives(MSE[MASK].mean()), "The words are missing: add the cross-entropy of ids under logits."),
    (gives((MSE - CE)[MASK].mean()), "The sign of the cross-entropy: it is -log p(word), which is positive."),
    (
        gives((PER_BATCH.sum(1) / MASK.sum(1)).mean()),
        "You average inside each text and then over the texts: so the tokens of short texts weigh more. Average over"
        " all real tokens at once.",
    ),
    (gives(PER_BATCH.sum() / B), "You divide by the texts. Per token: long texts must not weigh more than short ones."),
    (lambda f: ask(f).shape == (B, L), "You return one number per place: average them over the real tokens."),
]

ex6_1 = Check(
    "6.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Two numbers per token: -log p of its word, and the squared error of h_hat, averaged over its D numbers.",
        "Which of `features` and `seen` should h_hat be like? One of the two is not needed.",
        "(ce + (h_hat - features).square().mean(-1))[mask].mean()",
    ],
    reference=reference,
    praise="`seen` is not needed: the compressor reads perturbed states, the decompressor answers for the clean ones.",
)
