"""Rules: how much a remasking sampler takes back, and when.

A rule has four parts. `sigma` says how likely a visible token is masked again (`remdm_posterior`), looking at a
`Moment`. `during` says at which times the rule is active: outside it the step is MDLM's ancestral one, sigma = 0.
`clock` bends time, so that the level alpha can be held while tokens are exchanged. `guide`, if there is one, replaces
the coin flips by a choice of exactly so many positions (guided.py).

ReMDM (Wang et al. 2025): cap, rescale, conf, switch, loop. Star and Star+ (Meshchaninov, Shibaev et al. 2025) are
sigma = 1 - alpha_s. The forward-backward and DFM correctors are two more choices of sigma (ReMDM Prop. 4.2 and 4.3).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import ErrorPredictor
from difflm_core.processes import Schedule, time_of
from difflm_core.samplers.remdm_posterior import sigma_max


@dataclass(frozen=True)
class Moment:
    """What sigma may depend on: the step from t to s on the grid, the `time` that the rule's clock shows at t, the
    levels there (float64 scalars), and for every token the probability with which it was last written, (B, L), NaN
    where there is a mask or a prompt.
    """

    t: float
    s: float
    time: float
    alpha_t: Float[Tensor, ""]
    alpha_s: Float[Tensor, ""]
    written: Float[Tensor, "B L"]


@dataclass(frozen=True)
class Guide:
    """Chooses what to remask in a complete draft: the larger the score, the sooner (`gumbel_top_k` with
    `temperature`).

    `score(draft, written)` maps tokens (B, L) and the probabilities they were written with to (B, L). `network`, if
    the score calls one, is counted as a call.
    """

    score: Callable[[Int[Tensor, "B L"], Float[Tensor, "B L"]], Float[Tensor, "B L"]]
    temperature: float = 1.0
    network: ErrorPredictor | None = None


def never(now: Moment) -> float:
    return 0.0


def always(t: float) -> bool:
    return True


def straight(schedule: Schedule) -> Callable[[float], float]:
    return lambda t: t


@dataclass(frozen=True)
class Rule:
    """Remask with probability `sigma`, or by a `guide`, at the times t (the beginning of a step) where `during` is
    true.
    """

    sigma: Callable[[Moment], Float[Tensor, "*#BL"] | float] = never
    guide: Guide | None = None
    during: Callable[[float], bool] = always
    clock: Callable[[Schedule], Callable[[float], float]] = straight


def remdm(sigma: float | Callable[[Moment], Float[Tensor, "*#BL"] | float]) -> Rule:
    """Any sigma: a number, or a function of the `Moment`. Above its bound the sampler stops with an error. remdm(0.0)
    is MDLM.
    """
    return Rule(sigma if callable(sigma) else lambda now: sigma)


def remdm_cap(eta: float = 0.04) -> Rule:
    """sigma = min(eta, sigma_max). The paper's setting for few steps (T < L) is 0.04."""
    check_share("eta", eta)
    return Rule(lambda now: sigma_max(now.alpha_t, now.alpha_s).clamp_max(eta))


def remdm_rescale(eta: float = 0.015) -> Rule:
    """sigma = eta sigma_max."""
    check_share("eta", eta)
    return Rule(lambda now: eta * sigma_max(now.alpha_t, now.alpha_s))


def remdm_conf(inner: Rule | None = None) -> Rule:
    """sigma of the inner rule (default: sigma_max), shared out over the visible tokens by softmax(-probability when
    written).

    The shares sum to 1, so this remasks at most one token a step in expectation, however long the text is. And since
    a masked position's share is 0 it is revealed at MDLM's rate: what was taken back is not made up for, and the text
    is a little emptier than alpha_s says until the last step.
    """
    inner = inner or remdm_rescale(1.0)
    if inner.guide is not None:
        raise ValueError("remdm_conf shares out the sigma of its inner rule, but a guided rule has none.")

    def sigma(now):
        share = (-now.written).masked_fill(now.written.isnan(), -torch.inf).softmax(1).nan_to_num(0.0)  # (B, L)
        return share * inner.sigma(now)

    return replace(inner, sigma=sigma)


def forward_backward() -> Rule:
    """sigma = (alpha_s - alpha_t) / alpha_t: each step is one forward in noise and two back (ReMDM Prop. 4.2); see
    `dfm`, of which this is beta = 1.
    """
    return dfm(1.0)


def dfm(beta: float = 1.0) -> Rule:
    """sigma = beta (alpha_s - alpha_t) / alpha_t, the corrector of discrete flow matching (ReMDM Prop. 4.3).

    Near t = 0 and t = 1 that passes sigma_max, for instance in the last step: there it is cut at the bound.
    """
    if not beta >= 0:
        raise ValueError(f"The corrector's strength must be at least 0, got beta = {beta}.")

    def sigma(now):
        rate = beta * (now.alpha_s - now.alpha_t) / now.alpha_t.clamp_min(torch.finfo(torch.float64).tiny)
        return torch.minimum(rate, sigma_max(now.alpha_t, now.alpha_s))

    return Rule(sigma)


def star() -> Rule:
    """sigma = 1 - alpha_s: draft the whole text, then noise it afresh to the level of s.

    Early on it throws most of its drafts away (hence `star_plus`), and since a whole share of the text is redrawn at
    once in each step, its error with a perfect denoiser falls as T^(-1/2), where MDLM's falls as 1/T.
    """
    return Rule(lambda now: 1 - now.alpha_s)


def remdm_switch(t_switch: float, inner: Rule) -> Rule:
    """The inner rule in steps that begin at t <= t_switch, MDLM before (the paper has <: a difference only where the
    grid meets t_switch).
    """
    check_share("t_switch", t_switch)
    return replace(inner, during=lambda t: t <= t_switch and inner.during(t))


def star_plus(t_on: float = 0.3) -> Rule:
    """Star+: MDLM until t_on, star steps after it."""
    return remdm_switch(t_on, star())


def remdm_loop(t_on: float = 0.55, t_off: float = 0.05, alpha_on: float = 0.9, inner: Rule | None = None) -> Rule:
    """MDLM up to the level alpha_on, which is held from t_on to t_off while the inner rule exchanges tokens, then
    MDLM to the end.

    The inner rule is cap(0.02) by default. A step of the plateau reveals as many tokens as it masks, sigma alpha_on
    of them.
    """
    if not 0 <= t_off < t_on < 1 or not 0 < alpha_on < 1:
        raise ValueError(
            f"A loop needs 0 <= t_off < t_on < 1 and alpha_on in (0, 1), got {t_on=}, {t_off=}, {alpha_on=}."
        )
    inner = inner or remdm_cap(0.02)

    def clock(schedule):
        held = time_of(schedule, torch.tensor(alpha_on, dtype=torch.float64)).item()

        def time(t):
            if t > t_on:
                return 1 - (1 - held) * (1 - t) / (1 - t_on)
            return held if t > t_off or not t_off else held * t / t_off

        return time

    return replace(inner, during=lambda t: t_off < t <= t_on and inner.during(t), clock=clock)


def star_loop(t_on: float = 0.55, t_off: float = 0.05, inner: Rule | None = None) -> Rule:
    """Star's loop: like `remdm_loop`, with MDLM's two phases at equal speed, which puts the plateau at alpha_on = (1
    - t_on) / (1 - t_on + t_off) on the linear schedule.

    At the defaults that is 0.9, ReMDM's own setting. The inner rule is `star()` by default.
    """
    return remdm_loop(t_on, t_off, (1 - t_on) / (1 - t_on + t_off), inner or star())


def check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}.")
