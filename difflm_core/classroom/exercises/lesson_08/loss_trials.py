"""Exercise 8.2, its trials: run a student's loss with a spy for a model, and keep what the network was asked.

No way of drawing t or masks is prescribed. A spy records z, t and the logits it gave; from these the loss is
(1 / B L) sum over masked (b, i) of -log p(x_bi) / t_b, whatever the times were.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.classroom.exercises.spies import Spy, seeded

B, L, V = 256, 12, 7
MASK = V


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
