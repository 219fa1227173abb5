"""G-Star: choose what to take back, instead of tossing coins (Meshchaninov, Shibaev et al. 2025, guided step).

A guided step from t to s: (1) fill every mask, which gives a complete draft; (2) score each position of it; (3) mask
the N_s = ceil((1 - alpha_s) L) positions that win a noisy contest of scores, score / temperature + Gumbel noise. That
is drawing N_s positions without replacement in proportion to exp(score / temperature): temperature 0 takes the N_s
largest, infinity is the plain star step with an exact count.

`gstar` scores with a learned error predictor, a second network pass. `random_remask` and `confidence_remask` are the
controls: same step, same count, no second pass. What happens then is due to the score alone.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models import Denoiser, ErrorPredictor
from difflm_core.models.error_predictor import check_fits
from difflm_core.samplers.remask_rules import Guide, Rule, remdm_switch


def gstar(error_predictor: ErrorPredictor, t_on: float = 0.3, temperature: float = 1.0) -> Rule:
    """MDLM until t_on; after it remask what the error predictor thinks is wrong. Two network calls per guided step.

    Give it to `star_loop` as the inner rule, with t_on = 1, for the loop variant.
    """
    check_temperature(temperature)
    return remdm_switch(
        t_on,
        Rule(guide=Guide(lambda draft, written: error_predictor.error_logits(draft), temperature, error_predictor)),
    )


def random_remask(t_on: float = 0.3) -> Rule:
    """Control: the same exact count at random positions."""
    return remdm_switch(t_on, Rule(guide=Guide(lambda draft, written: torch.zeros_like(written))))


def confidence_remask(t_on: float = 0.3, temperature: float = 0.0) -> Rule:
    """Control: remask the tokens that the denoiser was least sure of when it wrote them (score -log p; MaskGIT's and
    LLaDA's criterion).

    The probability at writing time costs nothing, and it is the only one that this denoiser was trained to give: its
    answer at a visible position is not.
    """
    check_temperature(temperature)
    return remdm_switch(t_on, Rule(guide=Guide(lambda draft, written: -written.log(), temperature)))


def remask_count(alpha_s: Float[Tensor, ""], free: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
    """N_s = ceil((1 - alpha_s) L), where L counts the positions that are free to change: a prompt (or padding) takes
    no part.

    A hair is taken off first: (1 - 0.7) * 10 is 3.0000000000000004 in floating point, and would be rounded up to 4.
    """
    return ((1 - alpha_s).double() * free - 1e-9).ceil().long().clamp_min(0)


def gumbel_top_k(
    score: Float[Tensor, "B L"],
    count: Int[Tensor, "B"],
    temperature: float,
    allowed: Bool[Tensor, "B L"],
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "B L"]:
    """Draw `count` of the allowed positions per row without replacement, in proportion to exp(score / temperature).

    temperature = 0 takes the largest scores, ties at random; infinity takes any. Where fewer than `count` are
    allowed, all of them.
    """
    noise = -torch.empty(score.shape, dtype=torch.float64, device=score.device).exponential_(generator=generator).log()
    key = score.double() if temperature == 0 else score.double() / temperature + noise
    key = key.masked_fill(~allowed, -torch.inf)
    order = (noise.masked_fill(~allowed, -torch.inf)).argsort(dim=1, descending=True)  # decides between equal keys
    order = order.gather(1, key.gather(1, order).argsort(dim=1, descending=True, stable=True))
    return (order.argsort(dim=1) < count[:, None]) & allowed


def check_predictor(rule: Rule, denoiser: Denoiser, shape: tuple[int, int]) -> None:
    """Refuse a rule whose predictor was made for another vocabulary or a shorter canvas."""
    if rule.guide is not None and rule.guide.network is not None:
        check_fits(rule.guide.network, denoiser.V, shape[1])


def check_temperature(temperature: float) -> None:
    if math.isnan(temperature) or temperature < 0:
        raise ValueError(
            f"The remasking temperature must be at least 0 (0: largest scores; inf: any position), got {temperature}."
        )
