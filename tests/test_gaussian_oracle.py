"""Mixtures of normal laws: densities against torch, denoiser and score against sums on a grid and Tweedie."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from difflm_core.oracle import GaussianMixture, gaussian_data
from difflm_core.processes import CosineBeta, GaussianProcess, LinearLogSnr

PROCESS = GaussianProcess(CosineBeta())
POINTS = GaussianMixture(
    torch.tensor([1.0, 2.0, 1.0]),
    torch.tensor([[0.0, 1.0], [2.0, -1.0], [-1.0, 0.0]]),
    torch.tensor([[[0.5, 0.2], [0.2, 0.3]], [[0.1, 0.0], [0.0, 0.4]], [[1.0, -0.4], [-0.4, 0.5]]]).double(),
)
LINE = GaussianMixture(torch.tensor([0.3, 0.7]), torch.tensor([[-1.0], [1.5]]), torch.tensor([[[0.2]], [[0.05]]]))


def by_torch(mixture, alpha=1.0):
    noise = (1 - alpha) * torch.eye(mixture.means.shape[1], dtype=torch.float64)
    component = MultivariateNormal(alpha**0.5 * mixture.means, alpha * mixture.covariances + noise)
    return MixtureSameFamily(Categorical(mixture.weights), component)


def test_densities_are_those_of_torch():
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(POINTS.log_prob(x), by_torch(POINTS).log_prob(x), rtol=1e-10, atol=1e-10)
    t = torch.full((50,), 0.3, dtype=torch.float64)
    alpha = PROCESS.alpha(t)[0].item()
    expected = by_torch(POINTS, alpha).log_prob(x)
    torch.testing.assert_close(POINTS.noisy_log_prob(x, t, PROCESS), expected, rtol=1e-10, atol=1e-10)


def test_samples_have_the_law():
    x = POINTS.sample(50_000, torch.Generator().manual_seed(1))
    mean = (POINTS.weights[:, None] * POINTS.means).sum(0)
    second = POINTS.weights[:, None, None] * (POINTS.covariances + POINTS.means[:, :, None] * POINTS.means[:, None])
    torch.testing.assert_close(x.mean(0), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(x.mT.cov(), second.sum(0) - mean[:, None] * mean, rtol=0, atol=0.05)
    assert torch.equal(x[:5], POINTS.sample(50_000, torch.Generator().manual_seed(1))[:5])


@pytest.mark.parametrize("time", [0.02, 0.3, 0.9])
def test_posterior_is_bayes_on_a_grid(time):
    x = torch.linspace(-6, 6, 24001, dtype=torch.float64)
    z, t = torch.tensor([[-1.3], [0.1], [2.0]]).double(), torch.full((3,), time, dtype=torch.float64)
    alpha = PROCESS.alpha(t)[0]
    log_joint = LINE.log_prob(x[:, None]) - (z - alpha.sqrt() * x) ** 2 / (2 * (1 - alpha))
    law = log_joint.softmax(1)
    mean = (law * x).sum(1)
    got, variance = LINE.posterior(z, t, PROCESS)
    torch.testing.assert_close(got[:, 0], mean, rtol=0, atol=1e-8)
    torch.testing.assert_close(variance[:, 0], (law * (x - mean[:, None]) ** 2).sum(1), rtol=0, atol=1e-8)


def test_score_is_the_gradient_and_tweedie():
    z = torch.randn(20, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    t = torch.linspace(0.05, 0.95, 20, dtype=torch.float64)
    score = POINTS.score(z, t, PROCESS)
    for i, step in enumerate(1e-5 * torch.eye(2, dtype=torch.float64)):
        up, down = (POINTS.noisy_log_prob(z + sign * step, t, PROCESS) for sign in (1, -1))
        torch.testing.assert_close((up - down) / 2e-5, score[:, i], rtol=0, atol=1e-6)
    alpha = PROCESS.alpha(t)[:, None]
    tweedie = (alpha.sqrt() * POINTS.denoiser(PROCESS)(z, t) - z) / (1 - alpha)
    torch.testing.assert_close(tweedie, score, rtol=0, atol=1e-9)


def test_gaussian_data_has_a_linear_denoiser():
    mean, covariance = torch.tensor([0.5, -1.0]).double(), torch.tensor([[0.7, 0.3], [0.3, 0.4]]).double()
    data, t = gaussian_data(mean, covariance), torch.tensor([0.1, 0.5, 0.99]).double()
    z = torch.randn(3, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x_hat, variance = data.posterior(z, t, PROCESS)
    for row, alpha in enumerate(PROCESS.alpha(t)):
        noisy = alpha * covariance + (1 - alpha) * torch.eye(2)
        gain = alpha.sqrt() * covariance @ torch.linalg.inv(noisy)
        torch.testing.assert_close(x_hat[row], mean + gain @ (z[row] - alpha.sqrt() * mean))
        torch.testing.assert_close(variance[row], (covariance - alpha.sqrt() * gain @ covariance).diagonal())


def test_denoiser_keeps_dtype_and_hardly_moves_clean_vectors():
    process = GaussianProcess(LinearLogSnr(30.0, -30.0))
    z = torch.tensor([[0.3, 0.4]])
    x_hat = POINTS.denoiser(process)(z, torch.zeros(1))
    assert x_hat.dtype == torch.float32
    torch.testing.assert_close(x_hat, z, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: GaussianMixture(torch.ones(2), torch.zeros(2, 1), torch.ones(2, 1)), r"weights \(K,\), means"),
        (lambda: gaussian_data(torch.zeros(2), torch.tensor([[1.0, 2.0], [2.0, 1.0]])), "eigenvalues above 0"),
        (lambda: gaussian_data(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]])), "symmetric"),
        (lambda: GaussianMixture(-torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1, 1)), "at least 0"),
        (lambda: LINE.log_prob(torch.zeros(4, 2)), r"must be \(B, 1\)"),
    ],
)
def test_bad_input_is_named_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
