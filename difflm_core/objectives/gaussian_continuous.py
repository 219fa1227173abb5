"""The bound of infinitely many steps: VDM's weighted squared error (Kingma et al. 2021).

    NELBO(x) = L_T + L_0 - 1/2 integral over t in [first, 1] of SNR'(t) E |x - x_hat(z_t, t)|^2,

in eps form 1/2 gamma'(t) |eps - eps_hat|^2 with gamma = -log SNR. This is the limit of `gaussian_nelbo` with
beta-tilde, and the choice of a variance is gone: in ever shorter steps beta and beta-tilde become the same. Change the
variable from t to the SNR, and the schedule drops out: two schedules with the same SNR at `first` and at 1 have the
same bound for one denoiser of (z, SNR), and differ only in how an estimate scatters.

The chain cannot begin at the data, where the SNR is infinite and the integral diverges (the density of a point that is
known exactly is infinite too). Its first latent is z_first, and p(x | z_first) is proportional to q(z_first | x), as in
VDM: N(x; z / sqrt(alpha), 1 / SNR), which needs no network and whose mean of -log is known,

    L_0 = 1/2 log(2 pi e / SNR(first)).

For smooth data of variance v this lies log(1 + 1 / (v SNR)) / 2 above the best: 1 / (2 v SNR) nats per dimension.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.objectives.gaussian import VectorDenoiser, gaussian_prior
from difflm_core.processes.gaussian import GaussianProcess, spread
from difflm_core.processes.schedules import check_times


def gaussian_nelbo_continuous(
    process: GaussianProcess, denoise: VectorDenoiser, x: Float[Tensor, "B *D"], t: Float[Tensor, "B"],
    generator: torch.Generator | None = None, first: float = 1e-3,
) -> Float[Tensor, "B *D"]:  # fmt: skip
    """One-sample estimate, nats per dimension, unbiased over t ~ U(0, 1): t is stretched to [first, 1].

    Take first = 0 for a schedule that starts with noise (alpha(0) < 1), as `LinearLogSnr`. Elsewhere the integrand
    grows like 1/t near the data and single draws scatter much: a schedule even in log-SNR is the quiet one. Raises
    ValueError if the SNR is infinite at `first`.
    """
    check_times(t)
    if not 0 <= first < 1:
        raise ValueError(f"first, the time of the first latent, lies in [0, 1), got {first}.")
    now = first + (1 - first) * t.double()
    z_t = process.corrupt(x, now, generator)
    error = (x - denoise(z_t, now.to(t.dtype))) ** 2
    loss = spread(0.5 * (1 - first) * -snr_slope(process, now), x) * error
    start = reconstruction(process, torch.full((len(x),), first, dtype=torch.float64, device=x.device))
    return gaussian_prior(process, x) + spread(start, x) + loss


def snr_slope(process: GaussianProcess, t: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """dSNR/dt = alpha' / (1 - alpha)^2, float64, never above 0."""
    t = t.double()
    return process.schedule.dalpha(t) / (1 - process.alpha(t)) ** 2


def reconstruction(process: GaussianProcess, first: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """L_0, nats per dimension, float64."""
    log_snr = process.log_snr(first)
    if first.device.type == "cpu" and bool(torch.isposinf(log_snr).any()):
        raise ValueError("The SNR is infinite at the first latent: give first > 0, or a schedule with alpha(0) < 1.")
    return 0.5 * (math.log(2 * math.pi * math.e) - log_snr)
