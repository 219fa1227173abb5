"""Exercise 8.3, its trials: thousands of tokens whose distribution after the step is known."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.classroom.exercises.spies import seeded

B, L, V = 1500, 6, 5
MASK = V
S, T = 0.1, 0.4  # (t - s)/t = 0.75, t - s = 0.3, s/t = 0.25, 1 - s = 0.9: far apart
# Two kinds of rows with different logits (even and odd), so that a draw shared between rows shows.
LOGITS = torch.randn(2, L, V, generator=seeded(1)).repeat(B // 2, 1, 1)  # (B, L, V)
ALL_MASKED = torch.full((B, L), MASK)
SOME_VISIBLE = torch.randint(V, (B, L), generator=seeded(2)).masked_fill(
    torch.rand(B, L, generator=seeded(3)) < 0.5, MASK
)


def step(reverse_step, z: Int[Tensor, "B L"], s: float = S, t: float = T, seed: int = 0) -> Int[Tensor, "B L"]:
    return reverse_step(z.clone(), LOGITS[: len(z)].clone(), s, t, MASK, seeded(seed))


def shares_coins(revealed: Bool[Tensor, "B L"]) -> bool:
    """Rows, or columns, that are revealed as a whole or not at all; one coin for all is both."""
    share = revealed.double().mean()
    if share in (0, 1):
        return False
    rows, columns = revealed.double().mean(1), revealed.double().mean(0)
    whole = ((rows == 0) | (rows == 1)).double().mean()
    return bool(whole > 0.9 or ((columns == 0) | (columns == 1)).all())


def writes_into_z(reverse_step) -> bool:
    z = ALL_MASKED.clone()
    reverse_step(z, LOGITS.clone(), S, T, MASK, seeded(0))
    return not torch.equal(z, ALL_MASKED)


def misfit(z_s: Int[Tensor, "B L"], p: Float[Tensor, "B L V"]) -> float:
    """How far the revealed tokens are from p: the largest difference of a token's share at a place."""
    off = 0.0
    for kind in (0, 1):
        seen = torch.nn.functional.one_hot(z_s[kind::2], V + 1)[..., :V].double().sum(0)  # (L, V)
        off = max(off, float((seen / seen.sum(-1, keepdim=True) - p[kind]).abs().max()))
    return off
