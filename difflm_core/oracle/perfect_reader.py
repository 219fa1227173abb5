"""A Diffusion-LM whose network is perfect: the exact posterior of a known language under this model's own embeddings.

What such a model still gets wrong is the sampler's doing; what a trained one gets wrong beside it, the network's.
"""

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from difflm_core.oracle.evidence import EmbeddingEvidence
from difflm_core.oracle.hmm import HiddenMarkovLanguage

if TYPE_CHECKING:
    from difflm_core.models import DiffusionLM


class OwnNoise:
    """The exact evidence about words under this model's embeddings: noise of the start and of the walk together.

    z_t = sqrt(alpha) (e + sigma_0 eps) + sqrt(1 - alpha) eps' has the variance alpha sigma_0^2 + 1 - alpha around
    sqrt(alpha) e, hence 1 + alpha sigma_0^2 in all where e has 1: divided by its root it is variance-preserving again.
    """

    def __init__(self, model: "DiffusionLM"):
        self.model, self.V = model, model.V
        self.inner = EmbeddingEvidence(model.embedding, self)

    def alpha(self, t: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        alpha = self.model.process.schedule.alpha(t)
        return alpha / (1 + alpha * self.model.sigma_0**2)

    def log_evidence(self, z_t: Float[Tensor, "B L D"], t: Float[Tensor, "B"]) -> Float[Tensor, "B L V"]:
        alpha = self.model.process.schedule.alpha(t.double())
        scale = (1 + alpha * self.model.sigma_0**2).sqrt()
        return self.inner.log_evidence(z_t.double() / scale[:, None, None], t)


class PerfectReader:
    """What a perfect network would answer for this model's embeddings: p(w_i | z_t) and E[x_0 | z_t], exactly."""

    def __init__(self, model: "DiffusionLM", language: HiddenMarkovLanguage):
        self.model, self.language, self.noise = model, language, OwnNoise(model)

    def words(self, z_t: Float[Tensor, "B L D"], t: Float[Tensor, "B"]) -> Float[Tensor, "B L V"]:
        return self.language.posterior(z_t, t, self.noise)

    def x_hat(self, z_t: Float[Tensor, "B L D"], t: Float[Tensor, "B"]) -> Float[Tensor, "B L D"]:
        mean = (self.words(z_t, t) @ self.model.embedding.detach().double()).to(z_t.dtype)  # E[Emb(w) | z_t]
        alpha = self.model.process.schedule.alpha(t)[:, None, None]
        start = alpha * self.model.sigma_0**2
        # of what z_t has besides sqrt(alpha) Emb(w), this share is the start's noise, the rest the walk's
        return mean + start / (start + 1 - alpha) * (z_t / alpha.sqrt().clamp_min(1e-6) - mean)
