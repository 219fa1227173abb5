"""Exercise 5.3: from an encoder's states to latents: words standardised, special tokens embedded, padding zero."""

from collections.abc import Callable
from copy import deepcopy

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

B, L, D, V = 6, 5, 4, 9
EMBEDDINGS = 3 * torch.randn(V, D, generator=seeded(1))
SPECIAL = {0: EMBEDDINGS[0], 1: EMBEDDINGS[1]}  # begin, end; padding has id 0 as well
IDS = torch.randint(2, V, (B, L), generator=seeded(2))
IDS[:, 0], IDS[:, 3], IDS[:, 4] = 0, 1, 0
IDS[0] = torch.tensor([0, 5, 7, 8, 1])  # one text without padding
MASK = torch.ones(B, L, dtype=torch.bool)
MASK[1:, 4] = False
H = 2 + 5 * torch.randn(B, L, D, generator=seeded(3))
MEAN, DEVIATION = torch.tensor([2.0, 1.0, -1.0, 0.5]), torch.tensor([5.0, 0.5, 2.0, 3.0])
ARGUMENTS = (H, MASK, IDS, MEAN, DEVIATION, SPECIAL)


def reference(h, mask, ids, mean, deviation, special):
    z = (h - mean) / deviation
    for i, vector in special.items():
        z = torch.where((ids == i)[..., None], vector / vector.square().mean().sqrt(), z)
    return torch.where(mask[..., None], z, 0.0)


TRUTH = reference(*ARGUMENTS)
WORD = MASK & (IDS > 1)
AT_SPECIAL = MASK & (IDS <= 1)


def ask(attempt):
    return torch.as_tensor(attempt(*deepcopy(ARGUMENTS)))


def off(attempt, where) -> float:
    return (ask(attempt) - TRUTH)[where].abs().max().item()


def test(attempt):
    value = ask(attempt)
    assert value.shape == H.shape, f"Return latents shaped {tuple(H.shape)}, not {tuple(value.shape)}."
    for name, where in (("words", WORD), ("special tokens", AT_SPECIAL), ("padding", ~MASK)):
        assert off(attempt, where) < 1e-4, f"The latents of {name} are off, by up to {off(attempt, where):.2f}."
    h, *rest, special = deepcopy(ARGUMENTS)
    attempt(h, *rest, special)
    assert torch.equal(h, H), "h must stay as it was."
    assert all(torch.equal(special[i], vector) for i, vector in SPECIAL.items()), (
        "The embeddings in `special` must stay as they were: scale a copy (vector / ..., not vector /= ...)."
    )


def at(where, wrong) -> Callable:
    """The attempt has exactly this (a tensor of the full shape) at these places, where it is not right."""
    return lambda attempt: (
        off(attempt, where) >= 1e-4 and torch.allclose(ask(attempt)[where], wrong.expand(H.shape)[where], atol=1e-4)
    )


def embedded(change: Callable):
    """Full-shape latents in which every special token has change(its embedding)."""
    return sum((IDS == i)[..., None] * change(vector) for i, vector in SPECIAL.items())


PLAIN = (H - MEAN) / DEVIATION
TOKENS = H[MASK]  # special ones included
MISTAKES = [
    (
        at(MASK, torch.zeros(())),
        "Tokens are 0 and padding is not: mask is True at tokens. Padding is ~mask.",
    ),
    (at(WORD, H), "Words are still on the encoder's scale: subtract the mean, then divide by the deviation."),
    (at(WORD, H - MEAN), "The mean is gone, but coordinates still differ in size: divide by the deviation."),
    (at(WORD, H / DEVIATION), "The mean is still in: (h - mean) / deviation."),
    (at(WORD, H / DEVIATION - MEAN), "First subtract, then divide: the mean is on the encoder's scale."),
    (at(WORD, (H - MEAN) / DEVIATION**2), "Divide by the deviation, not by the variance."),
    (
        lambda f: any(at(WORD, (H - h.mean(0)) / h.std(0, correction=n))(f) for h in (H[WORD], TOKENS) for n in (0, 1)),
        "You standardise by this batch's own mean and deviation. Use the given ones: they come from the training texts,"
        " and are the same for every batch.",
    ),
    (
        at(AT_SPECIAL, PLAIN),
        "Special tokens still have their states, which summarise the text on another scale. Put embeddings there.",
    ),
    (
        at(AT_SPECIAL, embedded(lambda e: e)),
        "The embedding stands there as it is. Scale it to mean square 1, the size of all other latents.",
    ),
    (
        at(AT_SPECIAL, embedded(lambda e: e / e.norm())),
        "Length 1 is a mean square of 1/D: divide by the root of the mean square, not by the norm.",
    ),
    (
        at(AT_SPECIAL, embedded(lambda e: e / e.square().mean())),
        "You divided by the mean square itself. To make it 1, divide by its root.",
    ),
    (
        lambda f: any(
            at(AT_SPECIAL, embedded(lambda e, n=n, shift=shift: (e - shift * e.mean()) / e.std(correction=n)))(f)
            for n in (0, 1)
            for shift in (0, 1)
        ),
        "std looks at the differences from the vector's own mean. Mean square 1 is asked, no mean is taken away:"
        " divide by the root of the mean square.",
    ),
    (
        at(AT_SPECIAL, embedded(lambda e: (e - MEAN) / DEVIATION)),
        "The statistics are those of words' states; an embedding is not one of them. Scale it by itself.",
    ),
    (
        at(~MASK, embedded(lambda e: e / e.square().mean().sqrt())),
        "Padding has an id too (that of a special token here), so it got an embedding. Set padding to 0 last.",
    ),
    (at(~MASK, PLAIN), "Padding must be 0: what the encoder says there means nothing, and it is part of the canvas."),
    (at(~MASK, -MEAN / DEVIATION), "Padding was 0 before the scaling. It must be 0 after it."),
]  # fmt: skip

ex5_3 = Check(
    "5.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Three cases, in this order: all states standardised; special tokens overwritten; padding set to 0.",
        "vector / vector.square().mean().sqrt() has mean square 1.",
        "torch.where((ids == i)[..., None], scaled, z) for each special i; then torch.where(mask[..., None], z, 0.0).",
    ],
    reference=reference,
    praise="The same vector wherever a special token stands: for the denoiser it is then an easy word among others.",
)  # fmt: skip
