"""GIDD's bound and training loss: the weights, the equalities that hold on paper, and which denoiser makes the bound
tight.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from difflm_core.data import toy_language
from difflm_core.evaluation import estimate_nelbo
from difflm_core.models import LeaveOneOut, Transformer, TransformerConfig, leave_one_out
from difflm_core.objectives import (
    clamped,
    dynamic,
    elbo_weights,
    gidd_at,
    gidd_loss,
    gidd_nelbo,
    gidd_nelbo_warped,
    masked_nelbo,
    relative,
    smoothed,
)  # fmt: skip
from difflm_core.processes import Cosine, HybridSchedule, Linear, hybrid, masked, uniform

V, L = 3, 2
PROCESSES = {
    "hybrid 0.1": hybrid(V, 0.1),
    "hybrid 0.2": hybrid(V, 0.2),
    "hybrid 0.5": hybrid(V, 0.5),
    "hybrid gamma 2": hybrid(V, 0.2, gamma=2.0),
    "uniform": uniform(V, Linear()),
    "uniform cosine": uniform(V, Cosine()),
    "masked": masked(V, Linear()),
}
each_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
RANDOM = [name for name in PROCESSES if name != "masked"]
each_random_process = pytest.mark.parametrize("process", [PROCESSES[name] for name in RANDOM], ids=RANDOM)

TEXTS = torch.tensor(list(itertools.product(range(V), repeat=L)))
JOINT = torch.randn(len(TEXTS), dtype=torch.float64, generator=torch.Generator().manual_seed(0)).mul(2).softmax(0)
ENTROPY = torch.special.entr(JOINT).sum().item()


class Logits:
    """A denoiser that gives the same logits (L, V), or (B, L, V), whatever it reads."""

    def __init__(self, logits):
        self.table, self.V = logits, logits.shape[-1]

    def hidden(self, z_t, t):
        return self.table.expand(*z_t.shape, self.V)

    def logits(self, h):
        return h


class Table(Logits):
    """Logits that depend on the whole noisy text, (K^L, L, V)."""

    def hidden(self, z_t, t):
        code = (z_t * (self.V + 1) ** torch.arange(z_t.shape[1] - 1, -1, -1)).sum(1)
        return self.table[code]


class Posterior:
    """The exact log p(x_i | z_t) of the little language JOINT over TEXTS, by summing over all texts."""

    def __init__(self, process):
        self.process, self.V = process, V

    def hidden(self, z_t, t):
        words = torch.arange(V)[:, None, None].expand(V, *z_t.shape)
        seen = torch.stack([self.process.marginal(v, t).gather(-1, z_t[..., None])[..., 0] for v in words])  # (V, B, L)
        weight = JOINT * torch.stack([seen[TEXTS[:, i], :, i] for i in range(L)]).prod(0).T  # (B, texts)
        weight = weight / weight.sum(1, keepdim=True)
        p = torch.stack([weight @ F.one_hot(TEXTS[:, i], V).double() for i in range(L)], dim=1)
        return p.clamp_min(1e-300).log()

    def logits(self, h):
        return h


def nodes(h=0.2, reach=3.2):
    """Times and weights of tanh-sinh quadrature on (0, 1): it does not mind weights that are infinite at the ends."""
    k = torch.arange(-reach, reach + h / 2, h, dtype=torch.float64)
    t = torch.sigmoid(math.pi * k.sinh())
    return t, h * math.pi * k.cosh() * t * (1 - t)


def expected_bound(process, denoiser, texts=TEXTS, p=JOINT, weighting=None):
    """E over x, t and z_t of the loss of a whole text, with nothing sampled."""
    noisy = torch.tensor(list(itertools.product(range(process.V + 1), repeat=texts.shape[1])))
    x, z = texts.repeat_interleave(len(noisy), 0), noisy.repeat(len(texts), 1)
    total = 0.0
    for t, dt in zip(*nodes()):
        chance = process.marginal(x, t.expand(len(x))).gather(-1, z[..., None])[..., 0].prod(1)
        chance = chance * p.repeat_interleave(len(noisy))
        here = chance > 0
        loss = gidd_at(process, denoiser, x[here], z[here], t.expand(int(here.sum())), weighting)
        total = total + dt * (chance[here] * loss.sum(1)).sum()
    return total


def naive_loss(process, logits, x, z_t, t, weight):
    """Theorem 3.7 as it is written, with one-hot targets and all probabilities of both distributions."""
    q = process.marginal(x, t)  # (B, L, K)
    p = process.marginal(logits.softmax(-1), t)
    kl = (torch.special.xlogy(q, q) - torch.special.xlogy(q, p)).sum(-1)
    ratio = (q / p).gather(-1, z_t[..., None])[..., 0]
    return weight * (kl + ratio - ratio.log() - 1)


# The weights.


@each_process
def test_weights_are_rates_over_chances_by_finite_differences(process):
    """w = d/dh q(z at t + h | some other z' at t) / q_t(z | x): the chance to have jumped there, and not the
    formula.
    """
    t, h = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64), 1e-6
    for x, z in itertools.product(range(V), range(V + 1)):
        ids, seen = torch.full((3, 1), x), torch.full((3, 1), z)
        chance = process.marginal(ids, t)[:, 0, z]
        if not bool((chance > 0).all()):
            continue
        _, mask_jump, uniform_jump = process.between(t - h / 2, t + h / 2)
        rate = mask_jump / h if z == V else uniform_jump / h / V
        assert torch.allclose(elbo_weights(process, ids, seen, t)[:, 0], rate / chance, rtol=2e-4)


@pytest.mark.parametrize("p_u, gamma", [(0.1, 1.0), (0.5, 1.0), (0.2, 2.0), (0.2, 0.5)])
def test_weights_of_hybrid_noise_in_closed_form(p_u, gamma):
    t = torch.tensor([1e-5, 0.1, 0.5, 0.9, 1 - 1e-5], dtype=torch.float64)
    c = HybridSchedule(p_u, gamma).c(t)
    rise = c + (1 - t) * gamma / 2 * (1 - 2 * t) / (t * (1 - t)) * c  # c + (1 - t) c'
    closed = {
        "mask": (V, 1 / (t * (1 - t))),
        "wrong": (1, rise / ((1 - t) * c)),
        "right": (0, rise / V / ((1 - t) * (1 - t + c / V))),
    }
    for z, expected in closed.values():
        weight = elbo_weights(hybrid(V, p_u, gamma), torch.zeros(5, 1, dtype=torch.long), torch.full((5, 1), z), t)
        assert torch.allclose(weight[:, 0], expected, rtol=1e-8)
    if gamma == 1:  # a mask counts twice a wrong token, at all times
        assert torch.allclose(closed["mask"][1], 2 * closed["wrong"][1])


@each_process
def test_the_mean_weight_is_the_decay_rate(process):
    t = torch.tensor([0.05, 0.4, 0.8], dtype=torch.float64)
    x = torch.ones(3, V + 1, dtype=torch.long)
    z = torch.arange(V + 1).expand(3, V + 1)
    chance = process.marginal(x[:, :1], t)[:, 0]  # (3, K)
    weight = torch.where(chance > 0, elbo_weights(process, x, z, t), 0)
    assert torch.allclose((chance * weight).sum(1), -process.schedule.dalpha(t) / process.schedule.alpha(t), rtol=1e-9)


# The loss as computed, against the loss as written.


@each_process
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_one_pass_loss_and_gradient_are_the_naive_ones(process, dtype, tolerance):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(V, (6, 5), generator=generator)
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64)
    z = process.corrupt(x, t, generator)
    logits = (torch.randn(6, 5, V, generator=generator, dtype=torch.float64) * 3).to(dtype)
    weight = elbo_weights(process, x, z, t)
    ours, reference = logits.clone().requires_grad_(), logits.double().requires_grad_()
    loss, expected = gidd_at(process, Logits(ours), x, z, t), naive_loss(process, reference, x, z, t, weight)
    assert loss.dtype == dtype
    assert torch.allclose(loss.double(), expected, rtol=tolerance, atol=tolerance)
    loss.sum().backward()
    expected.sum().backward()
    assert torch.allclose(ours.grad.double(), reference.grad, rtol=tolerance, atol=tolerance)


def test_pieces_give_the_same_loss_and_gradients(monkeypatch):
    """Large batches go through the vocabulary in pieces whose logits are computed again for the gradient."""
    model = Transformer(TransformerConfig(V=11, length=8, width=16, layers=1, heads=2))
    process, x, t = hybrid(11, 0.2), torch.randint(11, (4, 8)), torch.rand(4)
    z = process.corrupt(x, t)
    rows, head = [], model.head.forward

    def spy(h):
        rows.append(h.shape[0])
        return head(h)

    monkeypatch.setattr(model.head, "forward", spy)
    results = []
    for piece in (2**27, 55):  # 55 entries: five rows of 11
        monkeypatch.setattr(smoothed, "PIECE", piece)
        model.zero_grad()
        loss = gidd_at(process, model, x, z, t)
        loss.mean().backward()
        results.append((loss.detach(), [p.grad.clone() for p in model.parameters()]))
    assert rows[0] == 32 and max(rows[1:]) == 5
    assert torch.allclose(results[0][0], results[1][0], rtol=1e-5)
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(results[0][1], results[1][1]))


@each_process
def test_float32_holds_at_the_ends(process):
    """Near t = 0 and 1 the weights explode while the divergences vanish; the product must survive."""
    t = torch.tensor([0.0, 1e-7, 1e-5, 1e-3, 0.999, 1 - 1e-5, 1 - 1e-7, 1.0])
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(V, (8, 50), generator=generator)
    logits = torch.randn(50, V, generator=generator) * 2
    for scale in (1.0, 30.0):  # 30: some predictions underflow
        z = process.corrupt(x, t, generator)
        single = (logits * scale).requires_grad_()
        loss = gidd_at(process, Logits(single), x, z, t)
        loss.sum().backward()
        assert bool(loss.isfinite().all()) and bool(single.grad.isfinite().all()) and bool((loss > -1e-3).all())
        inner = t.double().clamp(2**-24, 1 - 2**-24)
        expected = gidd_at(process, Logits((logits * scale).double()), x, z, inner)
        assert torch.allclose(loss.double(), expected, rtol=1e-3, atol=1e-4)


# Equalities with the neighbours.


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=["linear", "cosine"])
def test_masks_alone_are_masked_nelbo_and_touch_only_masked_rows(schedule, monkeypatch):
    model = Transformer(TransformerConfig(V=11, length=16, width=16, layers=1, heads=2))
    process = masked(11, schedule)
    x, t = torch.randint(11, (8, 16)), torch.linspace(0.001, 1, 8)
    rows, head = [], model.head.forward

    def spy(h):
        rows.append(h.shape[0])
        return head(h)

    monkeypatch.setattr(model.head, "forward", spy)
    ours = gidd_nelbo(process, model, x, t, torch.Generator().manual_seed(0))
    reference = masked_nelbo(process, model, x, t, torch.Generator().manual_seed(0))
    assert torch.allclose(ours, reference, rtol=1e-5, atol=1e-6)
    z = process.corrupt(x, t, torch.Generator().manual_seed(0))
    assert rows == [int((z == 11).sum())] * 2 and rows[0] < x.numel()


def test_hybrid_with_p_uniform_0_is_masked_nelbo():
    model = Transformer(TransformerConfig(V=11, length=16, width=16, layers=1, heads=2))
    x, t = torch.randint(11, (8, 16)), torch.rand(8)
    ours = gidd_nelbo(hybrid(11, 0.0), model, x, t, torch.Generator().manual_seed(0))
    assert torch.allclose(ours, masked_nelbo(masked(11), model, x, t, torch.Generator().manual_seed(0)), rtol=1e-5)


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=["linear", "cosine"])
def test_uniform_noise_gives_udlm_pointwise(schedule):
    """UDLM's integrand (Schiff et al. 2024; as in Duo, Sahoo et al. 2025): K alpha x + (1 - alpha) 1 on both sides, z =
    index i.
    """
    K, process = 7, uniform(7, schedule)
    generator = torch.Generator().manual_seed(0)
    x, t = torch.randint(K, (16, 9), generator=generator), torch.linspace(0.02, 0.98, 16, dtype=torch.float64)
    z = process.corrupt(x, t, generator)
    logits = torch.randn(16, 9, K, generator=generator, dtype=torch.float64) * 2
    alpha, slope = (f(t)[:, None, None] for f in (schedule.alpha, schedule.dalpha))
    bar, bar_hat = (K * alpha * p + 1 - alpha for p in (F.one_hot(x, K).double(), logits.softmax(-1)))
    at_z, at_z_hat = (b.gather(-1, z[..., None]) for b in (bar, bar_hat))
    inner = (bar / at_z * (at_z_hat * bar / (bar_hat * at_z)).log()).sum(-1)
    udlm = slope[..., 0] / (K * alpha[..., 0]) * (K / at_z[..., 0] - K / at_z_hat[..., 0] - inner)
    assert torch.allclose(gidd_at(process, Logits(logits), x, z, t), udlm, rtol=1e-9)


@each_process
def test_a_prediction_that_ignores_the_noisy_text_has_an_exact_bound(process):
    """A fixed prediction is a language of independent tokens, and its bound is -log p(x), whatever the noise."""
    logits = torch.randn(1, V, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2
    for x in range(V):
        bound = expected_bound(process, Logits(logits), torch.tensor([[x]]), torch.ones(1, dtype=torch.float64))
        assert bound.item() == pytest.approx(-logits.log_softmax(-1)[0, x].item(), rel=2e-6)


def chain_bound(process, table, T):
    """D3PM's bound of x = 0 at length 1: the sum over T steps of the exact divergences between posteriors."""
    V = process.V
    x, z = torch.zeros(T * (V + 1), 1, dtype=torch.long), torch.arange(V + 1).repeat(T)[:, None]
    step = torch.arange(1, T + 1, dtype=torch.float64).repeat_interleave(V + 1)
    s, t = (step - 1) / T, step / T
    chance = process.marginal(x, t).gather(-1, z[..., None])[:, 0, 0]
    true, model = process.posterior(z, x, s, t), process.posterior(z, table.softmax(-1)[z[:, 0]], s, t)
    divergence = (torch.special.xlogy(true, true) - torch.special.xlogy(true, model)).sum(-1)[:, 0]
    return (chance * torch.where(chance > 0, divergence, 0)).sum().item()


@pytest.mark.parametrize("process, T", [(hybrid(4, 0.0), 2000), (hybrid(4, 0.1), 2000), (hybrid(4, 0.2), 2000),
                                        (hybrid(4, 0.5), 32_000), (uniform(4), 2000)])  # fmt: skip
def test_the_integral_is_the_sum_of_exact_posterior_divergences(process, T):
    """N = 5 symbols and a random prediction for every z: the continuous bound is the limit of D3PM's chains.

    2000 steps suffice for 0.1 %, but for the fast changes near both ends at p_u = 0.5.
    """
    table = torch.randn(5, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    bound = expected_bound(process, Table(table), torch.zeros(1, 1, dtype=torch.long), torch.ones(1).double()).item()
    gaps = [abs(chain_bound(process, table, steps) / bound - 1) for steps in (T // 4, T)]
    assert gaps[1] < 1e-3 and gaps[1] <= max(gaps[0] / 2, 1e-12)  # masks alone are exact for any T here


# Which denoiser is perfect?


@each_process
def test_the_bound_is_the_entropy_for_a_denoiser_that_leaves_its_own_token_out(process):
    """p(x_i | z without z_i) makes the bound tight. The posterior p(x_i | z_t) does so for masks only: elsewhere it
    counts z_i twice.
    """
    exact = Posterior(process)
    bound = expected_bound(process, LeaveOneOut(exact, process)).item()
    assert bound == pytest.approx(ENTROPY, abs=2e-6)
    gap = expected_bound(process, exact).item() - ENTROPY
    assert abs(gap) < 1e-9 if not process.has_uniform else gap > 0.3


@each_random_process
def test_leaving_out_ones_own_token_is_bayes(process):
    """Divided out of the posterior, and summed over the other position by hand."""
    z, t = torch.tensor([[0, 1], [2, 2], [1, 0]]), torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    ours = leave_one_out(Posterior(process).hidden(z, t), process, z, t).softmax(-1)
    for row, i in itertools.product(range(3), range(L)):
        seen = process.marginal(TEXTS, t[row].expand(len(TEXTS)))[:, 1 - i, z[row, 1 - i]]  # q(z_other | x_other)
        p = torch.zeros(V, dtype=torch.float64).index_add(0, TEXTS[:, i], JOINT * seen)
        assert torch.allclose(ours[row, i], p / p.sum(), rtol=1e-8)


@each_random_process
@pytest.mark.parametrize("weighting, shares", [(None, True), (relative(), True), (clamped(1.0), False)],
                         ids=["elbo", "relative", "clamped"])  # fmt: skip
def test_which_weights_keep_the_optimum(process, weighting, shares):
    """The gradient at the perfect denoiser, summed over all x that can lie under one z: zero if only times are
    re-weighted.
    """
    t, z = torch.tensor([0.1], dtype=torch.float64), torch.tensor([[0, 1]])
    n = len(TEXTS)
    exact = LeaveOneOut(Posterior(process), process).hidden(z, t)[0]
    logits = exact.clone().requires_grad_()
    chance = JOINT * process.marginal(TEXTS, t.expand(n)).gather(-1, z.expand(n, L)[..., None])[..., 0].prod(1)
    loss = gidd_at(process, Logits(logits), TEXTS, z.expand(n, L), t.expand(n), weighting)
    (chance / chance.sum() * loss.sum(1)).sum().backward()
    size = logits.grad.abs().max().item()
    assert size < 1e-10 if shares else size > 1e-3


@pytest.mark.parametrize("process", [hybrid(V, 0.3), uniform(V)], ids=["hybrid", "uniform"])
def test_the_plug_in_chain_needs_the_same_denoiser(process):
    """With its own token left out the T-step chain tends to the language; with the posterior it stays away."""

    def distance(denoiser, T):
        states = torch.tensor(list(itertools.product(range(V + 1), repeat=L)))
        one = torch.ones(len(states), dtype=torch.float64)
        p = process.marginal(torch.zeros(1, L, dtype=torch.long), one[:1])[0].gather(1, states.T).prod(0)
        possible = p > 0
        for step in range(T, 0, -1):
            s, t = one * ((step - 1) / T), one * (step / T)
            possible = process.marginal(torch.zeros_like(states), t).gather(-1, states[..., None])[..., 0].prod(1) > 0
            here = states[possible]
            x_hat = denoiser.hidden(here, t[possible]).softmax(-1)
            move = process.posterior(here, x_hat, s[possible], t[possible])  # (n, L, K)
            p = p[possible] @ torch.stack([move[:, i][:, states[:, i]] for i in range(L)]).prod(0)
        final = p[(states < V).all(1)]
        return 0.5 * (final - JOINT).abs().sum().item()

    exact = Posterior(process)
    left_out = [distance(LeaveOneOut(exact, process), T) for T in (4, 16, 64)]
    assert left_out[0] > 2 * left_out[1] > 4 * left_out[2] and left_out[2] < 0.03
    assert distance(exact, 64) > 5 * left_out[2]


# Estimates and training weights.


def test_both_estimators_are_unbiased():
    """One draw of t and z per text against -log p: within five standard errors, and the warped one with fewer outliers.

    Over plain uniform times the variance is infinite under hybrid noise, so that estimator is tried on uniform noise.
    """
    generator = torch.Generator().manual_seed(0)
    x = TEXTS[torch.multinomial(JOINT, 40_000, replacement=True, generator=generator)]
    truth = -(JOINT[(x * torch.tensor([3, 1])).sum(1)]).log()  # of each draw's own text, so that only t and z are noise
    largest = []
    for process, nelbo in ((uniform(V), gidd_nelbo), (hybrid(V, 0.5), gidd_nelbo_warped), (hybrid(V, 0.5), gidd_nelbo)):
        denoiser = LeaveOneOut(Posterior(process), process)
        draws = nelbo(process, denoiser, x, torch.rand(len(x), generator=generator), generator).double().sum(1)
        excess = draws - truth
        largest.append(draws.max().item())
        if len(largest) < 3:
            assert abs(excess.mean().item()) < 5 * excess.std().item() / math.sqrt(len(x))
    assert largest[1] < largest[2] / 2


@pytest.mark.parametrize("p_u", [0.2, None])
def test_the_toy_language_is_met_within_its_error(p_u):
    """The oracle of the course, its own token left out, against the exact log-probability of each text."""
    language = toy_language()
    process = uniform(language.V) if p_u is None else hybrid(language.V, p_u)
    generator = torch.Generator().manual_seed(0)
    x = language.sample(768, generator=generator)
    s = torch.rand(len(x), generator=generator)
    posterior = language.denoiser(process)

    def excess(denoiser):
        return gidd_nelbo_warped(process, denoiser, x, s, generator).sum(1) + language.log_prob(x)

    perfect, twice = excess(LeaveOneOut(posterior, process)), excess(posterior)
    assert abs(perfect.mean().item()) < 4 * perfect.std().item() / math.sqrt(len(x))
    assert twice.mean().item() > 0.5  # nats per text that counting the own token twice costs


def test_it_fits_the_estimator_of_the_course():
    model = Transformer(TransformerConfig(V=V, length=8, width=16, layers=1, heads=2))
    process = hybrid(V, 0.1)
    batches = [torch.randint(V, (16, 8))]
    estimate = estimate_nelbo(lambda x, t, g: gidd_nelbo(process, model, x, t, g), batches, draws=2)
    assert math.isfinite(estimate.mean) and estimate.mean > 0


def test_clamped_and_dynamic_weights_are_the_papers():
    V, p_u = 20, 0.2
    process, t = hybrid(V, p_u), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    x, z = torch.zeros(3, 3, dtype=torch.long), torch.tensor([[V, 1, 0]] * 3)
    w = elbo_weights(process, x, z, t)
    assert torch.equal(clamped(1.5)(w, process, x, z, t), w.clamp_max(1.5))
    alpha = process.masses(t)[0]
    snr = (alpha / (1 - alpha)).log()  # lambda_t
    right = HybridSchedule(p_u).B / V * (-snr / 2).exp()
    expected = 3 * torch.stack([torch.full_like(t, 2), torch.ones_like(t), right], dim=1)
    assert torch.allclose(dynamic(3.0)(w, process, x, z, t), expected)
    exact = relative(3.0)(w, process, x, z, t)
    assert torch.allclose(exact[:, :2], expected[:, :2])  # 2 and 1 are exact, the last column is an approximation
    assert bool((exact[:, 2] <= 3).all()) and torch.allclose(exact[:, 2], expected[:, 2], rtol=0.5)
    late = torch.full((3,), 1 - 1e-7)
    assert dynamic(3.0)(w, process, x, z, late)[0, 2] <= 3


def test_dynamic_weights_work_for_masks_and_train():
    model = Transformer(TransformerConfig(V=V, length=8, width=16, layers=1, heads=2))
    x, t = torch.randint(V, (4, 8)), torch.rand(4)
    for process in (masked(V), hybrid(V, 0.2)):
        gidd_loss(process, model, x, t).mean().backward()
        assert bool(model.head.weight.grad.isfinite().all())
    process = masked(V)
    loss = gidd_loss(process, model, x, t, torch.Generator().manual_seed(0), dynamic(1.0))
    bound = masked_nelbo(process, model, x, t, torch.Generator().manual_seed(0))
    assert torch.allclose(loss, 2 * (t * (1 - t))[:, None] * bound, atol=1e-5)  # 2 alpha CE against CE / t


# What is refused.


def test_another_vocabulary_is_refused():
    x, t = torch.zeros(2, 4, dtype=torch.long), torch.rand(2)
    with pytest.raises(ValueError, match="predicts 5 tokens but the process has 3"):
        gidd_nelbo(hybrid(V, 0.1), Logits(torch.zeros(5)), x, t)
    with pytest.raises(ValueError, match="predicts 5 tokens but the process has 3"):
        LeaveOneOut(Logits(torch.zeros(5)), hybrid(V, 0.1))
    with pytest.raises(ValueError, match="encoded with another vocabulary"):
        gidd_nelbo(hybrid(V, 0.1), Logits(torch.zeros(V)), x + 3, t)


@pytest.mark.parametrize("t", [1.5, -0.1, math.nan])
def test_times_outside_0_to_1_are_refused(t):
    with pytest.raises(ValueError, match="t must lie in"):
        gidd_nelbo(hybrid(V, 0.1), Logits(torch.zeros(V)), torch.zeros(1, 4, dtype=torch.long), torch.tensor([t]))


def test_weights_that_are_not_finite_are_refused():
    x, t = torch.zeros(2, 4, dtype=torch.long), torch.rand(2)

    def broken(w, process, x, z_t, t):
        return w * math.nan

    with pytest.raises(ValueError, match="weight is not finite"):
        gidd_loss(hybrid(V, 0.1), Logits(torch.zeros(V)), x, t, weighting=broken)
    with pytest.raises(ValueError, match="weight is not finite"):
        gidd_at(masked(V), Logits(torch.zeros(V)), x, x + 1, t)  # masks alone never turn 0 into 1
    with pytest.raises(ValueError, match="w_max"):
        clamped(0.0)
    with pytest.raises(ValueError, match="take relative"):
        gidd_loss(uniform(V), Logits(torch.zeros(V)), x, t, weighting=dynamic())
    with pytest.raises(ValueError, match="masks alone make none"):
        gidd_loss(masked(V), Logits(torch.zeros(V)), x, t, weighting=relative())
