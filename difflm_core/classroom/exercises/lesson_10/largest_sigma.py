"""Exercise 10.1: how much may be taken back in a step? The largest sigma that leaves every probability in [0, 1]."""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import close

# alpha_t from 0 (all masks) upwards, and a quarter of the way, then most of the way, to 1
ALPHA_T = torch.tensor([0.0, 0.1, 0.3, 0.5, 0.7, 0.9] * 2, dtype=torch.float64)
RISE = torch.tensor([0.25] * 6 + [0.8] * 6, dtype=torch.float64)
ALPHA_S = ALPHA_T + RISE * (1 - ALPHA_T)


def right(alpha_t, alpha_s):
    return torch.minimum(torch.ones_like(alpha_t), (1 - alpha_s) / alpha_t)


def answer(largest_sigma) -> Tensor:
    return torch.as_tensor(largest_sigma(ALPHA_T.clone(), ALPHA_S.clone()))


def test(largest_sigma):
    value, truth = answer(largest_sigma), right(ALPHA_T, ALPHA_S)
    assert value.shape == truth.shape, f"Return one bound for each step, shaped {tuple(truth.shape)}."
    assert not bool(value.isnan().any()), "NaN: at alpha_t = 0 nothing is visible, and any sigma up to 1 will do."
    worst = int((value - truth).abs().argmax())
    assert close(value, truth), (
        f"From alpha_t = {ALPHA_T[worst]:.2f} to alpha_s = {ALPHA_S[worst]:.3f} the bound is {truth[worst]:.4f}; yours"
        f" is {float(value[worst]):.4f}."
    )


def is_like(wrong):
    """A probe: the attempt gives what `wrong` gives, wherever that is a number."""

    def probe(largest_sigma):
        expected = wrong(ALPHA_T, ALPHA_S)
        numbers = expected.isfinite()
        return close(answer(largest_sigma).expand(ALPHA_T.shape)[numbers], expected[numbers])

    return probe


MISTAKES = [
    (
        is_like(lambda at, as_: (1 - as_) / at),
        "Values above 1: early on sigma is bounded by being a probability itself. Take the smaller of the two.",
    ),
    (
        is_like(lambda at, as_: ((1 - as_) / at).clamp_min(1)),
        "You take the larger of the two bounds. Both must hold: take the smaller.",
    ),
    (
        is_like(lambda at, as_: 1 - as_),
        "That is the star step's sigma, which is always allowed. One may take back more than that: solve"
        " rho <= 1 for sigma.",
    ),
    (
        is_like(lambda at, as_: (as_ - at) / at),
        "That is the forward-backward corrector's sigma, one choice among many. The bound comes from rho <= 1.",
    ),
    (
        is_like(lambda at, as_: ((as_ - at) / at).clamp_max(1)),
        "That is the forward-backward corrector's sigma, one choice among many. The bound comes from rho <= 1.",
    ),
    (
        is_like(lambda at, as_: (1 - as_) / (1 - at)),
        "That is the share of masks that MDLM leaves masked. Take the equation for rho, set it to 1, solve for"
        " sigma: you divide by alpha_t.",
    ),
    (
        is_like(lambda at, as_: ((1 - at) / as_).clamp_max(1)),
        "alpha_t and alpha_s are swapped: s is the later level of visibility, the larger one.",
    ),
    (
        is_like(lambda at, as_: torch.ones_like(at)),
        "1 is not always allowed: who takes back everything near the end cannot reveal enough to reach alpha_s.",
    ),
    (
        is_like(lambda at, as_: 1 - as_ / at),
        "That comes from rho >= 0, which always holds, since alpha_s >= alpha_t. The other side binds: rho <= 1.",
    ),
]

ex10_1 = Check(
    "10.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "rho = (alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t) must not exceed 1. It grows with sigma.",
        "Set it to 1: alpha_s - alpha_t + sigma alpha_t = 1 - alpha_t. What is sigma?",
        "(1 - alpha_s) / alpha_t, and sigma is a probability itself: the smaller of that and 1.",
    ],
    reference=right,
    praise="The bound is what is to be masked at s over what is visible at t.",
)
