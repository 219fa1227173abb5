"""D3PM's bound against the truth: languages small enough to sum over every text, every noisy text and every step."""

import math

import pytest
import torch
from enumerable import FixedNoise, TinyLanguage, all_sequences, chi_square_p, index_of, random_denoiser

from difflm_core.evaluation import estimate_nelbo
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives.d3pm import d3pm_hybrid_loss, d3pm_nelbo, d3pm_parts
from difflm_core.objectives.d3pm_terms import kl, prior_kl, reverse_kl
from difflm_core.objectives.masked import masked_nelbo_discrete
from difflm_core.processes import CosineBeta, LinearBeta, hybrid, masked, uniform
from difflm_core.processes import matrices as M
from difflm_core.samplers import sample_discrete

V, L, T = 3, 2, 6
EXACT = dict(rtol=0, atol=1e-12)
LANGUAGE = TinyLanguage(V, L)
CORRELATION = 0.2010982  # nats by which the two words of LANGUAGE depend on each other, checked below
EMBEDDING = torch.tensor([[0.0], [1.0], [3.0]])


def matrix_process(name: str, steps: int = T) -> M.MatrixProcess:
    """All with about the same noise in all, whatever the number of steps."""
    betas, moves = M.cosine_betas(steps), torch.linspace(1, 20, steps, dtype=torch.float64) / steps
    Q = {
        "uniform": lambda: M.uniform(V, betas),
        "absorbing": lambda: M.absorbing(V + 1, M.reciprocal_betas(steps)),
        "gaussian": lambda: M.gaussian(V, -1 / moves.clamp_max(0.35).log()),  # exp(-1 / beta) to the next of 3
        "nearest neighbour": lambda: M.nearest_neighbour(EMBEDDING, moves, 1),
    }[name]()
    return M.MatrixProcess(Q, V)


UNIFORM, ABSORBING = M.uniform_process(V, M.cosine_betas(T)), M.absorbing_process(V, M.reciprocal_betas(T))
NAMES = ["uniform", "absorbing", "gaussian", "nearest neighbour"]
every_family = pytest.mark.parametrize("name", NAMES)


def at(t: float, n: int) -> torch.Tensor:
    return torch.full((n,), t, dtype=torch.float64)


class BayesDenoiser:
    """Exact by enumeration: p(x_i | z_t), or with `blind` p(x_i | z_t without z_i), for any process with a marginal."""

    def __init__(self, language: TinyLanguage, process, blind: bool = False):
        self.language, self.process, self.blind = language, process, blind
        self.V, self.length = language.V, language.length

    def hidden(self, z, t):
        words = [self.process.marginal(torch.full_like(z, v), t) for v in range(self.V)]
        seen = torch.stack([law.gather(-1, z[..., None])[..., 0] for law in words], -1)  # q(z_i | v), (B, L, V)
        texts = self.language.texts
        likelihood = torch.stack([seen[:, i][:, texts[:, i]] for i in range(self.length)], 1)  # (B, L, texts)
        answer = torch.zeros(*z.shape, self.V, dtype=torch.float64)
        for i in range(self.length):
            counted = [j for j in range(self.length) if j != i or not self.blind]
            answer[:, i].index_add_(1, texts[:, i], self.language.p * likelihood[:, counted].prod(1))
        return (answer / answer.sum(-1, keepdim=True)).log().clamp_min(-1e30)

    def logits(self, h):
        return h


def exact_terms(process, denoiser, steps: int, language: TinyLanguage = LANGUAGE) -> torch.Tensor:
    """(steps,): each term of the bound, summed over all texts and all noisy texts with their probabilities."""
    K, n = getattr(process, "K", V + 1), len(language.texts)
    z = all_sequences(K, language.length)
    x, z, p = language.texts.repeat_interleave(len(z), 0), z.repeat(n, 1), language.p.repeat_interleave(len(z))
    terms = []
    for step in range(1, steps + 1):
        s, t = at((step - 1) / steps, len(x)), at(step / steps, len(x))
        weight = p * process.marginal(x, t).gather(-1, z[..., None])[..., 0].prod(-1)
        seen = weight > 0
        s, t, x_seen, z_seen = s[seen], t[seen], x[seen], z[seen]
        term = reverse_kl(process, denoiser, denoiser.hidden(z_seen, t), x_seen, z_seen, s, t)
        terms.append((weight[seen] * term.sum(-1)).sum())
    return torch.stack(terms)


def exact_bound(process, denoiser, steps: int, language: TinyLanguage = LANGUAGE) -> float:
    """Nats per text."""
    prior = (language.p[:, None] * prior_kl(process, language.texts)).sum()
    return (prior + exact_terms(process, denoiser, steps, language).sum()).item()


# --- one term: the three ways agree -------------------------------------------------------------------------------


def noisy_texts(process, times, seed: int = 0):
    """Random x (one row for each pair of times), z_t and a wrong denoiser."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(V, (len(times), 4), generator=generator)
    s, t = torch.tensor(times, dtype=torch.float64).T.contiguous()
    return x, process.corrupt(x, t, generator), s, t, random_denoiser(V, 4, with_time=True)


STEPS = [(i / T, j / T) for i in range(T) for j in range(i + 1, T + 1)] * 4


@pytest.mark.parametrize("name", ["uniform", "absorbing"])
def test_closed_form_terms_equal_the_matrices(name):
    process = matrix_process(name)
    closed = UNIFORM if name == "uniform" else ABSORBING
    x, z, s, t, denoiser = noisy_texts(process, STEPS)
    gradients = []
    for noise in (process, closed):
        h = denoiser.hidden(z, t).requires_grad_()
        loss = reverse_kl(noise, denoiser, h, x, z, s, t)
        gradients.append(torch.autograd.grad(loss.sum(), h)[0])
        if noise is process:
            expected = loss
    torch.testing.assert_close(loss, expected, **EXACT)
    torch.testing.assert_close(*gradients, **EXACT)
    torch.testing.assert_close(prior_kl(closed, x), prior_kl(process, x), **EXACT)


@pytest.mark.parametrize(
    "process",
    [hybrid(V, 0.2), hybrid(V, 0.7, 2.0), uniform(V), uniform(V, LinearBeta()), masked(V)],
    ids=["hybrid", "hybrid 2", "uniform", "uniform beta", "masked"],
)
def test_terms_of_any_discrete_process_are_the_kl_of_its_posteriors(process):
    times = [(0.0, 0.001), (0.0, 0.5), (0.2, 0.201), (0.3, 0.9), (0.0, 1.0), (0.999, 1.0)] * 8
    x, z, s, t, denoiser = noisy_texts(process, times)
    h = denoiser.hidden(z, t)
    p = h.softmax(-1)
    expected = kl(process.posterior(z, x, s, t), process.posterior(z, p, s, t))
    torch.testing.assert_close(reverse_kl(process, denoiser, h, x, z, s, t), expected, rtol=1e-9, atol=1e-11)


@every_family
def test_the_last_term_is_the_log_probability_of_the_text(name):
    process = matrix_process(name)
    x, z, s, t, denoiser = noisy_texts(process, [(0.0, 1 / T), (0.0, 2 / T), (0.0, 1.0)] * 5)
    h = denoiser.hidden(z, t)
    p = process.posterior(z, h.softmax(-1), s, t).gather(-1, x[..., None])[..., 0]
    torch.testing.assert_close(reverse_kl(process, denoiser, h, x, z, s, t), -p.log(), **EXACT)


def test_a_gaussian_tail_that_underflows_does_not_make_the_bound_infinite():
    """exp(-4 d^2 / ((K - 1)^2 beta)) passes 1e-308 within the alphabet: q(z_s) may be 1e-310 where p(z_s) is 0."""
    K = 60
    for betas in (torch.linspace(0.002, 0.5, 10, dtype=torch.float64), torch.linspace(0.002, 0.5, 10)):
        process = M.MatrixProcess(M.gaussian(K, betas), K)
        x = torch.arange(K)[None].expand(10, -1)
        s, t = torch.arange(10).double() / 10, torch.arange(1, 11).double() / 10
        z = process.corrupt(x, t, torch.Generator().manual_seed(0))
        h = torch.full((10, K, K), -1e30, dtype=betas.dtype).scatter(2, x[..., None], -5.0)
        h = h.scatter(2, (x[..., None] + 1) % K, 0.0).requires_grad_()  # mistaken by one, but for exp(-5)
        loss = reverse_kl(process, TinyHead(K), h, x, z, s, t)
        loss.sum().backward()
        assert bool(loss.isfinite().all()) and 0.1 < loss.max() < 7 and bool(h.grad.isfinite().all())


class TinyHead:
    def __init__(self, V):
        self.V = V

    def logits(self, h):
        return h


def test_single_precision_loses_little_over_a_thousand_steps():
    process = M.uniform_process(V, M.cosine_betas(1000))
    x, z, s, t, denoiser = noisy_texts(process, [((i - 1) / 1000, i / 1000) for i in range(1, 1001)])
    exact = reverse_kl(process, denoiser, denoiser.hidden(z, t), x, z, s, t)
    single = reverse_kl(process, denoiser, denoiser.hidden(z, t).float(), x, z, s, t)
    assert single.dtype == torch.float32
    assert (single.double() - exact).sum(0).abs().max() < 2e-4 * exact.sum(0).max()
    assert single.min() > -1e-7


# --- the bound and the truth ------------------------------------------------------------------------------------------


@every_family
@pytest.mark.parametrize("steps", [1, 3, 6])
def test_for_a_single_word_the_bound_is_the_entropy(name, steps):
    """With L = 1 nothing is factorised, so only the prior's error is left: entropy + KL(q(z_T) || prior), for any T."""
    language, process = TinyLanguage(V, 1, seed=2), matrix_process(name, steps)
    last = language.p @ process.Qbar[-1][:V]
    expected = language.entropy() + kl(last, process.law).item()
    bound = exact_bound(process, BayesDenoiser(language, process, blind=True), steps, language)
    assert bound == pytest.approx(expected, abs=1e-11)


@every_family
def test_the_exact_denoiser_comes_down_to_the_entropy(name):
    gaps = []
    for steps in (4, 40, 160):
        process = matrix_process(name, steps)
        gaps.append(exact_bound(process, BayesDenoiser(LANGUAGE, process, blind=True), steps) - LANGUAGE.entropy())
    assert gaps[0] > gaps[1] > gaps[2] > 0 and gaps[2] < 0.004
    assert gaps[1] / gaps[2] == pytest.approx(4, abs=0.5)  # of order 1 / T


def test_for_masks_the_price_of_T_steps_is_the_dependence_of_the_words_over_T():
    first, second = LANGUAGE.p.view(V, V).sum(1), LANGUAGE.p.view(V, V).sum(0)
    dependence = torch.special.entr(first).sum() + torch.special.entr(second).sum() - LANGUAGE.entropy()
    assert dependence.item() == pytest.approx(CORRELATION, abs=1e-6)
    for steps in (1, 2, 5, 20):
        process = M.absorbing_process(V, M.reciprocal_betas(steps))
        gap = exact_bound(process, BayesDenoiser(LANGUAGE, process), steps) - LANGUAGE.entropy()
        assert gap == pytest.approx(CORRELATION / steps, abs=1e-6)  # two words are revealed together with chance 1 / T


@pytest.mark.parametrize("name", ["uniform", "gaussian", "nearest neighbour"])
def test_the_plug_in_of_the_true_posterior_counts_the_evidence_twice(name):
    """Eq. 4 with p(x_i | z_t): for anything but masks the bound stays far above the entropy, however many the steps."""
    gaps = []
    for steps in (4, 32):
        process = matrix_process(name, steps)
        gaps.append(exact_bound(process, BayesDenoiser(LANGUAGE, process), steps) - LANGUAGE.entropy())
    assert gaps[1] > 0.4


def test_the_bound_and_the_cross_entropy_pull_a_uniform_network_apart():
    """Slopes by the network's answers: 0 for the bound at p(x_i | z without z_i), for cross-entropy at p(x_i | z)."""
    process, slopes = matrix_process("uniform"), {}
    z = all_sequences(V, L)
    x, z = LANGUAGE.texts.repeat_interleave(len(z), 0), z.repeat(len(LANGUAGE.texts), 1)
    t, s = at(2 / T, len(x)), at(1 / T, len(x))
    weight = LANGUAGE.p.repeat_interleave(V**L) * process.marginal(x, t).gather(-1, z[..., None])[..., 0].prod(-1)
    for blind in (True, False):
        table = BayesDenoiser(LANGUAGE, process, blind).hidden(all_sequences(V, L), at(2 / T, V**L)).requires_grad_()
        h = table[index_of(z, V)]
        bound = (weight * reverse_kl(process, random_denoiser(V, L), h, x, z, s, t).sum(-1)).sum()
        cross = (weight[:, None] * -h.log_softmax(-1).gather(-1, x[..., None])[..., 0]).sum()
        slopes[blind] = [torch.autograd.grad(f, table, retain_graph=True)[0].abs().max().item() for f in (bound, cross)]
    assert slopes[True][0] < 1e-12 < 1e-3 < slopes[True][1]
    assert slopes[False][1] < 1e-12 < 1e-3 < slopes[False][0]


def test_prior_term():
    x = torch.arange(V)[None]
    assert prior_kl(matrix_process("absorbing"), x).abs().max() == 0
    betas = torch.full((4,), 0.2, dtype=torch.float64)
    process, closed = M.MatrixProcess(M.uniform(V, betas), V), M.uniform_process(V, betas)
    left = 0.8**4
    expected = sum(q * math.log(q * V) for q in (left + (1 - left) / V, (1 - left) / V, (1 - left) / V))
    for noise in (process, closed):
        torch.testing.assert_close(prior_kl(noise, x), torch.full((1, V), expected, dtype=torch.float64), **EXACT)
    assert prior_kl(M.uniform_process(V, M.cosine_betas(9)), x).abs().max() == 0
    for noise in (M.MatrixProcess(M.absorbing(V + 1, betas), V), masked(V, LinearBeta())):
        with pytest.raises(ValueError, match="still visible at t = 1"):
            prior_kl(noise, x)
    assert prior_kl(masked(V, CosineBeta()), x).abs().max() == 0  # cos^2(pi / 2) is 1e-33, not 0


# --- the estimators -------------------------------------------------------------------------------------------------


@every_family
def test_the_estimate_is_unbiased(name):
    """d3pm_nelbo at each step, over all z_t with their probabilities, averages to the exact sum."""
    process, denoiser = matrix_process(name), random_denoiser(V, L, with_time=True)
    z = all_sequences(process.K, L)
    x, z, p = LANGUAGE.texts.repeat_interleave(len(z), 0), z.repeat(V**L, 1), LANGUAGE.p.repeat_interleave(len(z))
    mean = 0.0
    for step in range(1, T + 1):
        t = at((step - 0.3) / T, len(x))
        weight = p * process.marginal(x, at(step / T, len(x))).gather(-1, z[..., None])[..., 0].prod(-1)
        seen = weight > 0
        loss = d3pm_nelbo(FixedNoise(process, z[seen]), denoiser, x[seen], t[seen])
        mean += (weight[seen] * loss.sum(-1)).sum().item() / T
    assert mean == pytest.approx(exact_bound(process, denoiser, T), abs=1e-10)


@every_family
def test_parts_have_the_expected_size_and_sum(name):
    process, denoiser = matrix_process(name), random_denoiser(V, L, with_time=True)
    x = LANGUAGE.sample(4000, torch.Generator().manual_seed(1))
    parts = d3pm_parts(process, denoiser, x, generator=torch.Generator().manual_seed(2))
    assert parts.prior.shape == x.shape and parts.steps.shape == (T, *x.shape)
    torch.testing.assert_close(parts.nelbo, parts.prior + parts.steps.sum(0))
    mean, error = parts.steps.sum(-1).mean(1), parts.steps.sum(-1).std(1) / 4000**0.5
    assert bool(((mean - exact_terms(process, denoiser, T)).abs() < 4 * error + 1e-12).all())


def test_estimates_repeat_with_their_generator_and_work_without_matrices():
    for process in (matrix_process("uniform"), UNIFORM, hybrid(V, 0.3)):
        x, t = LANGUAGE.texts, torch.rand(V**L, generator=torch.Generator().manual_seed(0))
        a, b = (d3pm_nelbo(process, random_denoiser(V, L), x, t, T, torch.Generator().manual_seed(5)) for _ in range(2))
        assert torch.equal(a, b) and a.shape == x.shape


def test_absorbing_is_the_discrete_masked_bound():
    x, t = LANGUAGE.texts, torch.linspace(0.01, 1, V**L, dtype=torch.float64)
    for denoiser in (random_denoiser(V, L, with_time=True), LANGUAGE.denoiser()):
        for steps in (1, 4, 1000):
            arguments = (denoiser, x, t, steps)
            expected = masked_nelbo_discrete(masked(V), *arguments, torch.Generator().manual_seed(4))
            for process in (masked(V), M.absorbing_process(V, M.reciprocal_betas(steps))):
                got = d3pm_nelbo(process, *arguments, torch.Generator().manual_seed(4))
                torch.testing.assert_close(got, expected, rtol=1e-9, atol=0)


def test_absorbing_tends_to_the_continuous_masked_bound():
    """MDLM Eq. 11 for two words and a wrong denoiser, as a sum over the number n of masks (Zheng et al. Prop. 3.1)."""
    denoiser = random_denoiser(V, L)
    patterns, limit = torch.tensor([[True, False], [False, True], [True, True]]), 0.0
    for mask in patterns:  # a pattern of n masks counts 1 / (n C(2, n)) = 1/2
        z = torch.where(mask, V, LANGUAGE.texts)
        nll = -denoiser.hidden(z).log_softmax(-1).gather(-1, LANGUAGE.texts[..., None])[..., 0]
        limit += (LANGUAGE.p[:, None] * nll * mask).sum().item() / 2
    errors = [exact_bound(M.absorbing_process(V, M.reciprocal_betas(n)), denoiser, n) - limit for n in (10, 100)]
    assert abs(errors[1]) < 0.02 and errors[0] / errors[1] == pytest.approx(10, rel=0.01)


@every_family
def test_hybrid_is_the_bound_plus_lambda_cross_entropies(name):
    process, denoiser, lam = matrix_process(name), random_denoiser(V, L, with_time=True), 0.3
    x, t = LANGUAGE.texts, torch.linspace(0.05, 1, V**L, dtype=torch.float64)
    arguments = (process, denoiser, x, t)
    bound = d3pm_nelbo(*arguments, generator=torch.Generator().manual_seed(6))
    loss = d3pm_hybrid_loss(*arguments, lam, generator=torch.Generator().manual_seed(6))
    t = (t * T).ceil() / T
    z = process.corrupt(x, t, torch.Generator().manual_seed(6))
    cross_entropy = -denoiser.hidden(z, t).log_softmax(-1).gather(-1, x[..., None])[..., 0]
    torch.testing.assert_close(loss, bound + lam * T * cross_entropy, **EXACT)
    plain = d3pm_hybrid_loss(*arguments, 0.0, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(plain, bound, **EXACT)


@every_family
def test_k_step_evaluation_is_the_chain_of_k_step_matrices(name):
    process, denoiser, values = matrix_process(name, 12), random_denoiser(V, L, with_time=True), []
    for k in (1, 3, 4, 12):
        identity = torch.eye(process.K, dtype=torch.float64)
        coarse = M.MatrixProcess(torch.stack([torch.linalg.multi_dot([identity, *Q]) for Q in process.Q.split(k)]), V)
        skipping = exact_bound(process, denoiser, 12 // k)
        assert skipping == pytest.approx(exact_bound(coarse, denoiser, 12 // k), abs=1e-11)
        values.append(exact_bound(process, BayesDenoiser(LANGUAGE, process, blind=True), 12 // k))
    assert values == sorted(values)  # fewer steps, looser bound
    x, t = LANGUAGE.texts, torch.linspace(0.05, 1, V**L)
    both = [d3pm_nelbo(noise, denoiser, x, t, 1, torch.Generator().manual_seed(1)) for noise in (process, coarse)]
    torch.testing.assert_close(*both, **EXACT)


def test_a_network_trains_and_is_evaluated_on_it():
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(V, L, width=32, layers=1, heads=2, time_conditioning=True))
    generator = torch.Generator().manual_seed(0)
    for process in (matrix_process("gaussian"), UNIFORM, ABSORBING):
        model.zero_grad()
        x, t = LANGUAGE.sample(16, generator), torch.rand(16, generator=generator)
        d3pm_hybrid_loss(process, model, x, t, 0.01, generator=generator).mean().backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        assert all(g is not None and bool(g.isfinite().all()) for g in gradients)

        def nelbo(x, t, generator, process=process):
            return d3pm_nelbo(process, model, x, t, generator=generator)

        estimate = estimate_nelbo(nelbo, [LANGUAGE.sample(64, generator)], draws=4, generator=generator)
        assert estimate.mean > LANGUAGE.entropy() / L - 4 * estimate.standard_error


# --- sampling -------------------------------------------------------------------------------------------------------


def reverse_law(process, denoiser, steps: int) -> torch.Tensor:
    """The exact law over all texts of `steps` plug-in steps, by summing over all states."""
    states = all_sequences(process.K, L)
    law = torch.stack([process.law[states[:, i]] for i in range(L)]).prod(0)
    for step in range(steps, 0, -1):
        here = states[law > 0]
        s, t = at((step - 1) / steps, len(here)), at(step / steps, len(here))
        kernel = process.posterior(here, denoiser.hidden(here, t).softmax(-1), s, t)  # (here, L, K)
        law = law[law > 0] @ torch.stack([kernel[:, i][:, states[:, i]] for i in range(L)]).prod(0)
    return law[(states < V).all(1)]


@every_family
def test_sample_discrete_draws_from_the_reverse_chain(name):
    process = matrix_process(name)
    denoiser = BayesDenoiser(LANGUAGE, process, blind=True)
    for steps in (T, 2):  # every step, and three at a time
        sample = sample_discrete(process, denoiser, steps, (4000, L), generator=torch.Generator().manual_seed(7))
        assert chi_square_p(index_of(sample.tokens, V), reverse_law(process, denoiser, steps)) > 1e-3


@every_family
def test_more_steps_sample_closer_to_the_language(name):
    distance = {}
    for blind in (True, False):
        for steps in (2, 32):
            process = matrix_process(name, 32)
            law = reverse_law(process, BayesDenoiser(LANGUAGE, process, blind), steps)
            distance[blind, steps] = (law - LANGUAGE.p).abs().sum().item() / 2
    assert distance[True, 32] < 0.3 * distance[True, 2] and distance[True, 32] < 0.02
    if name != "absorbing":
        assert distance[False, 32] > 5 * distance[True, 32]  # the evidence counted twice


def test_sampling_protects_a_prompt():
    process = matrix_process("gaussian")
    prompt = torch.tensor([[1, V]]).expand(50, L)
    sample = sample_discrete(process, random_denoiser(V, L), T, (50, L), prompt, torch.Generator().manual_seed(0))
    assert bool((sample.tokens[:, 0] == 1).all()) and bool((sample.tokens < V).all())


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x, t: d3pm_nelbo(uniform(V), random_denoiser(V, L), x, t), "say how many steps T >= 1"),
        (lambda x, t: d3pm_nelbo(uniform(V), random_denoiser(V, L), x, t, 0), "say how many steps T >= 1"),
        (lambda x, t: d3pm_nelbo(matrix_process("gaussian"), random_denoiser(V, L), x, t, 4), "take a divisor of 6"),
        (lambda x, t: d3pm_nelbo(matrix_process("gaussian"), random_denoiser(V, L), x + 1, t), r"ids must lie in 0..2"),
        (lambda x, t: d3pm_nelbo(uniform(V), random_denoiser(V, L), x, t + 1, 4), r"t must lie in \[0, 1\]"),
        (lambda x, t: d3pm_nelbo(uniform(V), random_denoiser(V + 1, L), x, t, 4), "predicts 4 tokens but .* has 3"),
        (lambda x, t: d3pm_hybrid_loss(uniform(V), random_denoiser(V, L), x, t, -1.0, 4), "at least 0, got -1"),
    ],
)
def test_bad_input_is_named_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(LANGUAGE.texts, torch.linspace(0.05, 1, V**L))
    assert "\n" not in str(caught.value)
