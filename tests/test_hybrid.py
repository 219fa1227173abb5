"""Hybrid and uniform noise: exact masses and rates, Markov, Bayes, and a reverse chain that is what enumeration
says.
"""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from difflm_core.processes import Cosine, HybridSchedule, Linear, hybrid, masked, uniform
from difflm_core.samplers import sample_discrete

V = 4
PROCESSES = {
    "hybrid 0.1": hybrid(V, 0.1),
    "hybrid 0.5": hybrid(V, 0.5),
    "hybrid gamma 2": hybrid(V, 0.2, gamma=2.0),
    "uniform": uniform(V, Linear()),
    "uniform cosine": uniform(V, Cosine()),
    "masked": masked(V, Linear()),
}
each_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


def time(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def transition(process, s, t):
    """q(z_t | z_s) as a (K, K) row-stochastic matrix, from raw masses: nothing is clipped, so a negative entry would
    show.
    """
    (alpha_s, mask_s, uniform_s), (alpha_t, mask_t, uniform_t) = process.masses(time(s)), process.masses(time(t))
    kept = alpha_t / alpha_s
    arrival = torch.cat([((uniform_t - kept * uniform_s) / process.V).expand(process.V), mask_t - kept * mask_s])
    return kept * torch.eye(process.V + 1, dtype=torch.float64) + arrival


def chi_square_excess(counts, p):
    """How many standard deviations Pearson's statistic lies above its mean."""
    expected, seen = (counts.sum() * p)[p > 0], counts[p > 0].double()
    assert counts[p == 0].sum() == 0
    freedom = len(expected) - 1
    return (((seen - expected) ** 2 / expected).sum().item() - freedom) / math.sqrt(2 * max(freedom, 1))


@each_process
def test_masses_sum_to_one_and_are_finite_at_the_ends(process):
    for dtype in (torch.float32, torch.float64):
        alpha, mask_mass, uniform_mass = process.masses(time(0, 1e-7, 0.3, 0.5, 1 - 1e-6, 1, dtype=dtype))
        assert all(bool(((mass >= 0) & mass.isfinite()).all()) for mass in (alpha, mask_mass, uniform_mass))
        assert torch.allclose(alpha + mask_mass + uniform_mass, torch.ones_like(alpha), atol=1e-6)
        assert alpha[0].item() == pytest.approx(1, abs=1e-7) and alpha[-1].item() == pytest.approx(0, abs=1e-7)
        assert all(bool(rate.isfinite().all()) for rate in process.jump_rates(time(0, 0.5, 1, dtype=dtype)))


@pytest.mark.parametrize("p_u", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_at_half_time_p_uniform_is_what_it_says(p_u, gamma):
    alpha, mask_mass, uniform_mass = hybrid(V, p_u, gamma).masses(time(0.5))
    assert uniform_mass.item() == pytest.approx(p_u, abs=1e-15)
    assert alpha.item() == mask_mass.item() == pytest.approx((1 - p_u) / 2, abs=1e-15)


def test_without_uniform_share_it_is_the_masked_process():
    process, reference = hybrid(V, 0.0), masked(V, Linear())
    assert process.schedule == reference.schedule and not process.has_uniform
    x, t = torch.randint(V, (64, 8)), torch.rand(64)
    draws = [p.corrupt(x, t, torch.Generator().manual_seed(1)) for p in (process, reference)]
    assert torch.equal(*draws)
    assert all(torch.equal(*pair) for pair in zip(process.masses(t), reference.masses(t)))


def test_the_other_normalisation_is_the_same_family():
    """c~ 1 over all N symbols with C = 1 + N c~: the mask gets 1/N of the random share."""
    t, N, p_u = torch.linspace(0.05, 0.95, 7, dtype=torch.float64), V + 1, 0.3
    tilde = 2 * p_u / (N * (1 - p_u)) * (t * (1 - t)).sqrt()
    C = 1 + N * tilde
    ours = HybridSchedule(p_u)
    assert torch.allclose(ours.alpha(t), (1 - t) / C)
    per_token, mask_share = tilde / C, (t + tilde) / C
    _, mask_mass, uniform_mass = hybrid(V, p_u).masses(t)
    random_share = N * per_token
    assert torch.allclose(uniform_mass, random_share)  # the same share of draws from u ...
    assert torch.allclose(mask_share - mask_mass, random_share / N)  # ... but theirs lands on the mask once in N


@each_process
def test_dalpha_is_the_derivative(process):
    t = torch.linspace(0.01, 0.99, 25, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(process.schedule.alpha(t).sum(), t)
    assert torch.allclose(process.schedule.dalpha(t), slope, rtol=1e-10)
    assert bool(process.schedule.dalpha(time(0, 1, dtype=torch.float32)).isfinite().all())


@each_process
def test_jump_rates_are_the_limit_of_small_steps(process):
    t, h = torch.linspace(0.05, 0.9, 12, dtype=torch.float64), 1e-6
    _, mask_jump, uniform_jump = process.between(t - h / 2, t + h / 2)
    to_mask, to_random = process.jump_rates(t)
    assert torch.allclose(mask_jump / h, to_mask, rtol=1e-4, atol=1e-6)
    assert torch.allclose(uniform_jump / h, to_random, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_jump_rates_of_hybrid_in_closed_form(gamma):
    """Onto the mask at 1 / ((1 - t) C), onto random tokens at (c / (1 - t) + c') / C."""
    t = torch.tensor([1e-6, 0.01, 0.3, 0.5, 0.8, 0.999, 1 - 1e-6], dtype=torch.float64)
    c = HybridSchedule(0.2, gamma).c(t)
    slope = gamma / 2 * (1 - 2 * t) / (t * (1 - t)) * c
    to_mask, to_random = hybrid(V, 0.2, gamma).jump_rates(t)
    assert torch.allclose(to_mask, 1 / ((1 - t) * (1 + c)), rtol=1e-9)
    assert torch.allclose(to_random, (c / (1 - t) + slope) / (1 + c), rtol=1e-8, atol=1e-8)


times = st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3, unique=True).map(sorted)


@given(times, st.floats(0.0, 0.95), st.floats(0.05, 2.0))
def test_hybrid_is_markov(rst, p_u, gamma):
    """Every step is a stochastic matrix, and two steps in a row are the one step over both (Chapman-Kolmogorov)."""
    r, s, t = rst
    process = hybrid(V, p_u, gamma)
    if process.masses(time(s))[0] < 1e-6:
        return  # alpha_t / alpha_s is 0 / 0 in the end
    first, second, whole = transition(process, r, s), transition(process, s, t), transition(process, r, t)
    for matrix in (first, second, whole):
        assert bool((matrix > -1e-9).all()) and torch.allclose(matrix.sum(1), torch.ones(V + 1, dtype=torch.float64))
    assert torch.allclose(first @ second, whole, atol=1e-9)
    assert torch.allclose(process.marginal(torch.arange(V)[None], time(s))[0] @ second,
                          process.marginal(torch.arange(V)[None], time(t))[0], atol=1e-9)  # fmt: skip


def test_a_steeper_rise_would_not_be_a_markov_process():
    schedule = HybridSchedule(0.5, gamma=3.0)
    s, t = time(0.9), time(0.95)
    share = [schedule.c(u) / (1 + schedule.c(u)) for u in (s, t)]
    assert (share[1] - schedule.alpha(t) / schedule.alpha(s) * share[0]).item() < 0
    with pytest.raises(ValueError, match="gamma must lie in"):
        hybrid(V, 0.5, gamma=3.0)


@each_process
@pytest.mark.parametrize("s, t", [(0.0, 0.4), (0.3, 0.6), (0.7, 1.0)])
def test_posterior_is_bayes(process, s, t):
    """Against q(z_s | x) q(z_t | z_s) / q(z_t | x) from full matrices, for clean ids and for a predicted mixture."""
    K = V + 1
    step = transition(process, s, t)  # (K, K)
    x_hat = torch.rand(1, V, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(-1)
    for clean in (torch.eye(V, dtype=torch.float64), x_hat):
        start = process.marginal(clean[:, None], time(s).expand(len(clean)))[:, 0]  # (n, K)
        joint = start[:, :, None] * step  # (n, z_s, z_t)
        for row, z in itertools.product(range(len(clean)), range(K)):
            if joint[row, :, z].sum() < 1e-12:
                continue  # such a z_t cannot happen
            bayes = joint[row, :, z] / joint[row, :, z].sum()
            x = torch.tensor([[row]]) if clean is not x_hat else x_hat[None]
            ours = process.posterior(torch.tensor([[z]]), x, time(s), time(t))[0, 0]
            assert torch.allclose(ours, bayes, atol=1e-9)


def test_posterior_keeps_what_it_cannot_explain():
    """A visible word at t = 1 of hybrid noise, or a prediction that excludes the visible token: no NaN, no other
    token.
    """
    x_hat = torch.tensor([[[1.0, 0, 0, 0]]])
    for process, z, s, t in ((hybrid(V, 0.2), 2, 0.5, 1.0), (masked(V), 2, 0.2, 0.5)):
        z_t = torch.tensor([[z]])
        args = x_hat, time(s, dtype=torch.float32), time(t, dtype=torch.float32)
        assert process.posterior(z_t, *args)[0, 0, z] == 1
        assert torch.equal(process.step(z_t, *args), z_t)


@each_process
@pytest.mark.parametrize("t", [0.02, 0.5, 0.97])
def test_corrupt_draws_from_the_marginal(process, t):
    n = 40_000
    x = torch.full((n, 1), 1)
    z_t = process.corrupt(x, torch.full((n,), t), torch.Generator().manual_seed(3))
    p = process.marginal(x[:1], time(t))[0, 0]
    assert chi_square_excess(z_t.flatten().bincount(minlength=V + 1), p) < 5


@each_process
def test_step_draws_from_the_posterior(process):
    n, s, t = 20_000, 0.35, 0.6
    x_hat = torch.tensor([0.6, 0.3, 0.1, 0.0], dtype=torch.float64)
    for z in range(V + 1):
        z_t = torch.full((n, 1), z)
        p = process.posterior(z_t[:1], x_hat[None, None], time(s), time(t))[0, 0]
        if process.marginal(x_hat[None, None], time(t))[0, 0, z] == 0:
            continue
        start, end, generator = time(s).expand(n), time(t).expand(n), torch.Generator().manual_seed(z)
        z_s = process.step(z_t, x_hat.expand(n, 1, V), start, end, generator)
        assert chi_square_excess(z_s.flatten().bincount(minlength=V + 1), p) < 5


class Table:
    """A denoiser that answers from a table of logits (K^L, L, V) over all noisy texts; at later times more sharply."""

    def __init__(self, V, L, seed=0):
        self.V, self.L, self.seen = V, L, []
        self.table = torch.randn((V + 1) ** L, L, V, generator=torch.Generator().manual_seed(seed))

    def hidden(self, z_t, t):
        self.seen.append(t[0].item())
        code = (z_t * (self.V + 1) ** torch.arange(self.L)).sum(1)
        return self.table[code].to(t.dtype) * (2 - t[:, None, None])

    def logits(self, h):
        return h


def enumerate_chain(process, denoiser, T, L):
    """The exact distribution of the T-step sampler's text, by pushing probabilities over all K^L noisy texts."""
    states = torch.tensor(list(itertools.product(range(process.V + 1), repeat=L)))
    ones = torch.ones(len(states), dtype=torch.float64)
    prior = process.marginal(torch.zeros(1, L, dtype=torch.long), time(1.0))[0]  # (L, K)
    p = prior.gather(1, states.T).prod(0)
    for step in range(T, 0, -1):
        s, t = ones * ((step - 1) / T), ones * (step / T)
        x_hat = denoiser.logits(denoiser.hidden(states, t)).softmax(-1)
        move = process.posterior(states, x_hat, s, t)  # (n, L, K)
        p = p @ torch.stack([move[:, i][:, states[:, i]] for i in range(L)]).prod(0)
    return states, p


@pytest.mark.parametrize("process", [hybrid(3, 0.3), uniform(3), masked(3)], ids=["hybrid", "uniform", "masked"])
def test_the_reverse_sampler_is_the_enumerated_chain(process):
    T, L, n = 3, 2, 40_000
    denoiser = Table(3, L)
    states, p = enumerate_chain(process, denoiser, T, L)
    denoiser.seen.clear()
    sample = sample_discrete(process, denoiser, T, (n, L), generator=torch.Generator().manual_seed(0))
    assert denoiser.seen == pytest.approx([1, 2 / 3, 1 / 3])  # T updates at t = 1, ..., 1/T, and the last one ends at 0
    assert bool((sample.network_calls == T).all())
    code = (sample.tokens * 4 ** torch.tensor([1, 0])).sum(1)  # the order of itertools.product
    assert bool((states[p > 0] < 3).all())  # no mask survives
    assert chi_square_excess(code.bincount(minlength=len(p)), p) < 5


def test_a_prompt_stays_under_hybrid_noise():
    prompt = torch.tensor([[1, 3, 3, 2]])  # 3 is the mask
    generator = torch.Generator().manual_seed(0)
    sample = sample_discrete(hybrid(3, 0.3), Table(3, 4), 5, (1, 4), prompt, generator, record=True)
    assert len(sample.trajectory) == 6
    assert all(frame.tokens[0, 0] == 1 and frame.tokens[0, 3] == 2 for frame in sample.trajectory)


@pytest.mark.parametrize("p_u", [1.0, 1.5, -0.1, math.nan])
def test_p_uniform_outside_its_range_is_refused(p_u):
    with pytest.raises(ValueError, match="p_uniform is the share of random tokens"):
        hybrid(V, p_u)


def test_times_outside_0_to_1_are_refused():
    with pytest.raises(ValueError, match="t must lie in"):
        hybrid(V, 0.1).corrupt(torch.zeros(1, 2, dtype=torch.long), time(1.2))
    with pytest.raises(ValueError, match="s < t"):
        ids = torch.zeros(1, 2, dtype=torch.long)
        uniform(V).posterior(ids, ids, time(0.5), time(0.5))
