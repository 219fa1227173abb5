"""Exercise 3.1: the clean latents that a v-prediction stands for, judged where the true v is known."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

B, N, D = 3, 2, 4
X = torch.randn(B, N, D, generator=seeded(1), dtype=torch.float64)
EPS = torch.randn(B, N, D, generator=seeded(2), dtype=torch.float64)
ALPHA = torch.tensor([0.9, 0.3, 0.0], dtype=torch.float64)
SIGNAL, NOISE = ALPHA.sqrt()[:, None, None], (1 - ALPHA).sqrt()[:, None, None]
Z, V = SIGNAL * X + NOISE * EPS, SIGNAL * EPS - NOISE * X


def reference(z_t, v, alpha):
    alpha = alpha[:, None, None]
    return alpha.sqrt() * z_t - (1 - alpha).sqrt() * v


def ask(attempt):
    return torch.as_tensor(attempt(Z.clone(), V.clone(), ALPHA.clone())).double()


def test(attempt):
    value = ask(attempt)
    assert value.shape == X.shape, f"Return vectors shaped like z_t, {tuple(X.shape)}, not {tuple(value.shape)}."
    assert bool(value.isfinite().all()), "At alpha = 0 some numbers are not finite: is there a division by sqrt(alpha)?"
    off = (value - X).abs().amax((1, 2))
    said = ", ".join(f"{error:.2f} at alpha = {alpha:g}" for error, alpha in zip(off.tolist(), ALPHA.tolist()))
    assert bool((off < 1e-6).all()), f"With the true v the result must be x exactly. It is off by up to {said}."


def gives(wrong):
    """A probe that does not look at alpha = 0, where several mistakes agree or have no value."""
    return lambda attempt: torch.allclose(ask(attempt)[:2], wrong[:2], rtol=1e-5, atol=1e-8)


def squared(first, second):
    alpha = ALPHA[:, None, None]
    return first(alpha) * Z + second(alpha) * V


MISTAKES = [
    (gives(EPS), "That is the noise, sqrt(1 - alpha) z_t + sqrt(alpha) v. For x the two levels change places."),
    (gives(SIGNAL * Z + NOISE * V), "The sign: v has -sqrt(1 - alpha) x in it, so x is z_t's part *minus* v's part."),
    (gives(NOISE * V - SIGNAL * Z), "That is -x: z_t's part comes with a plus, v's with a minus."),
    (
        gives(squared(lambda a: a, lambda a: -(1 - a))),
        "Roots are missing: alpha is the *squared* signal level. sqrt(alpha) and sqrt(1 - alpha).",
    ),
    (
        gives((Z - NOISE * V) / SIGNAL),
        "You treat v as if it were the noise: (z_t - sqrt(1 - alpha) eps) / sqrt(alpha) is for an eps-prediction."
        " Multiply the two equations for z_t and v instead; nothing is divided.",
    ),
    (gives(NOISE * Z - SIGNAL * V), "The levels are swapped: at alpha = 1 z_t itself is x."),
    (gives(V), "v is not x. At alpha = 0 it is -x, at alpha = 1 it is the noise."),
]

ex3_1 = Check(
    "3.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "z_t = a x + b eps and v = a eps - b x, with a = sqrt(alpha), b = sqrt(1 - alpha), a^2 + b^2 = 1.",
        "Multiply the first by a, the second by b, and subtract: eps drops out.",
        "alpha[:, None, None].sqrt() * z_t - (1 - alpha[:, None, None]).sqrt() * v",
    ],
    reference=reference,
    praise="(x, eps) -> (z_t, v) is a rotation, so its inverse needs no division: v is safe at both ends.",
)
