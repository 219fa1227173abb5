"""Weights to train GIDD with: the bound's own, w_t(z, x), explode at both ends of time, and so would the gradients.

Each function here returns a weighting: a function of (w, process, x, z_t, t) that gives the weights (B, L) to use
instead of w.
"""

from difflm_core.processes.discrete import inside


def clamped(w_max: float = 1.0):
    """min(w, w_max) (von Ruette et al. 2025). It changes how masks, wrong and right tokens weigh against
    each other, and with it the optimum.
    """
    check_w_max(w_max)

    def weighting(w, process, x, z_t, t):
        return w.clamp_max(w_max)

    return weighting


def dynamic(w_max: float = 1.0):
    """The paper's Eq. 9: 2 w_max on a mask, w_max on a wrong token, w_max B / N exp(-lambda_t / 2) on a right one,
    lambda_t = log(alpha_t / (1 - alpha_t)).

    N is V here, the tokens that noise can write. The paper's last factor grows without bound as t -> 1; we stop it at
    1, which the exact ratio (`relative`) never passes. For masks alone B = 0. Raises ValueError for processes that have
    no B, such as `uniform`.
    """
    check_w_max(w_max)

    def weighting(w, process, x, z_t, t):
        B = getattr(process.schedule, "B", None) if process.has_uniform else 0.0
        if B is None:
            raise ValueError("Dynamic weights belong to `hybrid` and `masked`: take relative(w_max) for the others.")
        alpha = process.masses(inside(t))[0][:, None]
        right = (B / process.V * ((1 - alpha) / alpha).sqrt()).clamp_max(1)
        factor = 1.0 + (z_t == process.mask_id).to(w.dtype)
        return w_max * factor.where(z_t != x, right)

    return weighting


def relative(w_max: float = 1.0):
    """w_max times w over the weight of a wrong token at the same t: what `dynamic` approximates, exact and for any
    process with random tokens.

    This only weighs the times differently, so a perfect denoiser is still the optimum. A right token gets b / (alpha +
    b), its chance to be there by luck.
    """
    check_w_max(w_max)

    def weighting(w, process, x, z_t, t):
        if not process.has_uniform:
            raise ValueError(
                "Relative weights compare with a wrong token, and masks alone make none: take dynamic(w_max)."
            )
        uniform_mass = process.masses(inside(t))[2]
        wrong = process.jump_rates(t)[1] / uniform_mass  # (B,)
        return w_max * w / wrong[:, None]

    return weighting


def check_w_max(w_max: float) -> None:
    if not 0 < w_max < float("inf"):
        raise ValueError(f"The largest weight must be positive and finite, got w_max = {w_max}.")
