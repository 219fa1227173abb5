"""Exercise 3.2: one look of the latents at themselves and at a padded text."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

B, N, L, W = 3, 2, 5, 4
Z = torch.randn(B, N, W, generator=seeded(1), dtype=torch.float64)
H = torch.randn(B, L, W, generator=seeded(2), dtype=torch.float64)
LENGTHS = torch.tensor([5, 3, 1])
MASK = torch.arange(L) < LENGTHS[:, None]  # True at real tokens


def attended(queries, keys, seen, values=None):
    scores = queries @ keys.transpose(1, 2) / W**0.5
    weights = scores.masked_fill(~seen[:, None], -torch.inf).softmax(-1)
    return weights @ (keys if values is None else values)


def everything(mask):
    return torch.cat([torch.ones(len(mask), N, dtype=torch.bool), mask], 1)


def reference(z, h, mask):
    memory = torch.cat([z, h], 1)
    seen = torch.cat([mask.new_ones(z.shape[:2]), mask], 1)
    scores = (z @ memory.transpose(1, 2) / z.shape[-1] ** 0.5).masked_fill(~seen[:, None], -torch.inf)
    return scores.softmax(-1) @ memory


MEMORY = torch.cat([Z, H], 1)
TRUTH = attended(Z, MEMORY, everything(MASK))


def ask(attempt, h=H):
    return torch.as_tensor(attempt(Z.clone(), h.clone(), MASK.clone())).double()


def test(attempt):
    value = ask(attempt)
    assert value.shape == Z.shape, f"Return one vector per latent, {tuple(Z.shape)}, not {tuple(value.shape)}."
    assert not bool(value.isnan().any()), (
        "There are NaNs: your softmax meets scores that are all -infinity. It runs over the keys, the last dimension,"
        " where the latents are always seen."
    )
    junk = torch.where(MASK[..., None], H, 30.0)
    assert torch.allclose(ask(attempt, junk), value), (
        "Other vectors at padding change the result: what stands behind the text must not reach the latents."
    )
    off = (value - TRUTH).abs().amax((1, 2))
    assert bool((off < 1e-6).all()), (
        "The latents are not right yet: off by up to "
        + ", ".join(f"{error:.2f} with {length} tokens" for error, length in zip(off.tolist(), LENGTHS.tolist()))
        + "."
    )


def gives(wrong):
    return lambda attempt: torch.allclose(ask(attempt), wrong, rtol=1e-5, atol=1e-8)


def zero_scores():
    scores = (Z @ MEMORY.transpose(1, 2) / W**0.5).masked_fill(~everything(MASK)[:, None], 0.0)
    return scores.softmax(-1) @ MEMORY


def zero_weights():
    weights = (Z @ MEMORY.transpose(1, 2) / W**0.5).softmax(-1) * everything(MASK)[:, None]
    return weights @ MEMORY


MISTAKES = [
    (
        gives(attended(Z, MEMORY, everything(torch.ones_like(MASK)))),
        "The mask is not used: padding is looked at like a word.",
    ),
    (gives(attended(Z, H, MASK)), "Keys and values are [z; h]: the latents look at each other as well as at the text."),
    (
        gives(attended(Z, MEMORY, torch.cat([MASK, torch.ones(B, N, dtype=torch.bool)], 1))),
        "The mask stands at the wrong places: the latents come first in [z; h], so its N ones belong in front.",
    ),
    (
        gives(attended(Z, torch.cat([H, Z], 1), everything(MASK))),
        "The keys stand in another order than the mask, whose N ones are in front: torch.cat([z, h], 1).",
    ),
    (
        gives(attended(Z, torch.cat([Z, H * MASK[..., None]], 1), everything(torch.ones_like(MASK)))),
        "Padding is set to zeros, but a key of zeros has a score of 0, and exp(0) = 1. Hide the score: -infinity before"
        " the softmax.",
    ),
    (
        gives(zero_scores()),
        "A score of 0 is not nothing: exp(0) = 1. Give hidden places a score of -infinity before the softmax.",
    ),
    (
        gives(zero_weights()),
        "You clear weights after the softmax, so they no longer sum to 1. Hide *before*: score -infinity.",
    ),
    (
        gives(attended(Z * W**0.5, MEMORY, everything(MASK))),
        "The scores are not divided by the square root of the width.",
    ),
    (
        gives(attended(Z, MEMORY, torch.cat([torch.ones(B, N, dtype=torch.bool), ~MASK], 1))),
        "Inverted: `mask` is True at real tokens, and those are to be seen.",
    ),
    (
        gives(Z + TRUTH),
        "The residual (z + ...) is the caller's business; return what the attention brings alone.",
    ),
]

ex3_2 = Check(
    "3.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "memory = torch.cat([z, h], 1), and the mask needs N columns of True in front.",
        "scores = z @ memory.transpose(1, 2) / sqrt(W); masked_fill(~seen[:, None], -torch.inf) before the softmax.",
        "seen = torch.cat([mask.new_ones(z.shape[:2]), mask], 1); softmax(-1) @ memory.",
    ],
    reference=reference,
    praise="The latents see no padding: what diffusion has to fill is N vectors for a short text and for a long one.",
)
