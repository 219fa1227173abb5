"""Steps are not calls: what a remasking sampler costs, so that samplers can be compared at equal network calls.

An unguided step is one call of the denoiser. A guided step with a learned predictor is two: the denoiser fills the
masks, the predictor reads the result. The last step has nothing to take back and needs one. With t_on = 0.3, then, T
steps cost about 1.3 T calls.
"""

from difflm_core.samplers.plans import check_steps
from difflm_core.samplers.remask_rules import Rule


def calls_needed(rule: Rule, T: int) -> int:
    """The most network calls that a row can need in T steps. It may need fewer: a step that reveals nothing in a row
    calls nothing for it.
    """
    check_steps(T)
    has_network = rule.guide is not None and rule.guide.network is not None
    return T + (sum(rule.during(step / T) for step in range(2, T + 1)) if has_network else 0)


def steps_for_calls(rule: Rule, calls: int) -> int:
    """The largest number of steps T whose `calls_needed` is at most `calls`: the way to give every sampler the same
    budget.
    """
    if calls < 1:
        raise ValueError(f"Nothing can be sampled with {calls} network calls: give at least 1.")
    return next(T for T in range(calls, 0, -1) if calls_needed(rule, T) <= calls)
