"""Vectors whose law is a mixture of normal laws: density, denoiser and score are known at every noise level.

If x ~ sum_k w_k N(m_k, S_k), then z_t ~ sum_k w_k N(sqrt(alpha_t) m_k, alpha_t S_k + (1 - alpha_t) I), another such
mixture. Everything below is this line and Bayes' rule. One component is Gaussian data, for which the denoiser is
linear; tight components far apart are nearly points, like the embeddings of words.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.processes.gaussian import GaussianProcess


@dataclass(frozen=True)
class GaussianMixture:
    """weights (K,), means (K, D), covariances (K, D, D). All results are float64 on the CPU, log-densities in nats.

    Raises ValueError if the shapes disagree, a weight is negative or a covariance is not positive definite. Weights are
    scaled to sum to 1.
    """

    weights: Float[Tensor, "K"]
    means: Float[Tensor, "K D"]
    covariances: Float[Tensor, "K D D"]
    spectrum: Float[Tensor, "K D"] = field(init=False, repr=False)
    axes: Float[Tensor, "K D D"] = field(init=False, repr=False)

    def __post_init__(self):
        weights, means, covariances = (
            torch.as_tensor(given, dtype=torch.float64).cpu() for given in (self.weights, self.means, self.covariances)
        )
        if means.ndim != 2 or weights.shape != means.shape[:1] or covariances.shape != (*means.shape, means.shape[-1]):
            raise ValueError(
                f"A mixture needs weights (K,), means (K, D) and covariances (K, D, D), got {tuple(weights.shape)}, "
                f"{tuple(means.shape)} and {tuple(covariances.shape)}."
            )
        if not bool((weights >= 0).all()) or not weights.sum() > 0:
            raise ValueError("The weights of a mixture must be at least 0, with one of them above 0.")
        # In the axes of S_k the noisy covariance is diagonal at every noise level, so that no matrix is ever inverted.
        spectrum, axes = torch.linalg.eigh(covariances)
        if not bool((spectrum > 0).all()) or not torch.allclose(covariances, covariances.mT):
            raise ValueError("A covariance must be symmetric with eigenvalues above 0: else there is no density.")
        for name, value in (
            ("weights", weights / weights.sum()), ("means", means), ("covariances", covariances),
            ("spectrum", spectrum), ("axes", axes),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n D"]:
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means[k] + torch.einsum("nij,nj->ni", self.axes[k] * self.spectrum[k].sqrt()[:, None], noise)

    def log_prob(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
        """log p(x), nats for the whole vector: divide by D for nats per dimension."""
        clean = torch.ones(len(x), dtype=torch.float64)
        return self._look(x, clean)[0].logsumexp(1)

    def noisy_log_prob(
        self, z_t: Float[Tensor, "B D"], t: Float[Tensor, "B"], process: GaussianProcess
    ) -> Float[Tensor, "B"]:
        """log q(z_t), the law of noisy vectors at t."""
        return self._look(z_t, level(process, t))[0].logsumexp(1)

    def score(self, z_t: Float[Tensor, "B D"], t: Float[Tensor, "B"], process: GaussianProcess) -> Float[Tensor, "B D"]:
        """The gradient of log q(z_t) by z_t. With x_hat = E[x | z_t] it is (sqrt(alpha_t) x_hat - z_t) / (1 - alpha_t)
        (Tweedie).
        """
        log_joint, along, noisy = self._look(z_t, level(process, t))
        pull = -torch.einsum("kij,bkj->bki", self.axes, along / noisy)
        return torch.einsum("bk,bki->bi", log_joint.softmax(1), pull)

    def posterior(
        self, z_t: Float[Tensor, "B D"], t: Float[Tensor, "B"], process: GaussianProcess
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        """E[x | z_t] and Var[x | z_t], coordinate by coordinate: the best denoiser and what even it gets wrong."""
        alpha = level(process, t)
        log_joint, along, noisy = self._look(z_t, alpha)
        alpha, share = alpha[:, None, None], log_joint.softmax(1)[..., None]
        mean = self.means + torch.einsum("kij,bkj->bki", self.axes, alpha.sqrt() * self.spectrum / noisy * along)
        within = torch.einsum("kij,bkj->bki", self.axes**2, (1 - alpha) * self.spectrum / noisy)
        overall = (share * mean).sum(1)
        return overall, (share * (within + (mean - overall[:, None]) ** 2)).sum(1)

    def denoiser(self, process: GaussianProcess) -> Callable[..., Tensor]:
        """denoise(z_t, t, previous=None) -> E[x | z_t], in the dtype and on the device of z_t."""

        def denoise(z_t, t, previous=None):
            return self.posterior(z_t, t, process)[0].to(z_t)

        return denoise

    def _look(self, z, alpha: Float[Tensor, "B"]) -> tuple[Tensor, Tensor, Tensor]:
        """log w_k q(z | k) (B, K); z less the mean of k, in the axes of k, and the variances there, (B, K, D)."""
        if z.ndim != 2 or z.shape[1] != self.means.shape[1]:
            raise ValueError(f"The vectors have shape {tuple(z.shape)} but must be (B, {self.means.shape[1]}).")
        alpha = alpha[:, None, None]
        off = z.detach().cpu().double()[:, None] - alpha.sqrt() * self.means
        along = torch.einsum("kij,bki->bkj", self.axes, off)
        noisy = alpha * self.spectrum + (1 - alpha)
        log_normal = -0.5 * (along**2 / noisy + (2 * math.pi * noisy).log()).sum(-1)
        return self.weights.log() + log_normal, along, noisy


def gaussian_data(mean: Float[Tensor, "D"], covariance: Float[Tensor, "D D"]) -> GaussianMixture:
    """Gaussian data N(mean, covariance): the mixture of one."""
    mean, covariance = (torch.as_tensor(given, dtype=torch.float64) for given in (mean, covariance))
    return GaussianMixture(torch.ones(1), mean[None], covariance[None])


def level(process: GaussianProcess, t: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    return process.alpha(t.detach().cpu())
