"""Exercise 1.2: a deterministic DDIM step from a prediction of the noise, judged against the package's step."""

import torch

from difflm_core.classroom.checks import Check, behaves_like
from difflm_core.classroom.exercises.lesson_01.levels import ALPHA_S, ALPHA_T, PROCESS, S, T, column, points

Z, EPS = points(3), points(4)
INPUTS = (Z, EPS, column(ALPHA_S), column(ALPHA_T))


def step_with(clean=lambda z, e, t: (z - (1 - t).sqrt() * e) / t.sqrt(), signal=lambda s: s.sqrt(),
              noise=lambda s, t: (1 - s).sqrt()):  # fmt: skip
    """A DDIM step, with parts that can be got wrong: the guess of x, and how signal and noise enter."""

    def step(z_t, eps_hat, alpha_s, alpha_t):
        return signal(alpha_s) * clean(z_t, eps_hat, alpha_t) + noise(alpha_s, alpha_t) * eps_hat

    return step


right = step_with()


def posterior_mean(z_t, eps_hat, alpha_s, alpha_t):
    x = (z_t - (1 - alpha_t).sqrt() * eps_hat) / alpha_t.sqrt()
    ratio = alpha_t / alpha_s
    return (alpha_s.sqrt() * (1 - ratio) * x + ratio.sqrt() * (1 - alpha_s) * z_t) / (1 - alpha_t)


def draws_of_its_own(step) -> bool:
    first, second = (step(*(value.clone() for value in INPUTS)) for _ in range(2))
    return not torch.equal(first, second)


def test(step):
    given = torch.as_tensor(step(*(value.clone() for value in INPUTS))).double()
    assert given.shape == Z.shape, f"Return z_s, shaped {tuple(Z.shape)}."
    assert not draws_of_its_own(step), "A DDIM step with eta = 0 draws nothing: the same input gives the same z_s."
    truth = PROCESS.step(Z, PROCESS.to_x(Z, EPS, T, "eps"), S, T, eta=0.0)
    row, place = [int(i) for i in torch.unravel_index((given - truth).abs().argmax(), truth.shape)]
    assert torch.allclose(given, truth, atol=1e-6), (
        f"With alpha_s = {ALPHA_S[row]:g} and alpha_t = {ALPHA_T[row]:g}, z_t = {Z[row, place]:.3f} and predicted noise"
        f" {EPS[row, place]:.3f}, z_s is {truth[row, place]:.4f}; yours is {given[row, place]:.4f}."
    )


MISTAKES = [
    (
        draws_of_its_own,
        "Your step draws fresh noise. With eta = 0 the predicted noise is used again, nothing is drawn.",
    ),
    (
        behaves_like(posterior_mean, *INPUTS),
        "This is the posterior's mean, an ancestral step without its noise: the cloud shrinks. DDIM keeps the old noise"
        " at its full new size, sqrt(1 - alpha_s).",
    ),
    (
        behaves_like(step_with(clean=lambda z, e, t: (z - (1 - t).sqrt() * e) / t), *INPUTS),
        "The guess of x divides by sqrt(alpha_t), not by alpha_t.",
    ),
    (
        behaves_like(step_with(clean=lambda z, e, t: (z - (1 - t) * e) / t.sqrt()), *INPUTS),
        "In the guess of x the noise enters with sqrt(1 - alpha_t).",
    ),
    (
        behaves_like(step_with(clean=lambda z, e, t: z - (1 - t).sqrt() * e), *INPUTS),
        "The guess of x is (z_t - noise) / sqrt(alpha_t): what is left after the noise is only sqrt(alpha_t) x.",
    ),
    (
        behaves_like(step_with(noise=lambda s, t: (1 - t).sqrt()), *INPUTS),
        "You put the noise back at the level of t. At s there is less: sqrt(1 - alpha_s).",
    ),
    (
        behaves_like(step_with(noise=lambda s, t: 0 * s), *INPUTS),
        "Your z_s has no noise left in it: add sqrt(1 - alpha_s) eps_hat.",
    ),
    (
        behaves_like(step_with(signal=lambda s: torch.ones_like(s), noise=lambda s, t: 0 * s), *INPUTS),
        "This is the guess of x itself, as if one step led all the way to the data.",
    ),
    (
        behaves_like(step_with(signal=lambda s: s, noise=lambda s, t: 1 - s), *INPUTS),
        "The square roots are missing: z_s = sqrt(alpha_s) x_hat + sqrt(1 - alpha_s) eps_hat.",
    ),
    (
        behaves_like(
            step_with(lambda z, e, t: (z - (1 - t) * e) / t, signal=lambda s: s, noise=lambda s, t: 1 - s), *INPUTS
        ),
        "All square roots are missing. alpha is a *squared* level: z_t = sqrt(alpha_t) x + sqrt(1 - alpha_t) eps.",
    ),
    (
        behaves_like(lambda z_t, eps_hat, alpha_s, alpha_t: right(z_t, eps_hat, alpha_t, alpha_s), *INPUTS),
        "alpha_s and alpha_t have changed places: the step goes from t, the noisier time, to s.",
    ),
]

ex1_2 = Check(
    "1.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "First the clean guess that belongs to eps_hat: solve z_t = sqrt(alpha_t) x + sqrt(1 - alpha_t) eps for x.",
        "Then noise it to level s with the same eps_hat.",
        "z_s = sqrt(alpha_s) x_hat + sqrt(1 - alpha_s) eps_hat.",
    ],
    reference=right,
    praise="Guess the point, and go back to it with the same noise. Any s < t will do.",
)
