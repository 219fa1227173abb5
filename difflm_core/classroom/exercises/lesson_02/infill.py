"""Exercise 2.4: known words held at the noise level of the step, judged by the mean and spread of many draws."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

B, L, D = 4000, 3, 2
KNOWN = torch.tensor([True, False, True]).expand(B, L)
X = torch.tensor([[3.0, -2.0], [9.0, 9.0], [-4.0, 5.0]], dtype=torch.float64).expand(B, L, D)
Z_S = torch.full((B, L, D), 0.5, dtype=torch.float64)
ALPHAS = (0.64, 0.25)


def reference(z_s, x, known, alpha_s, generator=None):
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    noisy = alpha_s**0.5 * x + (1 - alpha_s) ** 0.5 * noise
    return torch.where(known[..., None], noisy, z_s)


def held(attempt, alpha: float):
    """What it makes of thousands of equal texts."""
    return torch.as_tensor(attempt(Z_S.clone(), X.clone(), KNOWN.clone(), alpha, seeded(0)))


def moments(out) -> tuple[float, float]:
    """Of the known places: mean in units of x, and standard deviation."""
    places = out[:, [0, 2]]
    clean = X[:, [0, 2]]
    return float((places.mean(0) / clean[0]).mean()), float((places - places.mean(0)).std())


def one_noise(out) -> bool:
    """At alpha = 0.25: the same noise in all rows, at all places, or in all numbers of a vector."""
    noise = out[:, [0, 2]] - 0.5 * X[:, [0, 2]]
    return float(noise.std(0).max()) < 1e-6 or any(
        float((noise.select(axis, 0) - noise.select(axis, 1)).abs().max()) < 1e-6 for axis in (1, 2)
    )


def writes(attempt) -> bool:
    given = Z_S.clone()
    attempt(given, X.clone(), KNOWN.clone(), 0.64, seeded(0))
    return not torch.equal(given, Z_S)


def test(attempt):
    outs = {alpha: held(attempt, alpha) for alpha in ALPHAS}
    for alpha, out in outs.items():
        assert out.shape == Z_S.shape, f"Return vectors shaped like z_s, {tuple(Z_S.shape)}, not {tuple(out.shape)}."
        assert torch.equal(out[:, 1].double(), Z_S[:, 1]), "Free places keep z_s exactly."
        mean, deviation = moments(out)
        assert abs(mean - alpha**0.5) < 0.02, (
            f"At alpha = {alpha} the known vectors' mean must be {alpha**0.5:.2f} x; yours is {mean:.2f} x."
        )
        assert abs(deviation - (1 - alpha) ** 0.5) < 0.02, (
            f"At alpha = {alpha} their standard deviation must be {(1 - alpha) ** 0.5:.2f}; yours is {deviation:.2f}."
        )
    assert not one_noise(outs[0.25]), "Every number needs noise of its own."
    assert torch.equal(outs[0.64], held(attempt, 0.64)), "Same generator, same draws."
    assert not writes(attempt), "z_s must stay as it was."


def has(mean, deviation):
    """A probe for the moments, both functions of alpha."""
    return lambda attempt: all(
        abs(a - b) < 0.02
        for alpha in ALPHAS
        for a, b in zip(moments(held(attempt, alpha)), (mean(alpha), deviation(alpha)))
    )


MISTAKES = [
    (
        has(lambda a: 1.0, lambda a: 0.0),
        "You put the clean vectors in. At level s the network expects noisy ones: clean words among noisy ones are"
        " something that it has never seen. Noise them to level s.",
    ),
    (
        has(lambda a: a**0.5, lambda a: 0.0),
        "Scaled, but without noise: z_s = sqrt(alpha) x + sqrt(1 - alpha) noise.",
    ),
    (
        has(lambda a: a, lambda a: 1 - a),
        "Roots are missing: alpha is the *squared* signal level. Signal sqrt(alpha), noise sqrt(1 - alpha).",
    ),
    (has(lambda a: a**0.5, lambda a: 1 - a), "1 - alpha is the variance of the noise; multiply by its root."),
    (has(lambda a: a, lambda a: (1 - a) ** 0.5), "alpha is the squared signal: multiply x by its root."),
    (
        has(lambda a: (1 - a) ** 0.5, lambda a: a**0.5),
        "Signal and noise are swapped: at alpha = 1 nothing but x is left.",
    ),
    (
        has(lambda a: 1.0, lambda a: (1 - a) ** 0.5),
        "The signal shrinks with the noise: sqrt(alpha) x, not x.",
    ),
    (
        lambda f: (
            bool((held(f, 0.64)[:, 1] != Z_S[:, 1]).any())
            and torch.equal(held(f, 0.64)[:, [0, 2]].double(), Z_S[:, [0, 2]])
        ),
        "Known and free are swapped: hold the places where `known` is True.",
    ),
    (
        lambda f: bool((held(f, 0.64)[:, 1].double() != Z_S[:, 1]).any()),
        "Free places are changed. Only where `known` is True is z_s replaced.",
    ),
    (
        lambda f: one_noise(held(f, 0.25)),
        "One draw of noise serves many texts, places or numbers. Draw noise shaped like x.",
    ),
    (
        lambda f: not torch.equal(held(f, 0.64), held(f, 0.64)),
        "Two runs with the same generator differ. Pass the generator to torch.randn.",
    ),
    (writes, "Your function writes into z_s, the caller's tensor. Make a new one, with torch.where."),
]

ex2_4 = Check(
    "2.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "At level s the network must see what it saw in training: q(z_s | x), at the known places too.",
        "noisy = sqrt(alpha_s) x + sqrt(1 - alpha_s) noise; then torch.where(known[..., None], noisy, z_s).",
        "The noise: torch.randn(x.shape, generator=generator, dtype=x.dtype).",
    ],
    reference=reference,
    praise="Infilling without a classifier and without training: the prompt is noised along with the text.",
)
