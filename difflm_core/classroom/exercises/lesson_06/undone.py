"""Exercise 6.4: undo the stirring of latents, exactly."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

n, HALF = 50, 4
DRAWS = seeded(1)
A, B = (torch.linalg.qr(torch.randn(HALF, HALF, generator=DRAWS, dtype=torch.float64)).Q for _ in range(2))
Z = torch.randn(n, 2 * HALF, generator=DRAWS, dtype=torch.float64)
FREQUENCY = 3.0


def stir(z):
    a, b = z.chunk(2, dim=1)
    b = b + (FREQUENCY * a @ A).sin()
    a = a + (FREQUENCY * b @ B).sin()
    return torch.cat([a, b], dim=1)


def reference(z, A, B, frequency):
    a, b = z.chunk(2, dim=1)
    a = a - (frequency * b @ B).sin()
    b = b - (frequency * a @ A).sin()
    return torch.cat([a, b], dim=1)


STIRRED = stir(Z)


def ask(attempt) -> torch.Tensor:
    return torch.as_tensor(attempt(STIRRED.clone(), A.clone(), B.clone(), FREQUENCY))


def test(attempt):
    value = ask(attempt)
    assert value.shape == Z.shape, f"Return all numbers of every text, {tuple(Z.shape)}, not {tuple(value.shape)}."
    off = (value - Z).abs()
    assert off.max() < 1e-8, (
        f"It must come back exactly. Off by {off.max():.2g}: the first half by {off[:, :HALF].max():.2g}, the second by"
        f" {off[:, HALF:].max():.2g}."
    )
    other = torch.as_tensor(attempt(Z.clone(), A.clone(), B.clone(), 0.0))
    assert torch.allclose(other, Z), "At frequency 0 the sines are 0 and nothing moves: use the argument `frequency`."


def is_like(wrong):
    return lambda attempt: ask(attempt).shape == Z.shape and torch.allclose(ask(attempt), wrong, atol=1e-8)


def same_order(z):
    a, b = z.chunk(2, dim=1)
    b = b - (FREQUENCY * a @ A).sin()
    a = a - (FREQUENCY * b @ B).sin()
    return torch.cat([a, b], dim=1)


def at_once(z):
    a, b = z.chunk(2, dim=1)
    return torch.cat([a - (FREQUENCY * b @ B).sin(), b - (FREQUENCY * a @ A).sin()], dim=1)


def maps_swapped(z):
    return reference(z, B, A, FREQUENCY)


def transposed(z):
    return reference(z, A.T, B.T, FREQUENCY)


MISTAKES = [
    (
        is_like(same_order(STIRRED)),
        "The right subtractions in the wrong order. What was done last is undone first: `a` moved last.",
    ),
    (
        is_like(at_once(STIRRED)),
        "`b` must be undone with the *old* a, the one that you have just restored; you use the stirred one.",
    ),
    (is_like(stir(STIRRED)), "You stir once more. What was added is now subtracted."),
    (is_like(maps_swapped(STIRRED)), "A and B are swapped: B moved a, by what b is."),
    (
        is_like(transposed(STIRRED)),
        "A and B need not be inverted or transposed: the inverse recomputes the very same sine and subtracts it.",
    ),
    (
        is_like(torch.cat(reference(STIRRED, A, B, FREQUENCY).chunk(2, dim=1)[::-1], dim=1)),
        "The halves come back in the wrong order: a first, then b.",
    ),
    (
        lambda f: bool(ask(f).isnan().any()),
        "The sine is not inverted: an arcsine of a number above 1 does not exist. Compute the same sine once more and"
        " subtract it.",
    ),
    (is_like(STIRRED), "Nothing is undone: you return what you were given."),
]

ex6_4 = Check(
    "6.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "After stirring you hold the new a and the new b. Of which sine do you know the argument?",
        "The new b is what moved a. So a can be restored first, and with it b.",
        "a = a - (frequency * b @ B).sin(), then b = b - (frequency * a @ A).sin().",
    ],
    reference=reference,
    praise="Nothing is inverted, only recomputed: this is the coupling layer of normalising flows (Dinh et al. 2015).",
)
