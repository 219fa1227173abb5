"""Exercise 8.2, its usual mistakes: each recognised by the number that it gives, or by what the network was shown."""

import math

import torch
from torch import Tensor

from difflm_core.classroom.exercises.lesson_08.loss_trials import B, L, V, miscalibration, shares_coins, watch


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


def twice(seen):
    """The cross-entropy of probabilities that were taken for logits."""
    return -seen.logp.exp().log_softmax(-1).gather(-1, seen.x[..., None])[..., 0]


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
        shows(lambda seen: miscalibration([seen], 0, 0.5) > 0.35 and miscalibration([seen], 0.5, 1) < -0.35),
        "You mask a token with probability 1 - t. At t = 1 everything is masked: mask where torch.rand(x.shape) < t.",
    ),
    (
        shows(lambda seen: 0.15 < miscalibration([seen], 0, 0.5) < 0.35 and miscalibration([seen], 0.5, 1) < -0.15),
        "The masks do not follow the t that the network is given: t was drawn twice. Draw it once, and use it three"
        " times: for the masks, for the network, for the weight.",
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
        gives(lambda seen: mean_per_row(seen.nll, seen.masked).mean()),
        "You averaged over the masked tokens of each sequence. That is nearly the same as dividing by t, but a sequence"
        " that happens to have no mask counts as 0, and the mean comes out too low: sum, divide by t, and by L.",
    ),
    (
        gives(lambda seen: (twice(seen) * seen.masked / seen.t[:, None]).mean()),
        "F.cross_entropy was given probabilities. It wants the logits and takes the softmax itself; with yours there"
        " are two.",
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
        lambda training_loss: not torch.equal(watch(training_loss).z, watch(training_loss).z),
        "Two runs with the same generator give different masks. Pass generator=generator to every torch.rand.",
    ),
]
