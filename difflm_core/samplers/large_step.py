"""LD4LG's way to step: the posterior's mean with x_hat, and the larger of DDPM's two variances."""

from jaxtyping import Float
from torch import Tensor

from difflm_core.objectives.gaussian_variance import fixed_large
from difflm_core.samplers.gaussian import model_step


def large_step(process, z_t, x_hat, s, t, generator=None) -> Float[Tensor, "B *D"]:
    """Draw z_s with variance 1 - alpha_{t|s} (LD4LG, App. A); `ancestral_step` has the posterior's, which is smaller.
    They differ in the last steps and with few steps; a `step` for `sample_latents`.
    """
    return model_step(process, z_t, x_hat, s, t, fixed_large, generator)
