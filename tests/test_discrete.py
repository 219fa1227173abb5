"""Discrete processes against matrices: every law is checked by summing over all symbols in float64, every draw by
chi-square.

A process with masses (alpha, mask, uniform) is the Markov chain with Q_t = alpha_t I + 1 c_t, where the row c_t holds
the mask's mass and uniform / V for each clean token. That matrix, its quotients and Bayes' rule are written out here
once, for any process in PROCESSES.
"""

import pytest
import torch
from enumerable import chi_square_p

from difflm_core.processes import Cosine, CosineBeta, Linear, LinearBeta, ShiftedCosine, Sqrt, hybrid, masked, uniform

V = 4
PROCESSES = {
    "masked": masked(V),
    "masked, cosine": masked(V, Cosine()),
    "masked, tan-9": masked(V, ShiftedCosine(9.0)),
    "masked, improved DDPM": masked(V, CosineBeta()),
    "uniform": uniform(V),
    "uniform, cosine": uniform(V, Cosine()),
    "hybrid 0.2": hybrid(V, 0.2),
    "hybrid 0.7": hybrid(V, 0.7, gamma=2.0),
}
every_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
TIMES = [(0.0, 0.3), (0.0, 1.0), (0.2, 0.7), (0.5, 0.500001), (0.6, 1.0)]


def at(t: float, n: int = 1) -> torch.Tensor:
    return torch.full((n,), t, dtype=torch.float64)


def chain_of(process, masses) -> torch.Tensor:
    """alpha I + 1 c, (K, K)."""
    alpha, mask_mass, uniform_mass = (mass.item() for mass in masses)
    landing = torch.full((process.V + 1,), uniform_mass / process.V, dtype=torch.float64)
    landing[process.mask_id] = mask_mass
    return alpha * torch.eye(process.V + 1, dtype=torch.float64) + landing


def matrix(process, t: float) -> torch.Tensor:
    """q(z_t = column | x = row); row V is a token that was a mask from the beginning."""
    return chain_of(process, process.masses(at(t)))


def jump_matrix(process, s: float, t: float) -> torch.Tensor:
    """q(z_t | z_s), from Q_t = Q_s Q_{t|s}."""
    return torch.linalg.solve(matrix(process, s), matrix(process, t))


def bayes(process, s: float, t: float) -> torch.Tensor:
    """q(z_s | z_t, x) as (x, z_t, z_s), by enumerating z_s; NaN where z_t is impossible."""
    joint = matrix(process, s)[: process.V, None, :] * jump_matrix(process, s, t).T[None]  # (x, z_t, z_s)
    return joint / joint.sum(-1, keepdim=True)


@every_process
def test_masses_sum_to_one(process):
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    masses = torch.stack(process.masses(t))
    torch.testing.assert_close(masses.sum(0), torch.ones_like(t), rtol=0, atol=1e-14)
    assert bool((masses >= 0).all())


@every_process
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_marginal_is_the_matrix(process, t):
    x = torch.arange(V)[:, None]
    torch.testing.assert_close(process.marginal(x, at(t, V))[:, 0], matrix(process, t)[:V], rtol=0, atol=1e-14)


@every_process
def test_marginal_of_probabilities_is_their_mixture(process):
    p = torch.rand(2, 3, V, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p /= p.sum(-1, keepdim=True)
    torch.testing.assert_close(process.marginal(p, at(0.4, 2)), p @ matrix(process, 0.4)[:V], rtol=0, atol=1e-14)


@every_process
@pytest.mark.parametrize("s, t", TIMES)
def test_between_is_the_jump_matrix(process, s, t):
    """Also Chapman-Kolmogorov: the jump matrix is defined by Q_s Q_{t|s} = Q_t."""
    jump = chain_of(process, process.between(at(s), at(t)))
    torch.testing.assert_close(jump, jump_matrix(process, s, t), rtol=0, atol=1e-12)
    torch.testing.assert_close(jump.sum(-1), torch.ones(V + 1, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix(process, s) @ jump, matrix(process, t), rtol=0, atol=1e-12)


@every_process
@pytest.mark.parametrize("s, t", TIMES)
def test_posterior_is_bayes_for_token_ids(process, s, t):
    expected, K = bayes(process, s, t), V + 1
    x, z_t = torch.arange(V).repeat_interleave(K)[:, None], torch.arange(K).repeat(V)[:, None]
    ours = process.posterior(z_t, x, at(s, V * K), at(t, V * K)).reshape(V, K, K)
    possible = matrix(process, t)[:V] > 0
    torch.testing.assert_close(ours[possible], expected[possible], rtol=0, atol=1e-12)


@every_process
@pytest.mark.parametrize("s, t", TIMES)
def test_posterior_is_bayes_for_probabilities(process, s, t):
    """Plug-in: the prior of z_s is the mixture of the rows of Q_s."""
    p = torch.rand(V + 1, 1, V, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p /= p.sum(-1, keepdim=True)
    z_t = torch.arange(V + 1)[:, None]
    joint = (p[:, 0] @ matrix(process, s)[:V]) * jump_matrix(process, s, t).T
    ours = process.posterior(z_t, p, at(s, V + 1), at(t, V + 1))[:, 0]
    possible = (p[:, 0] @ matrix(process, t)[:V]).gather(1, z_t)[:, 0] > 0
    torch.testing.assert_close(ours[possible], (joint / joint.sum(-1, keepdim=True))[possible], rtol=0, atol=1e-12)


@every_process
@pytest.mark.parametrize("s, t", TIMES)
def test_posterior_averaged_over_z_t_is_the_marginal(process, s, t):
    """sum over z_t of q(z_s | z_t, x) q(z_t | x) = q(z_s | x)."""
    K = V + 1
    x, z_t = torch.arange(V).repeat_interleave(K)[:, None], torch.arange(K).repeat(V)[:, None]
    posterior = process.posterior(z_t, x, at(s, V * K), at(t, V * K)).reshape(V, K, K)
    mixed = torch.einsum("xzs,xz->xs", posterior, matrix(process, t)[:V])
    torch.testing.assert_close(mixed, matrix(process, s)[:V], rtol=0, atol=1e-12)


@every_process
def test_posterior_of_ids_is_that_of_one_hot_probabilities(process):
    generator = torch.Generator().manual_seed(2)
    x, s, t = torch.randint(V, (3, 5), generator=generator), at(0.3, 3), at(0.8, 3)
    z_t = process.corrupt(x, t, generator)
    one_hot = torch.nn.functional.one_hot(x, V).double()
    torch.testing.assert_close(process.posterior(z_t, x, s, t), process.posterior(z_t, one_hot, s, t))


@every_process
@pytest.mark.parametrize("t", [0.0, 1e-3, 0.5, 1.0])
def test_corrupt_draws_the_marginal(process, t):
    n = 20_000
    x = torch.arange(V).expand(n, V)
    z_t = process.corrupt(x, at(t, n), torch.Generator().manual_seed(3))
    for token in range(V):
        assert chi_square_p(z_t[:, token], matrix(process, t)[token]) > 1e-3


@every_process
def test_step_draws_the_posterior(process):
    n, (s, t) = 20_000, (0.4, 0.7)
    x_hat = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64).expand(n, V + 1, V)
    z_t = torch.arange(V + 1).expand(n, V + 1)
    z_s = process.step(z_t, x_hat, at(s, n), at(t, n), torch.Generator().manual_seed(4))
    expected = process.posterior(z_t[:1], x_hat[:1], at(s), at(t))[0]
    for i in range(V + 1):
        assert chi_square_p(z_s[:, i], expected[i]) > 1e-3


@every_process
def test_many_small_jumps_are_one_large_jump(process):
    """The chain that really walks, step by step, arrives with the marginal: corrupt, then reverse with the true x,
    stays on q(z_s | x).
    """
    n, grid = 20_000, [1.0, 0.75, 0.5, 0.3]
    x, generator = torch.full((n, 1), 2), torch.Generator().manual_seed(5)
    z = process.corrupt(x, at(grid[0], n), generator)
    for t, s in zip(grid, grid[1:]):
        z = process.step(z, x, at(s, n), at(t, n), generator)
    assert chi_square_p(z[:, 0], matrix(process, grid[-1])[2]) > 1e-3


@every_process
def test_prior_is_the_noise_without_data(process):
    p = matrix(process, 1.0)[0] - process.masses(at(1.0))[0] * torch.eye(V + 1)[0]
    z_1 = process.prior((4000, 5), torch.Generator().manual_seed(6))
    assert z_1.shape == (4000, 5) and chi_square_p(z_1, p / p.sum()) > 1e-3


@every_process
def test_float32_is_close_and_the_seed_decides(process):
    x = torch.randint(V, (64, 16), generator=torch.Generator().manual_seed(7))
    t = torch.rand(64, generator=torch.Generator().manual_seed(8))
    z_t = process.corrupt(x, t, torch.Generator().manual_seed(9))
    assert torch.equal(z_t, process.corrupt(x, t, torch.Generator().manual_seed(9)))
    posterior = process.posterior(z_t, x, t / 2, t)
    assert posterior.dtype == torch.float32
    precise = process.posterior(z_t, x, t.double() / 2, t.double())
    torch.testing.assert_close(posterior.double(), precise, rtol=0, atol=1e-5)


def test_masked_prior_holds_no_data_even_if_the_schedule_leaves_some():
    """LinearBeta ends at alpha = 4e-5: corrupting some text instead would write its tokens here and there."""
    assert bool((masked(V, LinearBeta()).prior((2000, 200), torch.Generator().manual_seed(0)) == V).all())


def test_masked_posterior_carries_visible_tokens_over_whatever_the_network_says():
    """MDLM Eq. 6 copies them; a network that gives them probability 0 must not change that."""
    process, z_t = masked(V), torch.tensor([[1, V, 3]])
    x_hat = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(1, 3, V)
    posterior = process.posterior(z_t, x_hat, torch.tensor([0.2]), torch.tensor([0.6]))[0]
    assert posterior[0].tolist() == [0, 1, 0, 0, 0] and posterior[2].tolist() == [0, 0, 0, 1, 0]
    torch.testing.assert_close(posterior[1], torch.tensor([2 / 3, 0, 0, 0, 1 / 3]))
    z_s = process.step(z_t, x_hat, torch.tensor([0.0]), torch.tensor([0.6]), torch.Generator().manual_seed(0))
    assert z_s.tolist() == [[1, 0, 3]]


def test_masked_never_writes_a_wrong_token_and_ends_clean():
    process, generator = masked(V, Linear()), torch.Generator().manual_seed(10)
    x = torch.randint(V, (500, 8), generator=generator)
    z = process.corrupt(x, torch.rand(500, generator=generator), generator)
    assert bool(((z == x) | (z == V)).all())
    assert torch.equal(process.corrupt(x, torch.zeros(500), generator), x)
    assert bool((process.corrupt(x, torch.ones(500), generator) == V).all())


@pytest.mark.parametrize("token", [-1, V])
def test_foreign_tokens_are_refused(token):
    with pytest.raises(ValueError, match=r"0\.\.3, got"):
        masked(V).corrupt(torch.tensor([[0, token]]), torch.tensor([0.5]))


@pytest.mark.parametrize("t", [-0.1, 1.5, float("nan")])
def test_times_outside_are_refused(t):
    process, x = masked(V), torch.zeros(1, 2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        process.corrupt(x, torch.tensor([t]))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        process.marginal(x, torch.tensor([t]))


def test_other_bad_input_is_refused():
    process, x, half = masked(V), torch.zeros(1, 2, dtype=torch.long), torch.tensor([0.5])
    with pytest.raises(ValueError, match="earlier s < t"):
        process.posterior(x, x, half, half)
    with pytest.raises(ValueError, match=r"\(batch, length\)"):
        process.corrupt(x[0], half)
    with pytest.raises(ValueError, match="at least 2 tokens"):
        masked(1)
    with pytest.raises(ValueError, match="runs from 0.99"):
        masked(V, Sqrt())


@pytest.mark.parametrize("edge, token", [(0.0, 1), (1 - 2.0**-53, 2)])
def test_steps_with_extreme_uniform_numbers_stay_on_possible_tokens(edge, token, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, edge, dtype=torch.float64))
    x_hat = torch.tensor([[[0.0, 0.5, 0.5, 0.0]]])
    z_s = masked(V).step(torch.tensor([[V]]), x_hat, torch.tensor([0.0]), torch.tensor([0.5]))
    assert z_s.item() == token
