"""Exercise 8.3: one ancestral step, judged by what happens to thousands of tokens whose distribution is known."""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.lesson_08.step_mistakes import MISTAKES
from difflm_core.classroom.exercises.lesson_08.step_trials import (
    ALL_MASKED,
    LOGITS,
    MASK,
    SOME_VISIBLE,
    B,
    L,
    S,
    T,
    misfit,
    shares_coins,
    step,
    writes_into_z,
)


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
        "coin = torch.rand(z.shape, generator=generator) < (t - s) / t, then torch.where((z == mask_id) & coin, token,"
        " z).",
    ],
    reference=reference,
    praise="Masked tokens are revealed with probability (t - s)/t, and what is visible stays.",
)
