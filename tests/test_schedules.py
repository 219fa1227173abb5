"""Schedules: exact derivatives, ends, monotony, and the inverse."""

import pytest
import torch

from difflm_core.processes import Cosine, CosineBeta, Linear, LinearBeta, ShiftedCosine, Sqrt, time_of
from difflm_core.processes.schedules import check_times

SCHEDULES = [Linear(), Cosine(), Sqrt(), ShiftedCosine(), ShiftedCosine(9.0), LinearBeta(), CosineBeta()]
ENDS = {Sqrt(): (0.99, 0.0), LinearBeta(): (1.0, 4.3e-5)}  # all others: 1 and 0


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_derivative_is_the_derivative(schedule):
    t = torch.linspace(0.001, 0.999, 401, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(schedule.alpha(t).sum(), t)
    torch.testing.assert_close(schedule.dalpha(t), slope, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_falls_from_data_to_noise(schedule, dtype):
    alpha = schedule.alpha(torch.linspace(0, 1, 1001, dtype=dtype))
    start, end = ENDS.get(schedule, (1.0, 0.0))
    assert alpha[0].item() == pytest.approx(start, abs=1e-6) and alpha[-1].item() == pytest.approx(end, abs=1e-6)
    assert bool((alpha.diff() <= 0).all()) and bool((alpha >= 0).all()) and bool((alpha <= 1).all())


def test_known_values():
    """Worked by hand: MD4's cosine at the middle, tan-9 at the middle (1 / 82), DDPM's end."""
    half, one = torch.tensor(0.5, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    assert Cosine().alpha(half).item() == pytest.approx(1 - 0.5**0.5)
    assert ShiftedCosine(9.0).alpha(half).item() == pytest.approx(1 / 82)
    assert LinearBeta().alpha(one).item() == pytest.approx(torch.tensor(-10.05).exp().item())
    assert Sqrt().alpha(half).item() == pytest.approx(1 - 0.5001**0.5)


def test_shifted_cosine_lowers_the_log_snr_evenly():
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    shift = torch.logit(ShiftedCosine(9.0).alpha(t)) - torch.logit(ShiftedCosine(1.0).alpha(t))
    torch.testing.assert_close(shift, torch.full_like(t, -2 * torch.tensor(9.0).double().log().item()))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_time_of_inverts_alpha(schedule):
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    torch.testing.assert_close(time_of(schedule, schedule.alpha(t)), t, rtol=0, atol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_time_of_stays_inside_where_alpha_is_out_of_reach(schedule):
    t = time_of(schedule, torch.tensor([1.0, 0.0]))
    assert bool(((t >= 0) & (t <= 1)).all())


@pytest.mark.parametrize("t", [-0.01, 1.01, float("nan"), float("inf")])
def test_times_outside_the_unit_interval_are_refused(t):
    with pytest.raises(ValueError, match=r"t must lie in \[0, 1\]"):
        check_times(torch.tensor([0.5, t]))


def test_the_ends_and_an_empty_batch_are_allowed():
    check_times(torch.tensor([0.0, 1.0]))
    check_times(torch.tensor([]))
