"""Exercise 4.4: draws from the Gaussian with the mean and covariance of given codes, judged by their moments."""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

M, N, E, DRAWS = 400, 2, 2, 20_000
MIX = torch.tensor([[1.0, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 0, 0.5, 0], [-0.7, 0, 0.3, 0.4]], dtype=torch.float64)
SHIFT = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
CODES = (torch.randn(M, 4, generator=seeded(1), dtype=torch.float64) @ MIX.T + SHIFT).view(M, N, E)
FLAT = CODES.flatten(1)
MEAN, COVARIANCE = FLAT.mean(0), FLAT.T.cov()


def reference(codes, n, generator=None):
    flat = codes.flatten(1)
    factor = torch.linalg.cholesky(flat.T.cov() + 1e-9 * torch.eye(flat.shape[1], dtype=flat.dtype))
    eps = torch.randn(n, flat.shape[1], generator=generator, dtype=codes.dtype)
    return (flat.mean(0) + eps @ factor.T).view(n, *codes.shape[1:])


def ask(attempt, n=DRAWS, seed=2) -> Tensor:
    return torch.as_tensor(attempt(CODES.clone(), n, seeded(seed)))


def moments(attempt) -> tuple[Tensor, Tensor]:
    flat = ask(attempt).double().flatten(1)
    return flat.mean(0), flat.T.cov()


def near(found: Tensor, truth: Tensor) -> bool:
    return bool((found - truth).abs().max() < 0.06)


def copies(attempt) -> bool:
    """Whether draws are codes that were given."""
    return bool((torch.cdist(ask(attempt, 50).double().flatten(1), FLAT).amin(1) < 1e-6).all())


def test(attempt):
    out = ask(attempt)
    assert out.shape == (DRAWS, N, E), (
        f"Return codes shaped (n, {N}, {E}), here {(DRAWS, N, E)}, not {tuple(out.shape)}."
    )
    assert not copies(attempt), "Each of your draws is one of the codes given: these are copies, not draws."
    mean, covariance = moments(attempt)
    assert near(mean, MEAN), f"The draws' mean is off by up to {(mean - MEAN).abs().max():.2f}."
    assert near(covariance, COVARIANCE), (
        f"The draws' covariance is off by up to {(covariance - COVARIANCE).abs().max():.2f}."
    )
    kurtosis = ((out.double().flatten(1) - MEAN) ** 4).mean(0) / COVARIANCE.diagonal() ** 2
    assert bool((kurtosis - 3).abs().max() < 0.5), "Mean and covariance are right, but these numbers are not normal."
    assert torch.equal(ask(attempt, 5), ask(attempt, 5)), "Same generator, same draws."


def has(mean: Tensor, covariance: Tensor):
    return lambda attempt: near(moments(attempt)[0], mean) and near(moments(attempt)[1], covariance)


VARIANCE = COVARIANCE.diagonal()
FACTOR = torch.linalg.cholesky(COVARIANCE)

MISTAKES = [
    (lambda f: bool(ask(f, 50).flatten(1).std(0).max() < 1e-9), "All draws are the same. Each needs noise of its own."),
    (copies, "Each of your draws is one of the codes given. That writes training texts again: draw new codes."),
    (
        has(torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)),
        "That is N(0, I), the prior of the VAE. Use the mean and covariance of the codes.",
    ),
    (
        has(MEAN, VARIANCE.diag()),
        "The variances are right, but the numbers are independent. Codes agree with each other: take the whole"
        " covariance, over codes and numbers together (N * E of them).",
    ),
    (
        has(MEAN, torch.block_diag(COVARIANCE[:2, :2], COVARIANCE[2:, 2:])),
        "Within a code all is right, but a text's codes are drawn apart. Flatten codes and numbers together first.",
    ),
    (
        has(torch.zeros(4, dtype=torch.float64), COVARIANCE),
        "The covariance is right, the mean is missing: add it.",
    ),
    (
        has(MEAN, COVARIANCE @ COVARIANCE),
        "You multiply noise by the covariance, and get covariance C C: multiply by a root of C, its Cholesky factor.",
    ),
    (
        has(MEAN, FACTOR.T @ FACTOR),
        "Transposed: eps @ factor has covariance factor^T factor. Rows of noise want eps @ factor.T.",
    ),
    (
        lambda f: not torch.equal(ask(f, 5), ask(f, 5)),
        "Two runs with the same generator differ. Pass the generator to torch.randn.",
    ),
]  # fmt: skip

ex4_4 = Check(
    "4.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "flat = codes.flatten(1), shaped (M, N * D); its mean is flat.mean(0), its covariance flat.T.cov().",
        "If eps ~ N(0, I) as rows and C = F F^T (torch.linalg.cholesky), then eps @ F.T has covariance C.",
        "Back to codes: .view(n, *codes.shape[1:]).",
    ],
    reference=reference,
    praise="No network, no steps. Whatever diffusion is worth must be measured against this.",
)
