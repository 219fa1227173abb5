"""Exercise 8.3: one ancestral step, judged by what happens to thousands of tokens whose distribution is known."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.classroom.checks import Check
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


def test(reverse_step):
    for s, t in ((S, T), (0.75, 1.0), (0.0, 0.5)):
        for z in (ALL_MASKED, SOME_VISIBLE):
            z_s = step(reverse_step, z, s, t)
            check_ids(z_s)
            visible = z != MASK
            assert torch.equal(z_s[visible], z[visible]), "Visible tokens must stay."
            share = float((z_s[~visible] != MASK).double().mean())
            assert abs(share - (t - s) / t) < 0.03, (
                f"From t = {t} to s = {s} a share of {(t - s) / t:.2f} of the masks is revealed; yours: {share:.2f}."
            )
    revealed = step(reverse_step, ALL_MASKED) != MASK
    assert not shares_coins(revealed), "Every token needs a coin of its own."
    assert not writes_into_z(reverse_step), "z must stay as it was."
    assert misfit(step(reverse_step, ALL_MASKED), LOGITS.softmax(-1)) < 0.1, (
        "Revealed tokens must be drawn from softmax(logits)."
    )
    assert torch.equal(step(reverse_step, ALL_MASKED), step(reverse_step, ALL_MASKED)), "Same generator, same draws."


def check_ids(z_s):
    assert isinstance(z_s, Tensor) and z_s.shape == (B, L), "Return the whole canvas z_s, shaped like z."
    assert not z_s.is_floating_point(), "Return token ids (integers), not probabilities."
    assert bool(((z_s >= 0) & (z_s <= MASK)).all()), f"Ids must lie in 0..{MASK}, the last being the mask."


def share_revealed(reverse_step, s: float = S, t: float = T) -> float:
    return float((step(reverse_step, ALL_MASKED, s, t) != MASK).double().mean())


def reveals(share: float):
    """A probe: this share of the masked tokens is revealed in the step from T to S."""
    return lambda reverse_step: abs(share_revealed(reverse_step) - share) < 0.015


def shares_coins(revealed) -> bool:
    """Rows, or columns, that are revealed as a whole or not at all; one coin for all is both."""
    share = revealed.double().mean()
    if share in (0, 1):
        return False
    rows, columns = revealed.double().mean(1), revealed.double().mean(0)
    whole = ((rows == 0) | (rows == 1)).double().mean()
    return bool(whole > 0.9 or ((columns == 0) | (columns == 1)).all())


def one_coin(reverse_step) -> bool:
    """One coin decides for a row, for a column, or (seen over many seeds) for everything."""
    if shares_coins(step(reverse_step, ALL_MASKED) != MASK):
        return True
    steps = [step(reverse_step, ALL_MASKED[:20], 0.2, 0.4, seed) for seed in range(20)]
    return {float((z_s != MASK).double().mean()) for z_s in steps} == {0.0, 1.0}


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


def overwrites_visible(reverse_step) -> bool:
    visible = SOME_VISIBLE != MASK
    return not torch.equal(step(reverse_step, SOME_VISIBLE)[visible], SOME_VISIBLE[visible])


def takes_largest(reverse_step) -> bool:
    z_s = step(reverse_step, ALL_MASKED)
    revealed = z_s != MASK
    return bool(revealed.any()) and torch.equal(z_s[revealed], LOGITS.argmax(-1)[revealed])


def draws_uniformly(reverse_step) -> bool:
    return misfit(step(reverse_step, ALL_MASKED), torch.full_like(LOGITS, 1 / V)) < 0.1


MISTAKES = [
    (
        lambda f: step(f, ALL_MASKED).shape != (B, L),
        "The result has another shape than z. Return the whole canvas: revealed tokens, visible tokens,"
        " remaining masks.",
    ),
    (
        writes_into_z,
        "Your function writes into z, the caller's canvas, so a recorded trajectory would change afterwards. Make a new"
        " tensor: z.clone() first, or torch.where.",
    ),
    (
        lambda f: step(f, ALL_MASKED).is_floating_point(),
        "Return token ids (integers), not probabilities.",
    ),
    (
        one_coin,
        "One coin decides for a whole row or batch, so that its tokens appear together. Every token needs its own:"
        " torch.rand(z.shape).",
    ),
    (
        overwrites_visible,
        "Visible tokens are overwritten. What has been revealed stays (carry-over): change z only where it is mask_id.",
    ),
    (
        reveals(T - S),
        "You reveal with probability t - s. That is the chance of any token to be revealed in this step; for a token"
        " that is still masked at t (probability t) it is (t - s)/t.",
    ),
    (
        reveals(S / T),
        "Keeping and revealing are swapped: s/t is the probability to stay masked. Reveal with probability (t - s)/t.",
    ),
    (
        reveals(1 - S),
        "You reveal with probability 1 - s, as if all tokens had been masked at t = 1 and nothing had been revealed"
        " since. Given that a token is masked at t, it is (t - s)/t.",
    ),
    (
        reveals(1.0),
        "Every mask is revealed at once: that is a single step to t = 0. A masked token stays masked with"
        " probability s/t.",
    ),
    (
        reveals(0.0),
        "No mask is revealed at all. A masked token is revealed with probability (t - s)/t.",
    ),
    (
        takes_largest,
        "You take the likeliest token (argmax) instead of drawing from softmax(logits): all texts would become alike.",
    ),
    (
        draws_uniformly,
        "The revealed tokens are uniformly random: draw them from softmax(logits), for example with draw(logits,"
        " generator).",
    ),
    (
        lambda f: bool((step(f, ALL_MASKED, 0.0, 0.5) == MASK).any()),
        "After a step to s = 0 masks are left, so the mask itself can be drawn as a token. Draw from the V tokens that"
        " the network knows.",
    ),
    (
        lambda f: not torch.equal(step(f, ALL_MASKED), step(f, ALL_MASKED)),
        "Two runs with the same generator differ. Pass the generator to every draw.",
    ),
]


def reference(z, logits, s, t, mask_id, generator=None):
    B, L, V = logits.shape
    token = torch.multinomial(logits.softmax(-1).view(B * L, V), 1, generator=generator).view(B, L)
    revealed = (z == mask_id) & (torch.rand(z.shape, generator=generator) < (t - s) / t)
    return torch.where(revealed, token, z)


ex8_3 = Check(
    "8.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Of the tokens masked at t, a share s/t is still masked at s. The others are revealed now.",
        "Two independent draws: a token for every position (draw(logits, generator)), and a coin for every position.",
        "torch.where((z == mask_id) & coin, token, z) with coin = torch.rand(z.shape, generator=generator) < (t"
        " - s)/t.",
    ],
    reference=reference,
    praise="Masked tokens are revealed with probability (t - s)/t, and what is visible stays.",
)
