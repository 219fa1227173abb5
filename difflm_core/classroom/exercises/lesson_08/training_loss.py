"""Exercise 8.2: the training loss, judged by what the network is asked and by what follows from its answers."""

import torch
import torch.nn.functional as F
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.lesson_08.loss_mistakes import MISTAKES
from difflm_core.classroom.exercises.lesson_08.loss_trials import miscalibration, shares_coins, watch

SEEDS = range(5)


def test(training_loss):
    runs = [watch(training_loss, seed) for seed in SEEDS]
    for seen in runs:
        assert not seen.spoiled, "Your function wrote into x."
        assert isinstance(seen.loss, Tensor) and seen.loss.requires_grad, "The loss must be a tensor to differentiate."
        assert seen.loss.ndim == 0, f"The loss must be one number, and is shaped {tuple(seen.loss.shape)}."
        assert bool((seen.masked | (seen.z == seen.x)).all()), "A token of z must be the token of x or the mask."
        assert len(seen.t.unique()) > 3, "The sequences of the batch must have times of their own."
    check_times_and_masks(runs)
    assert torch.equal(runs[0].z, watch(training_loss, SEEDS[0]).z), "The same generator must give the same masks."
    right = [float(seen.weighted.mean()) for seen in runs]
    off = sorted((abs(seen.value / truth - 1), seen.value, truth) for seen, truth in zip(runs, right))
    worst, value, truth = off[len(off) // 2]  # the median forgives a run with a very small t
    assert worst < 0.03, f"For your own t and masks the loss is {truth:.4f}, yours is {value:.4f}."


def check_times_and_masks(runs):
    t = torch.cat([seen.t for seen in runs]).sort().values
    even = (torch.arange(len(t)) + 0.5) / len(t)
    assert bool(((t > 0) & (t <= 1)).all()) and float((t - even).abs().max()) < 0.15, "t must be uniform in (0, 1)."
    assert abs(miscalibration(runs, 0, 0.5)) < 0.05 and abs(miscalibration(runs, 0.5, 1)) < 0.05, (
        "A token of a sequence with time t must be masked with probability t."
    )
    assert not any(shares_coins(seen) for seen in runs), "Every token needs a coin of its own."


def reference(model, x, mask_id, generator=None):
    t = 1 - torch.rand(len(x), generator=generator)  # (B,), in (0, 1]: 1/t stays finite
    masked = torch.rand(x.shape, generator=generator) < t[:, None]  # (B, L)
    logits = model(torch.where(masked, mask_id, x), t)  # (B, L, V)
    nats = F.cross_entropy(logits.transpose(1, 2), x, reduction="none")  # (B, L)
    return (masked * nats / t[:, None]).mean()


ex8_2 = Check(
    "8.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Four steps: t of shape (B,); z, where each token is masked with probability t; logits = model(z, t); the"
        " cross-entropy of x.",
        "F.cross_entropy(logits.transpose(1, 2), x, reduction='none') gives (B, L). Keep it where z is masked.",
        "Divide by t[:, None] and take the mean over all B * L tokens, visible ones included as zeros.",
    ],
    reference=reference,
    praise="A cross-entropy on the masked tokens, each divided by t, averaged over all tokens: a bound in nats.",
)
