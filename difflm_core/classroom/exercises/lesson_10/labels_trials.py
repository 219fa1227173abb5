"""Exercise 10.4, its trials: a spy stands in for the denoiser, so that masks and draft can be told apart."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from difflm_core.classroom.exercises.spies import Spy, seeded

B, L, V = 2000, 6, 4  # four words only: a draft is often right by luck
MASK = V
X = torch.randint(V, (B, L), generator=seeded(1))
T = torch.linspace(0.02, 0.98, B)[torch.randperm(B, generator=seeded(2))]
LOGITS = 1.2 * torch.randn(L, V, generator=seeded(3))


@dataclass
class Seen:
    """One call of the student's function, and what the spy saw in it."""

    draft: Int[Tensor, "B L"]
    labels: Tensor
    z: Int[Tensor, "B L"]
    calls: int
    spoiled: bool  # x was written into

    @property
    def masked(self) -> Bool[Tensor, "B L"]:
        return self.z == MASK

    @property
    def wrong(self) -> Bool[Tensor, "B L"]:
        return self.draft != X


def watch(make, seed: int = 0) -> Seen:
    spy = Spy(lambda z: LOGITS.expand(len(z), L, V), V, L)
    given = X.clone()
    out = make(spy, given, T.clone(), MASK, seeded(seed))
    assert isinstance(out, (tuple, list)) and len(out) == 2, "Return two tensors: the draft, and the labels."
    assert spy.asked, "Your function never asks the network: call model(z, t)."
    return Seen(
        torch.as_tensor(out[0]), torch.as_tensor(out[1]), spy.asked[0].z, len(spy.asked), not torch.equal(given, X)
    )


def overmasked(seen: Seen, low: float, high: float) -> float:
    """Share of masked words minus what t says, over the texts with t in [low, high]."""
    rows = (T >= low) & (T <= high)
    return float((seen.masked.double() - T[:, None])[rows].mean())


def one_coin(seen: Seen) -> bool:
    middling = seen.masked[(T > 0.3) & (T < 0.7)]
    by_place = (seen.masked.double() - T[:, None]).mean(0)
    return bool((middling.all(1) | ~middling.any(1)).double().mean() > 0.3 or by_place.abs().max() > 0.2)


def off(seen: Seen, p: Tensor) -> float:
    """How far the drawn words are from p (L, V)."""
    counts = torch.stack([(seen.masked & (seen.draft == v)).sum(0) for v in range(V)], dim=-1).double()
    return float((counts / counts.sum(-1, keepdim=True) - p).abs().max())
