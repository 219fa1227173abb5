"""D3PM's matrices against brute force: formulas by loops, posteriors over all paths, draws by chi-square."""

import itertools
import math
from functools import partial

import pytest
import torch
from enumerable import chi_square_p
from hypothesis import given, settings
from hypothesis import strategies as st

from difflm_core.oracle import HiddenMarkovLanguage, MatrixEvidence
from difflm_core.processes import Linear
from difflm_core.processes import matrices as M

V, T = 5, 6
EXACT = dict(rtol=0, atol=1e-12)
EMBEDDING = torch.tensor([[0.0, 0.0], [0.3, 0.1], [1.0, 0.2], [1.2, 1.0], [0.1, 0.9]])
BETAS = torch.linspace(0.05, 0.9, T, dtype=torch.float64)
ALPHAS = torch.linspace(0.1, 2.0, T, dtype=torch.float64)
FAMILIES = {
    "uniform": M.uniform(V, BETAS),
    "absorbing": M.absorbing(V + 1, BETAS),
    "gaussian": M.gaussian(V, BETAS),
    "nearest neighbour": M.nearest_neighbour(EMBEDDING, ALPHAS, k=2),
}
every_family = pytest.mark.parametrize("Q", FAMILIES.values(), ids=FAMILIES.keys())
UNIGRAM = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05], dtype=torch.float64)


def at(step: int, n: int = 1, steps: int = T) -> torch.Tensor:
    return torch.full((n,), step / steps, dtype=torch.float64)


def one_hot(x: torch.Tensor, K: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(x, K).double()


def random_probabilities(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(-1)


def path_law(Q: torch.Tensor, x: int, s: int, t: int) -> torch.Tensor:
    """P(z_s, z_t | x) (K, K): every path of the chain walked one by one."""
    K, law = Q.shape[1], torch.zeros(Q.shape[1], Q.shape[1], dtype=torch.float64)
    rows = Q.tolist()
    for path in itertools.product(range(K), repeat=t):
        probability, here = 1.0, x
        for step, there in enumerate(path):
            probability *= rows[step][here][there]
            here = there
        law[path[s - 1] if s else x, path[-1]] += probability
    return law


def possible_pairs(process: M.MatrixProcess, t: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All (x, z_t) with q(z_t | x) > 0, each (1, N)."""
    x, z = (process.Qbar[t][: process.V] > 0).nonzero(as_tuple=True)
    return x[None], z[None]


# --- the four families ---------------------------------------------------------------------------------------------


@every_family
def test_rows_are_probabilities(Q):
    assert Q.dtype == torch.float64 and Q.shape[0] == T and bool((Q >= 0).all())
    torch.testing.assert_close(Q.sum(-1), torch.ones_like(Q[..., 0]), **EXACT)


def test_columns_sum_to_one_except_for_absorbing():
    for name, Q in FAMILIES.items():
        doubly = bool(((Q.sum(-2) - 1).abs() < 1e-12).all())
        assert doubly == (name != "absorbing"), name


@every_family
def test_every_start_ends_in_the_stationary_law(Q):
    process = M.MatrixProcess(Q.repeat(60, 1, 1), V)
    expected = torch.full((V,), 1 / V).double() if Q.shape[1] == V else one_hot(torch.tensor(V), V + 1)
    torch.testing.assert_close(process.law, expected)
    torch.testing.assert_close(process.law @ Q, process.law.expand(T, -1), **EXACT)
    torch.testing.assert_close(process.Qbar[-1][:V], expected.expand(V, -1), rtol=0, atol=1e-6)


def test_uniform_and_absorbing_entry_by_entry():
    for step, beta in enumerate(BETAS.tolist()):
        for i, j in itertools.product(range(V), repeat=2):
            assert FAMILIES["uniform"][step, i, j].item() == pytest.approx((i == j) * (1 - beta) + beta / V)
        for i, j in itertools.product(range(V + 1), repeat=2):
            expected = 1.0 if i == j == V else (i == j) * (1 - beta) + (j == V) * beta
            assert FAMILIES["absorbing"][step, i, j].item() == pytest.approx(expected)


def test_absorbing_mask_may_be_any_state():
    Q = M.absorbing(4, torch.tensor([0.25]), mask=1)
    torch.testing.assert_close(Q[0, 1], torch.tensor([0.0, 1, 0, 0]))
    torch.testing.assert_close(Q[0, 2], torch.tensor([0.0, 0.25, 0.75, 0]))


@pytest.mark.parametrize("K", [2, 3, 9, 27])
def test_gaussian_is_equation_8(K):
    beta = 0.07
    Q = M.gaussian(K, torch.tensor([beta], dtype=torch.float64))[0]
    total = sum(math.exp(-4 * n**2 / ((K - 1) ** 2 * beta)) for n in range(-(K - 1), K))
    for i in range(K):
        row = [math.exp(-4 * (i - j) ** 2 / ((K - 1) ** 2 * beta)) / total if i != j else 0.0 for j in range(K)]
        row[i] = 1 - sum(row)
        torch.testing.assert_close(Q[i], torch.tensor(row, dtype=torch.float64), **EXACT)


def test_the_papers_gaussian_betas_move_nothing_when_K_is_small():
    # exp(-4 / ((K - 1)^2 beta)) for the next symbol: with K = 27 a beta of 1e-4 moves one once in 10^25 steps.
    Q = M.gaussian(27, torch.tensor([1e-4, 0.02], dtype=torch.float64))
    assert Q[0].trace() == 27 and Q[1].trace() < 15
    assert M.gaussian(256, torch.tensor([1e-4], dtype=torch.float64))[0].trace() < 200


def test_neighbour_rates_are_equation_9():
    k, points = 2, EMBEDDING.tolist()
    others = [[j for j in range(V) if j != i] for i in range(V)]
    near = [sorted(others[i], key=lambda j, i=i: math.dist(points[i], points[j]))[:k] for i in range(V)]
    A = [[((j in near[i]) + (i in near[j])) / (2 * k) for j in range(V)] for i in range(V)]
    R = M.neighbour_rates(EMBEDDING, k)
    for i, j in itertools.product(range(V), repeat=2):
        assert R[i, j].item() == pytest.approx(A[i][j] if i != j else -sum(A[i]))


def test_nearest_neighbour_is_the_matrix_exponential():
    R = M.neighbour_rates(EMBEDDING, 2)
    for alpha, Q in zip(ALPHAS, FAMILIES["nearest neighbour"]):
        torch.testing.assert_close(Q, torch.linalg.matrix_exp(alpha * R), **EXACT)
    far = M.nearest_neighbour(EMBEDDING, torch.tensor([1e5]), 2)[0]
    torch.testing.assert_close(far, torch.full((V, V), 1 / V, dtype=torch.float64), rtol=0, atol=1e-9)


def test_equal_embeddings_are_neighbours_but_no_token_is_its_own():
    R = M.neighbour_rates(torch.zeros(4, 2), 3)
    torch.testing.assert_close(R, (torch.ones(4, 4) - 4 * torch.eye(4)).double() / 3)


# --- products -------------------------------------------------------------------------------------------------------


def test_cumulative_closed_forms_equal_the_product():
    for Q in FAMILIES.values():
        product = [torch.linalg.multi_dot(list(Q[: t + 1])) if t else Q[0] for t in range(T)]
        torch.testing.assert_close(M.cumulative(Q), torch.stack(product), **EXACT)
    torch.testing.assert_close(M.cumulative(FAMILIES["uniform"]), M.uniform(V, M.total_noise(BETAS)), **EXACT)
    torch.testing.assert_close(M.cumulative(FAMILIES["absorbing"]), M.absorbing(V + 1, M.total_noise(BETAS)), **EXACT)
    closed = M.nearest_neighbour(EMBEDDING, ALPHAS.cumsum(0), 2)  # Eq. 16
    torch.testing.assert_close(M.cumulative(FAMILIES["nearest neighbour"]), closed, **EXACT)


@every_family
def test_chapman_kolmogorov(Q):
    process = M.MatrixProcess(Q, V)
    for s, t in itertools.combinations(range(T + 1), 2):
        jump = process._jump(torch.tensor([s]), torch.tensor([t]))
        torch.testing.assert_close(process.Qbar[s] @ jump, process.Qbar[t], **EXACT)


# --- posteriors ------------------------------------------------------------------------------------------------------


@every_family
@pytest.mark.parametrize("s,t", [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (1, 4)])
def test_posterior_is_bayes_over_all_paths(Q, s, t):
    process = M.MatrixProcess(Q, V)
    x, z = possible_pairs(process, t)
    joint = torch.stack([path_law(Q, v, s, t) for v in range(V)])  # (x, z_s, z_t)
    expected = joint[x[0], :, z[0]] / joint[x[0], :, z[0]].sum(-1, keepdim=True)
    torch.testing.assert_close(process.posterior(z, x, at(s), at(t))[0], expected, **EXACT)
    plain = M.posterior(torch.linalg.multi_dot([torch.eye(Q.shape[1]).double(), *Q[s:t]]), process.Qbar[s], z, x)
    torch.testing.assert_close(plain[0], expected, **EXACT)


@every_family
def test_plug_in_and_mixture_by_their_definitions(Q):
    process, K = M.MatrixProcess(Q, V), Q.shape[1]
    z = torch.arange(K)[None]
    p = random_probabilities(1, K, K)
    p[..., V:] = 0
    if K > V:
        p[0, :V] = 0.9 * one_hot(z[0, :V], K) + 0.1 * p[0, :V]  # a visible token can only have come from itself
    p = p / p.sum(-1, keepdim=True)
    for s, t in [(1, 2), (0, 1), (2, 5)]:
        Q_t = torch.linalg.multi_dot([torch.eye(K).double(), *Q[s:t]])
        joint = process.Qbar[s][:, :, None] * Q_t  # (x, z_s, z_t)
        plug_in = torch.einsum("nx,xsn->ns", p[0], joint)
        each = joint / joint.sum(1, keepdim=True)  # NaN where z_t cannot come from x
        mixture = torch.einsum("nx,xsn->ns", p[0], each.nan_to_num(0))
        for got, expected in [(process.posterior, plug_in), (process.posterior_mixture, mixture)]:
            torch.testing.assert_close(got(z, p, at(s), at(t))[0], expected / expected.sum(-1, keepdim=True), **EXACT)


def test_plug_in_equals_mixture_for_masks_and_only_there():
    z = torch.arange(V + 1)[None]
    p = random_probabilities(1, V + 1, V)
    absorbing = M.MatrixProcess(FAMILIES["absorbing"], V)
    both = [posterior(z, p, at(2), at(3)) for posterior in (absorbing.posterior, absorbing.posterior_mixture)]
    torch.testing.assert_close(*both, **EXACT)

    on_mask = random_probabilities(1, V + 1, V + 1)  # mass on the mask: "the clean token is a mask"
    both = [posterior(z, on_mask, at(2), at(3)) for posterior in (absorbing.posterior, absorbing.posterior_mixture)]
    assert (both[0] - both[1])[0, V].abs().max() > 0.01

    for name in ("uniform", "gaussian", "nearest neighbour"):
        process = M.MatrixProcess(FAMILIES[name], V)
        both = [f(z[:, :V], p[:, :V], at(2), at(3)) for f in (process.posterior, process.posterior_mixture)]
        assert (both[0] - both[1]).abs().max() > 0.01, name


@every_family
def test_mixture_of_the_true_posterior_is_the_true_reverse_step(Q):
    """One token from UNIGRAM: p(z_s | z_t) by summing the joint law. The plug-in needs what has not seen z_t."""
    process, s, t = M.MatrixProcess(Q, V), 2, 4
    joint = UNIGRAM[:, None, None] * process.Qbar[s][:V, :, None] * (Q[s] @ Q[s + 1])  # (x, z_s, z_t)
    seen = (joint.sum((0, 1)) > 0).nonzero()[:, 0][None]
    reverse = joint.sum(0).T[seen]
    reverse = reverse / reverse.sum(-1, keepdim=True)
    p_x = joint.sum(1).T[seen]  # p(x, z_t)
    p_x = p_x / p_x.sum(-1, keepdim=True)
    torch.testing.assert_close(process.posterior_mixture(seen, p_x, at(s), at(t)), reverse, **EXACT)
    prior = UNIGRAM.expand_as(p_x)
    torch.testing.assert_close(process.posterior(seen, prior, at(s), at(t)), reverse, **EXACT)
    evidence = process.evidence(seen, at(t))
    if Q.shape[1] == V:
        torch.testing.assert_close(M.without_own_evidence(p_x, evidence), prior, **EXACT)
        assert (process.posterior(seen, p_x, at(s), at(t)) - reverse).abs().max() > 0.01


@settings(max_examples=20)
@given(st.integers(0, 2**31 - 1), st.integers(2, 6), st.integers(1, 3))
def test_posterior_of_any_matrices_reverses_them(seed, K, B):
    """Random stochastic matrices, one a row: the sum over z_t of q(z_t | x) q(z_s | z_t, x) is q(z_s | x)."""
    Q_t, Qbar_s = (random_probabilities(B, K, K, seed=seed + i) for i in (0, 1))
    x, z = torch.cartesian_prod(torch.arange(K), torch.arange(K)).T[:, None].expand(2, B, K * K)
    q_t = (Qbar_s @ Q_t)[:, x[0], z[0]]  # (B, K K)
    back = (q_t[..., None] * M.posterior(Q_t, Qbar_s, z, x)).view(B, K, K, K).sum(2)
    torch.testing.assert_close(back, Qbar_s, **EXACT)


def test_rows_at_different_times_in_one_batch():
    process = M.MatrixProcess(FAMILIES["gaussian"], V)
    generator = torch.Generator().manual_seed(0)
    x, z = (torch.randint(V, (6, 4), generator=generator) for _ in range(2))
    p = random_probabilities(6, 4, V)
    for s, t in [([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6]), ([0, 0, 2, 1, 3, 5], [1, 6, 4, 2, 6, 6])]:
        s, t = (torch.tensor(steps) / T for steps in (s, t))  # float32: the grid is found all the same
        for clean in (x, p):
            together = process.posterior(z, clean, s, t)
            apart = [process.posterior(z[i : i + 1], clean[i : i + 1], s[i : i + 1], t[i : i + 1]) for i in range(6)]
            torch.testing.assert_close(together, torch.cat(apart), **EXACT)
        laws = [process.Qbar[round(T * u)][row] for u, row in zip(t.tolist(), x)]
        torch.testing.assert_close(process.marginal(x, t), torch.stack(laws))


def test_an_underflowing_softmax_does_not_break_the_posterior():
    process = M.MatrixProcess(FAMILIES["absorbing"], V)
    p = torch.tensor([[[0.0, 1, 0, 0, 0]]])  # certain of token 1, but token 3 is in plain sight
    z = torch.tensor([[3]])
    torch.testing.assert_close(process.posterior(z, p, at(1), at(2)), one_hot(z, V + 1))


# --- closed forms without matrices -----------------------------------------------------------------------------------


@pytest.mark.parametrize("betas", [M.cosine_betas(T), M.reciprocal_betas(T)], ids=["cosine", "reciprocal"])
@pytest.mark.parametrize("name", ["uniform", "absorbing"])
def test_low_rank_processes_equal_the_matrices(name, betas):
    Q = M.uniform(V, betas) if name == "uniform" else M.absorbing(V + 1, betas)
    process = M.MatrixProcess(Q, V)
    closed = (M.uniform_process if name == "uniform" else M.absorbing_process)(V, betas)
    K, p = process.K, random_probabilities(1, 40, V)
    for s, t in itertools.combinations(range(T + 1), 2):
        x, z = possible_pairs(process, t)
        torch.testing.assert_close(process.marginal(x, at(t)), closed.marginal(x, at(t))[..., :K], **EXACT)
        for clean in (x, p[:, : x.shape[1]]):
            expected = closed.posterior(z, clean, at(s), at(t))
            torch.testing.assert_close(process.posterior(z, clean, at(s), at(t)), expected[..., :K], **EXACT)


def test_grid_schedule_is_linear_for_reciprocal_betas_and_exact_on_the_grid_for_all():
    t = torch.linspace(0, 1, 41, dtype=torch.float64)
    schedule = M.GridSchedule(M.reciprocal_betas(8))
    torch.testing.assert_close(schedule.alpha(t), Linear().alpha(t), **EXACT)
    torch.testing.assert_close(schedule.dalpha(t), Linear().dalpha(t), **EXACT)
    cosine = M.GridSchedule(M.cosine_betas(10))
    grid = torch.arange(11, dtype=torch.float64) / 10
    torch.testing.assert_close(cosine.alpha(grid)[1:], 1 - M.total_noise(M.cosine_betas(10)))
    assert cosine.alpha(grid)[0] == 1
    assert torch.equal(cosine.alpha(grid.float()), cosine.alpha(grid).float())
    inside = torch.tensor([0.03, 0.51, 0.98], dtype=torch.float64)
    slope = (cosine.alpha(inside + 1e-4) - cosine.alpha(inside - 1e-4)) / 2e-4
    torch.testing.assert_close(cosine.dalpha(inside), slope, rtol=0, atol=1e-9)


# --- noise schedules -------------------------------------------------------------------------------------------------


def test_betas_lie_in_their_range_and_end_the_text():
    for steps in (1, 2, 50, 1000):
        for betas in (M.cosine_betas(steps), M.reciprocal_betas(steps)):
            assert betas.dtype == torch.float64 and betas.shape == (steps,)
            assert bool((betas > 0).all() & (betas[:-1] < 1).all()) and betas[-1] == 1
            assert M.total_noise(betas)[-1] == 1
            torch.testing.assert_close(M.step_noise(M.total_noise(betas)), betas, rtol=1e-7, atol=0)
        share = torch.arange(1, steps + 1).double() / steps
        torch.testing.assert_close(M.total_noise(M.reciprocal_betas(steps)), share)
    linear = M.linear_betas(1000)
    assert (linear[0].item(), linear[-1].item()) == (1e-4, 0.02)
    assert 0 < M.cosine_betas(50, largest=0.999)[-1] < 1


def test_equation_18_as_printed_gives_negative_betas():
    share = (torch.arange(51).double() / 50 + 0.008) / 1.008
    printed, meant = torch.cos(share + math.pi / 2), torch.cos(share * math.pi / 2)
    assert bool((1 - printed[1:] / printed[:-1] < 0).all())
    torch.testing.assert_close(1 - meant[1:] / meant[:-1], M.cosine_betas(50))


def test_mutual_information_by_its_entropies():
    for Q in FAMILIES.values():
        law = torch.nn.functional.pad(UNIGRAM, (0, Q.shape[1] - V))
        joint = law[:, None] * Q[2]
        entropies = [torch.special.entr(part).sum() for part in (law, joint.sum(0), joint)]
        expected = entropies[0] + entropies[1] - entropies[2]
        torch.testing.assert_close(M.mutual_information(law, Q)[2], expected)


@pytest.mark.parametrize("steps", [1, 2, 7, 200])
def test_information_falls_linearly(steps):
    entropy = torch.special.entr(UNIGRAM).sum()
    share = 1 - torch.arange(1, steps + 1).double() / steps
    padded = torch.nn.functional.pad(UNIGRAM, (0, 1))

    absorbing = M.information_betas(padded, partial(M.absorbing, V + 1), steps)
    torch.testing.assert_close(absorbing, M.reciprocal_betas(steps), rtol=1e-9, atol=0)  # A.7

    uniform = M.uniform(V, M.information_betas(UNIGRAM, partial(M.uniform, V), steps))
    alphas = M.information_alphas(UNIGRAM, EMBEDDING, 2, steps)
    neighbours = M.nearest_neighbour(EMBEDDING, alphas, 2)
    assert alphas.sum().item() == pytest.approx(1e5)
    for Q in (uniform, neighbours):
        torch.testing.assert_close(M.mutual_information(UNIGRAM, M.cumulative(Q)) / entropy, share, rtol=0, atol=1e-9)


# --- the process -----------------------------------------------------------------------------------------------------


@every_family
def test_draws_follow_their_laws(Q):
    process, n = M.MatrixProcess(Q, V), 4000
    generator = torch.Generator().manual_seed(3)
    x = torch.full((1, n), 1)
    z = process.corrupt(x, at(3), generator)
    assert chi_square_p(z, process.Qbar[3][1]) > 1e-3
    assert chi_square_p(process.prior((20, n // 20), generator), process.law) > 1e-3
    p = random_probabilities(V)
    p[2] += 1  # a visible 2 is most likely a 2
    z_s = process.step(torch.full((1, n), 2), (p / p.sum()).expand(1, n, V), at(3), at(5), generator)
    law = process.posterior(torch.tensor([[2]]), (p / p.sum())[None, None], at(3), at(5))[0, 0]
    assert chi_square_p(z_s, law) > 1e-3
    torch.testing.assert_close(z, process.corrupt(x, at(3), torch.Generator().manual_seed(3)))


@every_family
def test_evidence_is_what_the_oracle_computes(Q):
    process = M.MatrixProcess(Q, V)
    z = torch.arange(Q.shape[1]).repeat(T + 1, 1)
    t = torch.arange(T + 1).double() / T
    expected = MatrixEvidence(M.cumulative(Q), V).evidence(z, t)
    torch.testing.assert_close(process.evidence(z, t), expected, **EXACT)
    for step in range(1, T + 1):
        torch.testing.assert_close(process.evidence(z, t)[step], process.Qbar[step][:V].T, **EXACT)


def test_an_exact_denoiser_reads_a_matrix_process_as_its_closed_form():
    transition, emission = random_probabilities(V, V), random_probabilities(V, V, seed=1)
    language = HiddenMarkovLanguage(UNIGRAM, transition, emission, list("abcde"), 4)
    generator = torch.Generator().manual_seed(0)
    betas = M.cosine_betas(T)
    process, closed = M.MatrixProcess(M.uniform(V, betas), V), M.uniform_process(V, betas)
    x = language.sample(7, generator=generator)
    t = (torch.arange(7) % T + 1).double() / T
    z = process.corrupt(x, t, generator)
    both = [language.denoiser(noise)(z, t) for noise in (process, closed)]
    torch.testing.assert_close(*both, rtol=0, atol=1e-10)


def test_single_precision_matrices_give_single_precision_laws():
    process = M.MatrixProcess(M.gaussian(V, BETAS.float()), V)
    z = torch.tensor([[0, 4]])
    out = process.posterior(z, z, at(2), at(3))
    assert out.dtype == torch.float32
    double = M.MatrixProcess(FAMILIES["gaussian"], V).posterior(z, z, at(2), at(3))
    torch.testing.assert_close(out.double(), double, rtol=0, atol=1e-6)


# --- bad input -------------------------------------------------------------------------------------------------------

UNIFORM = M.MatrixProcess(FAMILIES["uniform"], V)
MASKING = M.MatrixProcess(FAMILIES["absorbing"], V)
IDS = torch.tensor([[0, 1]])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: M.uniform(V, torch.tensor([0.1, 1.2])), r"beta_2 is 1.2 but must lie in \(0, 1\]"),
        (lambda: M.uniform(V, torch.tensor([0.1, 0.0])), r"beta_2 is 0 but must lie in \(0, 1\]"),
        (lambda: M.absorbing(V, torch.tensor([-0.1])), r"beta_1 is -0.1 but"),
        (lambda: M.gaussian(V, torch.tensor([math.nan])), "beta_1 is nan but"),
        (lambda: M.gaussian(V, torch.tensor(0.5)), "one beta for each of at least one step"),
        (lambda: M.uniform(1, BETAS), "at least 2 states, got K = 1"),
        (lambda: M.absorbing(V, BETAS, mask=V), r"The mask must lie in 0..4"),
        (lambda: M.reciprocal_betas(0), "at least one step, got T = 0"),
        (lambda: M.linear_betas(4, last=2.0), r"beta_3 is 1.33337 but"),
        (lambda: M.step_noise(torch.tensor([0.5, 0.4])), "beta_2 is -0.2 but"),
        (lambda: M.neighbour_rates(torch.tensor([[0.0], [0.1], [5.0], [5.1]]), 1), "falls apart into 2 pieces"),
        (lambda: M.neighbour_rates(EMBEDDING, V), "between 1 and 4 neighbours, got k = 5"),
        (lambda: M.neighbour_rates(EMBEDDING / 0, 2), "NaN or infinite entry"),
        (lambda: M.nearest_neighbour(EMBEDDING, torch.tensor([0.1, -1.0]), 2), "alphas must be positive"),
        (lambda: M.MatrixProcess(FAMILIES["absorbing"].mT, V), "not row-stochastic.*transpose it"),
        (lambda: M.MatrixProcess(FAMILIES["uniform"] - 0.1, V), "negative or non-finite"),
        (lambda: M.MatrixProcess(FAMILIES["uniform"][0], V), r"shaped \(T, K, K\)"),
        (lambda: M.MatrixProcess(FAMILIES["uniform"], V + 1), "5 states are V = 5 tokens, or V = 4 and a mask"),
        (lambda: M.MatrixProcess(FAMILIES["absorbing"], V + 1), "not stationary"),
        (lambda: M.MatrixProcess(FAMILIES["uniform"], V, law=UNIGRAM), "not stationary"),
        (lambda: UNIFORM.corrupt(IDS + 4, at(1)), r"Clean token ids must lie in 0..4, .*got 4..5"),
        (lambda: MASKING.corrupt(IDS + 4, at(1)), r"Clean token ids must lie in 0..4"),
        (lambda: UNIFORM.posterior(IDS + 4, IDS, at(1), at(2)), r"Symbol ids must lie in 0..4"),
        (lambda: UNIFORM.posterior(IDS.float(), IDS, at(1), at(2)), "must hold integer ids"),
        (lambda: UNIFORM.posterior(IDS, IDS, at(2), at(2)), "earlier s < t"),
        (lambda: UNIFORM.corrupt(IDS, torch.tensor([0.3])), r"t must be one of 0, 1/6.* is 0.3"),
        (lambda: UNIFORM.corrupt(IDS, torch.tensor([1.5])), r"t must be one of 0, 1/6"),
        (lambda: UNIFORM.posterior(IDS, torch.rand(1, 2, 7), at(1), at(2)), "over 7 symbols do not fit a matrix of 5"),
        (lambda: MASKING.posterior(IDS, IDS + 1, at(1), at(2)), r"at \(0, 0\) cannot come from"),
        (lambda: M.mutual_information(torch.ones(V), FAMILIES["uniform"]), "sums to 1"),
        (lambda: M.mutual_information(UNIGRAM, FAMILIES["absorbing"]), "5 symbols but the matrices have 6"),
        (lambda: M.information_betas(one_hot(IDS[0, 0], V), partial(M.uniform, V), 5), "no information to destroy"),
    ],
)
def test_bad_input_is_named_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
