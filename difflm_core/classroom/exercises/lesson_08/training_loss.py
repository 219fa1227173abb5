"""Exercise 8.2: the training loss, judged by what the network is asked and by the value that follows from its answers.

No way of drawing t or masks is prescribed. A spy records z, t and the logits it gave; from these the loss is
(1 / B L) sum over masked (b, i) of -log p(x_bi) / t_b, whatever the times were. The recorded times and masks must look
like uniform t and like masks of probability t.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import Spy, seeded

B, L, V = 256, 12, 7
MASK = V
SEEDS = range(5)


@dataclass
class Seen:
    """One call of the student's function on a batch x, and what the spy saw in it."""

    x: Int[Tensor, "B L"]
    z: Int[Tensor, "B L"]
    t: Float[Tensor, "B"]
    logp: Float[Tensor, "B L outputs"]
    loss: Tensor
    spoiled: bool  # x was written into

    @property
    def masked(self) -> Bool[Tensor, "B L"]:
        return self.z == MASK

    @property
    def nll(self) -> Float[Tensor, "B L"]:
        return self.nll_of(self.x)

    def nll_of(self, target: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        return -self.logp.gather(-1, target[..., None])[..., 0]

    @property
    def value(self) -> float:
        return float(self.loss.detach())

    @property
    def weighted(self) -> Float[Tensor, "B L"]:
        return self.nll * self.masked / self.t[:, None]


def watch(training_loss, seed: int = 0, outputs: int = V) -> Seen:
    """Run the attempt once. With outputs = V + 1 the spy has an answer also for the mask as a target."""
    x = torch.randint(V, (B, L), generator=seeded(seed))
    table = (1.5 * torch.randn(L, outputs, generator=seeded(100 + seed))).requires_grad_()

    def answer(z):
        """Surer the more it sees, and surest at what it sees: so no wrong weighting or average is right by luck."""
        visible = (z != MASK).float()
        return table * (0.5 + visible.mean(1, keepdim=True) + 2 * visible)[..., None]

    spy = Spy(answer, V, L)
    given = x.clone()
    loss = training_loss(spy, given, MASK, seeded(200 + seed))
    assert spy.asked, "Your loss never asks the network: call model(z, t)."
    z, t, logits = spy.asked[-1]
    assert z.shape == x.shape, f"The network must be given z shaped like x, {(B, L)}: got {tuple(z.shape)}."
    assert isinstance(t, Tensor) and t.numel() in (1, B), f"Call model(z, t) with one time per sequence, shaped {(B,)}."
    logp = logits.detach().double().log_softmax(-1)
    return Seen(x, z, t.flatten().expand(B).double(), logp, loss, not torch.equal(given, x))


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
    ratios = sorted(seen.value / float(seen.weighted.mean()) for seen in runs)
    ratio = ratios[len(ratios) // 2]  # the median forgives a run with a very small t
    assert abs(ratio - 1) < 0.03, f"With your own t and masks the loss should be {1 / ratio:.3f} times what you return."


def check_times_and_masks(runs):
    t = torch.cat([seen.t for seen in runs]).sort().values
    even = (torch.arange(len(t)) + 0.5) / len(t)
    assert bool(((t > 0) & (t <= 1)).all()) and float((t - even).abs().max()) < 0.15, "t must be uniform in (0, 1)."
    assert abs(miscalibration(runs, 0, 0.5)) < 0.05 and abs(miscalibration(runs, 0.5, 1)) < 0.05, (
        "A token of a sequence with time t must be masked with probability t."
    )
    assert not any(shares_coins(seen) for seen in runs), "Every token needs a coin of its own."


def miscalibration(runs, low, high) -> float:
    """Share of masked tokens minus what t says, over the sequences with t in [low, high]."""
    off = torch.cat([(seen.masked.double() - seen.t[:, None])[(low <= seen.t) & (seen.t <= high)] for seen in runs])
    return float(off.mean())


def shares_coins(seen: Seen) -> bool:
    """Whole rows masked or visible at middling t, or positions that are masked together in all rows."""
    middling = seen.masked[(seen.t > 0.2) & (seen.t < 0.8)]
    whole = middling.all(1) | ~middling.any(1)
    by_position = (seen.masked.double() - seen.t[:, None]).mean(0)
    return bool(whole.double().mean() > 0.3 or by_position.abs().max() > 0.2)


def gives(wrong, outputs: int = V):
    """A probe: the attempt returns the number wrong(seen), up to 2 %, in two of three runs."""

    def probe(training_loss):
        runs = [watch(training_loss, seed, outputs) for seed in range(3)]
        return sum(math.isclose(seen.value, float(wrong(seen)), rel_tol=0.02) for seen in runs) >= 2

    return probe


def shows(fact, outputs: int = V):
    """A probe: fact(seen) is true of a run."""
    return lambda training_loss: bool(fact(watch(training_loss, 0, outputs)))


def mean_per_row(nll, masked):
    return (nll * masked).sum(1) / masked.sum(1).clamp_min(1)


MISTAKES = [
    (
        shows(lambda seen: torch.equal(seen.z, seen.x) and not seen.spoiled),
        "The target leaks: the network is given x itself, where it can read the answer. Give it z, the masked text.",
    ),
    (
        shows(lambda seen: seen.spoiled, outputs=V + 1),
        "Your function writes into x, which is also the target (and the caller's data). Make z a new tensor, for"
        " example with torch.where(is_masked, mask_id, x).",
    ),
    (
        shows(lambda seen: len(seen.t.unique()) == 1),
        "One t for the whole batch. Every sequence needs its own, torch.rand(B): the average is still right, but a"
        " batch then looks at one noise level only and its gradient is far noisier.",
    ),
    (
        shows(lambda seen: not isinstance(seen.loss, Tensor) or not seen.loss.requires_grad),
        "Your loss cannot be differentiated: do not use .item(), .detach() or torch.no_grad() on the way.",
    ),
    (
        shows(lambda seen: seen.loss.ndim > 0),
        "The loss must be one number: average over all B * L tokens at the end.",
    ),
    (
        shows(lambda seen: seen.loss.isnan()),
        "The loss is NaN: something divides 0 by 0. A sequence can have no masked token at all, so do not divide by"
        " their number.",
    ),
    (
        shows(shares_coins),
        "One coin decides for many tokens at once. Every token needs its own: compare torch.rand(x.shape) with"
        " t[:, None].",
    ),
    (
        gives(lambda seen: -seen.weighted.mean()),
        "The sign is wrong: the loss is minus the logarithm of the probability of x.",
    ),
    (
        gives(lambda seen: (seen.nll * seen.masked).mean()),
        "The weight 1/t is missing. Without it sequences with many masks, where little can be known, rule the loss, and"
        " it is no bound on -log p(x).",
    ),
    (
        gives(lambda seen: (seen.nll * seen.masked * seen.t[:, None]).mean()),
        "You multiplied by t. The weight is 1/t: the fewer masks, the more each of them counts.",
    ),
    (
        gives(lambda seen: (seen.nll * seen.masked / (1 - seen.t[:, None])).mean()),
        "You divided by 1 - t, the share of visible tokens. Divide by t, the share of masked ones.",
    ),
    (
        gives(lambda seen: seen.weighted.sum() / seen.masked.sum()),
        "You averaged over the masked tokens instead of all tokens. 1/t already makes up for the visible ones: divide"
        " by B * L.",
    ),
    (
        gives(lambda seen: (seen.nll * seen.masked).sum() / seen.masked.sum()),
        "You averaged over the masked tokens of the whole batch instead of all tokens, and without 1/t. That is the"
        " loss of a masked language model such as BERT, not a bound: weight by 1/t and divide by B * L.",
    ),
    (
        gives(lambda seen: mean_per_row(seen.nll / seen.t[:, None], seen.masked).mean()),
        "You averaged over the masked tokens of each sequence and also divided by t, which corrects for them twice:"
        " sum, divide by t, and by L.",
    ),
    (
        gives(lambda seen: (seen.nll / seen.t[:, None]).mean()),
        "Visible tokens are counted in the loss. They cost nothing in this bound (they are copied, not predicted): keep"
        " the masked ones only.",
    ),
    (
        gives(lambda seen: seen.nll.mean()),
        "Visible tokens are counted in the loss, and the weight 1/t is missing: keep the masked tokens only and divide"
        " each by its t.",
    ),
    (
        gives(lambda seen: (seen.nll * ~seen.masked / seen.t[:, None]).mean()),
        "The loss sits on the visible tokens, which the network can read off, instead of the masked ones.",
    ),
    (
        gives(lambda seen: (seen.nll_of(seen.z) * seen.masked / seen.t[:, None]).mean(), outputs=V + 1),
        "The target is z, so the network would learn to say [MASK], for which it has no output. The target is x.",
    ),
    (
        gives(lambda seen: seen.weighted.sum()),
        "You summed where a mean is asked: divide by the number of tokens, B * L.",
    ),
    (
        gives(lambda seen: seen.weighted.mean() * L),
        "You summed over the length: that is nats per sequence. Divide by L as well for nats per token.",
    ),
    (
        gives(lambda seen: seen.weighted.mean() * B),
        "You summed over the batch: divide by B as well, or the loss depends on the batch size.",
    ),
    (
        gives(lambda seen: seen.weighted.mean() / math.log(2)),
        "That is in bits. This course counts in nats: use the natural logarithm.",
    ),
    (
        shows(lambda seen: miscalibration([seen], 0, 0.5) > 0.2 and miscalibration([seen], 0.5, 1) < -0.2),
        "You mask a token with probability 1 - t. At t = 1 everything is masked: mask where torch.rand(x.shape) < t.",
    ),
    (
        lambda training_loss: not torch.equal(watch(training_loss).z, watch(training_loss).z),
        "Two runs with the same generator give different masks. Pass generator=generator to every torch.rand.",
    ),
]


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
