"""The exact language against brute force: all texts and state paths of small hidden Markov models."""

import math
from dataclasses import dataclass
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from difflm_core.oracle import EmbeddingEvidence, HiddenMarkovLanguage, MatrixEvidence, forward_backward, log_chain
from difflm_core.oracle.entropy import by_position

EXACT = dict(rtol=1e-10, atol=1e-10)
seeds = st.integers(0, 2**31 - 1)


@dataclass
class Noise:
    """The least that a discrete process must offer the oracle: V and masses(t). Linear survival."""

    V: int
    share_uniform: float

    def masses(self, t):
        return 1 - t, (1 - self.share_uniform) * t, self.share_uniform * t


def rows(*shape, seed, zeros=0.0):
    """Random row-stochastic matrix; about a share `zeros` of its entries is 0."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(*shape, dtype=torch.float64, generator=generator)
    keep = torch.rand(*shape, generator=generator) >= zeros
    keep[..., -1] = True
    return (weight * keep) / (weight * keep).sum(-1, keepdim=True)


def small(seed=0, S=3, V=3, L=3, zeros=0.0):
    words = [chr(97 + v) for v in range(V)]
    return HiddenMarkovLanguage(rows(S, seed=seed, zeros=zeros), rows(S, S, seed=seed + 1, zeros=zeros),
                                rows(S, V, seed=seed + 2, zeros=zeros), words, L)


def enumerate_texts(language, L):
    """All V^L texts and their probabilities, summed over all S^L state paths one by one."""
    S, V = language.emission.shape
    x = torch.cartesian_prod(*[torch.arange(V)] * L).view(-1, L)
    p = torch.zeros(len(x), dtype=torch.float64)
    for path in torch.cartesian_prod(*[torch.arange(S)] * L).view(-1, L):
        walk = language.initial[path[0]]
        for here, there in zip(path, path[1:]):
            walk = walk * language.transition[here, there]
        p += walk * torch.stack([language.emission[s, x[:, i]] for i, s in enumerate(path)]).prod(0)
    return x, p


def bayes(x, p, likelihood, V):
    """p(x_i = v | z) from p(x) and a (texts, B) table of q(z | x)."""
    joint = p[:, None] * likelihood
    joint = joint / joint.sum(0)
    return torch.stack([torch.stack([joint[x[:, i] == v].sum(0) for v in range(V)], -1) for i in range(x.shape[1])], 1)


def positionwise(x, table):
    """q(z | x) for all texts from a (B, L, V) table of q(z_i | v)."""
    return torch.stack([table[:, i, x[:, i]] for i in range(x.shape[1])]).prod(0).T


# ---------------------------------------------------------------- likelihood, sampling


@settings(max_examples=15)
@given(seeds, st.sampled_from([0.0, 0.5]), st.sampled_from([1, 3, 4]))
def test_log_prob_is_the_sum_over_state_paths(seed, zeros, L):
    language = small(seed, zeros=zeros)
    x, p = enumerate_texts(language, L)
    torch.testing.assert_close(language.log_prob(x).exp(), p, **EXACT)
    torch.testing.assert_close(p.sum().item(), 1.0, **EXACT)
    assert torch.equal(language.grammatical(x), p > 0)
    assert torch.equal(language.log_prob(x).isfinite(), p > 0)


def test_sampling_follows_the_distribution():
    language = small(4, zeros=0.3)
    x, p = enumerate_texts(language, 3)
    n = 20_000
    drawn = language.sample(n, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount((drawn * torch.tensor([9, 3, 1])).sum(1), minlength=27)
    assert (counts[p == 0] == 0).all()
    seen = p > 0
    statistic = ((counts[seen] - n * p[seen]) ** 2 / (n * p[seen])).sum()
    p_value = torch.special.gammaincc((seen.sum().double() - 1) / 2, statistic / 2)
    assert p_value > 0.001


def test_same_generator_same_sample():
    language = small()
    first, second = (language.sample(5, 7, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second) and first.shape == (5, 7)


def test_log_prob_survives_a_state_that_falls_below_float64_and_comes_back():
    # Two languages that never mix: 500 words speak for the first (by 9^500 = 1e477), then 1,000 for the second.
    language = HiddenMarkovLanguage([0.5, 0.5], torch.eye(2), [[0.9, 0.1], [0.1, 0.9]], ["a", "b"], 4)
    x = torch.cat([torch.zeros(500), torch.ones(1000)]).long()[None]
    second = math.log(0.5) + 500 * math.log(0.1) + 1000 * math.log(0.9)
    assert language.log_prob(x).item() == pytest.approx(second, rel=1e-12)


# ---------------------------------------------------------------- posterior


@settings(max_examples=20)
@given(seeds, st.sampled_from([0.0, 0.2, 1.0]), st.floats(0.05, 0.95), st.sampled_from([3, 4]))
def test_posterior_under_masses_is_bayes(seed, share_uniform, t, L):
    language, V = small(seed), 3
    x, p = enumerate_texts(language, L)
    z = torch.cartesian_prod(*[torch.arange(V + (share_uniform < 1))] * L).view(-1, L)  # every noisy text there is
    table = (z[..., None] == torch.arange(V)).double() * (1 - t) + share_uniform * t / V
    table[z == V] = (1 - share_uniform) * t
    expected = bayes(x, p, positionwise(x, table), V)
    time = torch.full((len(z),), t, dtype=torch.float64)
    torch.testing.assert_close(language.posterior(z, time, Noise(V, share_uniform)), expected, **EXACT)


def test_each_row_has_its_own_time():
    language, noise = small(1), Noise(3, 0.3)
    z, t = torch.tensor([[0, 1, 3], [0, 1, 3]]), torch.tensor([0.2, 0.9], dtype=torch.float64)
    together = language.posterior(z, t, noise)
    alone = torch.cat([language.posterior(z[i:i + 1], t[i:i + 1], noise) for i in range(2)])
    torch.testing.assert_close(together, alone, **EXACT)
    assert not torch.allclose(together[0], together[1])


def test_masked_posterior_does_not_depend_on_time():
    language, noise = small(1), Noise(3, 0.0)
    z = torch.tensor([[0, 3, 3], [3, 3, 3]])
    for t in (torch.tensor([0.3, 0.8]), torch.ones(2), torch.zeros(2)):  # a prompt in plain sight at t = 1 is fine
        torch.testing.assert_close(language.posterior(z, t, noise), language.posterior(z, None, noise), **EXACT)
    nothing_seen = language.posterior(z, None, noise)[1]
    torch.testing.assert_close(nothing_seen, language.positional_marginals(3), **EXACT)


@settings(max_examples=10)
@given(seeds, st.sampled_from([3, 4]))
def test_posterior_under_transition_matrices_is_bayes(seed, K):
    language, V, L, T = small(seed), 3, 3, 5
    cumulative = rows(T, K, K, seed=seed)
    x, p = enumerate_texts(language, L)
    z = torch.cartesian_prod(*[torch.arange(K)] * L).view(-1, L)
    step = torch.arange(len(z)) % T + 1
    table = torch.stack([cumulative[k - 1][:V, row].T for k, row in zip(step, z)])  # q(z_i | v) = Q_1...Q_k [v, z_i]
    expected = bayes(x, p, positionwise(x, table), V)
    evidence = MatrixEvidence(cumulative, V)
    torch.testing.assert_close(language.posterior(z, step, evidence), expected, **EXACT)
    torch.testing.assert_close(language.posterior(z, step / T, evidence), expected, **EXACT)
    clean = language.posterior(x, torch.zeros(len(x)), evidence)
    assert torch.equal(clean.argmax(-1), x) and clean.amax(-1).min() > 1 - 1e-12


class Signal:
    def alpha(self, t):
        return 1 - t


@settings(max_examples=15)
@given(seeds, st.sampled_from([1.0, 0.5, 0.05, 1e-4]))
def test_posterior_under_gaussian_noise_is_bayes(seed, t):
    # z is drawn from nowhere in particular: at t = 1e-4 its evidence contradicts the grammar by thousands of nats.
    language, V, L, D, B = small(seed, zeros=0.4), 3, 4, 2, 6
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(V, D, dtype=torch.float64, generator=generator)
    z = torch.randn(B, L, D, dtype=torch.float64, generator=generator)
    alpha = torch.tensor(1 - t, dtype=torch.float64)
    log_table = -(z[:, :, None] - alpha.sqrt() * embeddings).square().sum(-1) / (2 * (1 - alpha))
    x, p = enumerate_texts(language, L)
    log_likelihood = torch.stack([log_table[:, i, x[:, i]] for i in range(L)]).sum(0).T
    possible = p > 0
    best = (log_likelihood[possible] + p[possible, None].log()).amax(0)
    expected = bayes(x[possible], p[possible], (log_likelihood[possible] - best).exp(), V)
    time = torch.full((B,), t, dtype=torch.float64)
    answer = language.posterior(z, time, EmbeddingEvidence(embeddings, Signal()))
    torch.testing.assert_close(answer, expected, rtol=1e-7 if t < 0.01 else 1e-10, atol=1e-10)


@settings(max_examples=10)
@given(seeds)
def test_logarithms_and_scaling_agree(seed):
    language = small(seed, S=5, V=4, zeros=0.4)
    evidence = torch.randn(7, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 3
    scaled, safe = forward_backward.scaled_posterior(language.chain, evidence)
    assert safe.all()
    torch.testing.assert_close(log_chain.posterior(language.chain, evidence), scaled, **EXACT)


@pytest.mark.parametrize("each,other", [(500.0, 999.0), (373.0, 744.0)])  # everything underflows; only one side does
def test_rows_beyond_float64_are_answered_with_logarithms(each, other):
    # Only "aaa" and "bbb" exist. Two positions speak for a by 500 nats each, one for b by 999: a wins by one nat.
    language = HiddenMarkovLanguage([0.5, 0.5], torch.eye(2), torch.eye(2), ["a", "b"], 3)
    evidence = torch.tensor([[[0, -each], [0, -each], [-other, 0]]], dtype=torch.float64)
    _, safe = forward_backward.scaled_posterior(language.chain, evidence)
    answer, impossible = forward_backward.posterior(language.chain, evidence)
    assert not safe.any() and not impossible.any()
    expected = torch.full((3,), 2 * each - other, dtype=torch.float64).sigmoid()
    torch.testing.assert_close(answer[0, :, 0], expected, **EXACT)


# ---------------------------------------------------------------- entropy, independence


@settings(max_examples=10)
@given(seeds, st.sampled_from([0.0, 0.5]))
def test_entropy_is_the_enumerated_one(seed, zeros):
    language, L = small(seed, zeros=zeros), 4
    x, p = enumerate_texts(language, L)
    torch.testing.assert_close(language.entropy(L), torch.special.entr(p).sum().item(), **EXACT)
    single = torch.stack([torch.stack([p[x[:, i] == v].sum() for v in range(3)]) for i in range(L)])
    torch.testing.assert_close(language.positional_marginals(L), single, **EXACT)
    torch.testing.assert_close(language.positional_entropy(L), torch.special.entr(single).sum().item(), **EXACT)
    independent = torch.stack([single[i, x[:, i]] for i in range(L)]).prod(0)
    torch.testing.assert_close(language.independent_grammatical(L), independent[p > 0].sum().item(), **EXACT)


def test_entropy_by_position_is_the_chain_rule():
    language = small(2)
    torch.testing.assert_close(language.entropy_by_position(4).cumsum(0)[2].item(), language.entropy(3), **EXACT)
    torch.testing.assert_close(language.entropy_by_position(1)[0].item(), language.positional_entropy(1), **EXACT)


def test_too_many_beliefs_are_refused():
    with pytest.raises(RuntimeError, match="more than 50 different beliefs"):
        by_position(small().chain, 6, limit=50)


def test_one_belief_if_the_state_is_always_known():
    language = HiddenMarkovLanguage([1.0], [[1.0]], [[0.5, 0.5]], ["a", "b"], 2)
    assert by_position(language.chain, 5)[1] == [1] * 5


# ---------------------------------------------------------------- the denoiser


@pytest.mark.parametrize("seed,zeros", [(0, 0.0), (5, 0.5)])
def test_masked_bound_of_the_exact_denoiser_is_minus_log_p(seed, zeros):
    """Over all orders of revealing the chain rule is exact, so the bound is tight for every single text."""
    L = 4
    language = small(seed, L=L, zeros=zeros)
    x, p = enumerate_texts(language, L)
    x, p = x[p > 0], p[p > 0]
    denoiser = language.denoiser(Noise(3, 0.0))
    bound = torch.zeros(len(x), dtype=torch.float64)
    for n in range(1, L + 1):  # n masked positions, all sets of n equally likely, weight (L / n) / L
        subsets = list(combinations(range(L), n))
        for subset in subsets:
            z = x.clone()
            z[:, subset] = 3
            log_p = denoiser(z, None).log_softmax(-1).gather(-1, x[..., None]).squeeze(-1)  # (texts, L)
            bound -= log_p[:, subset].sum(1) / n / len(subsets)
    torch.testing.assert_close(bound, -p.log(), **EXACT)
    torch.testing.assert_close((p * bound).sum().item(), language.entropy(L), **EXACT)


def test_denoiser_has_the_interface_of_a_network():
    language, z = small(1), torch.tensor([[0, 3, 2], [3, 3, 3]])
    denoiser = language.denoiser(Noise(3, 0.0))
    h = denoiser.hidden(z, None)
    assert (denoiser.V, denoiser.length, h.shape) == (3, 3, (2, 3, 3))
    assert torch.equal(denoiser.logits(h[z == 3]), denoiser(z, None)[z == 3])
    torch.testing.assert_close(h.softmax(-1), language.posterior(z, None, denoiser.process), **EXACT)
    assert h.isfinite().all() and h[0, 0].softmax(-1).tolist() == [1.0, 0.0, 0.0]


def twins():
    """Two texts only: "aaa" and "bbb"."""
    return HiddenMarkovLanguage([0.5, 0.5], torch.eye(2), torch.eye(2), ["a", "b"], 3)


def test_impossible_rows_are_named_or_read_as_typos():
    language, noise = twins(), Noise(2, 0.0)
    z = torch.tensor([[0, 0, 2], [0, 1, 2], [0, 0, 1]])
    with pytest.raises(ValueError, match="Row 1, 2 of z_t cannot come from any text"):
        language.posterior(z, None, noise)
    with pytest.raises(ValueError, match="Row 1, 2"):
        language.denoiser(noise, typo_rate=0.0)(z, None)
    answer = language.denoiser(noise, typo_rate=0.01)(z, None).softmax(-1)
    torch.testing.assert_close(answer[0], language.posterior(z[:1], None, noise)[0], **EXACT)  # stays exact
    torch.testing.assert_close(answer[1], torch.full((3, 2), 0.5, dtype=torch.float64), **EXACT)  # undecided
    right, wrong = 1 + 0.005, 0.005  # [z = v] + typo_rate / V: two words outvote one
    expected = right**2 * wrong / (right**2 * wrong + wrong**2 * right)
    torch.testing.assert_close(answer[2, :, 0], torch.full((3,), expected, dtype=torch.float64), **EXACT)


def test_denoiser_drops_into_objective_and_sampler():
    from difflm_core.objectives import masked_nelbo
    from difflm_core.processes import masked
    from difflm_core.samplers import ancestral, sample_masked

    language = small(0, zeros=0.3)
    process, generator = masked(3), torch.Generator().manual_seed(0)
    denoiser = language.denoiser(process)
    x = language.sample(2000, generator=generator)
    t = (torch.arange(2000) + torch.rand(2000, generator=generator)) / 2000
    bound = masked_nelbo(process, denoiser, x, t, generator).sum(1).double()
    assert abs(bound.mean() - language.entropy()) < 5 * bound.std() / 2000**0.5
    sample = sample_masked(denoiser, ancestral(1000), (500, 3), generator=generator)
    assert language.grammatical(sample.tokens).double().mean() > 0.98


# ---------------------------------------------------------------- bad input

GOOD = dict(initial=[0.5, 0.5], transition=[[0.5, 0.5], [0.1, 0.9]], emission=[[1.0, 0.0], [0.0, 1.0]],
            words=["a", "b"], length=3)


@pytest.mark.parametrize("change,message", [
    (dict(initial=[0.5, 0.6]), "initial is not stochastic: row 0 sums to 1.1"),
    (dict(transition=[[0.5, 0.5], [0.2, 0.9]]), "transition is not stochastic: row 1"),
    (dict(emission=[[1.5, -0.5], [0.0, 1.0]]), "emission has a negative"),
    (dict(emission=[[float("nan"), 1.0], [0.0, 1.0]]), "emission has a negative or non-finite"),
    (dict(transition=[[1.0], [1.0]]), "transition has shape"),
    (dict(words=["a", "b", "c"]), "emission has shape"),
    (dict(words=["a", "a"]), "'a' is listed twice"),
    (dict(length=0), "length is 0"),
])
def test_bad_languages_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        HiddenMarkovLanguage(**{**GOOD, **change})


@pytest.mark.parametrize("x,message", [
    (torch.tensor([[0, 1, 2]]), r"x\[0, 2\] is 2 but ids must lie in \[0, 1\]"),
    (torch.tensor([[0, -1]]), r"x\[0, 1\] is -1"),
    (torch.tensor([0, 1]), "must be \\(B, L\\)"),
    (torch.rand(2, 2), "integer token ids"),
])
def test_bad_ids_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        twins().log_prob(x)
    with pytest.raises(ValueError, match=message):
        twins().grammatical(x)


@pytest.mark.parametrize("z,t,process,message", [
    (torch.tensor([[0, 3]]), None, Noise(2, 0.0), r"z_t\[0, 1\] is 3 but ids must lie in \[0, 2\]"),
    (torch.tensor([[0, 1]]), None, Noise(2, 0.5), "t is None, but this process also writes random words"),
    (torch.tensor([[0, 1]]), torch.tensor(0.5), Noise(2, 0.5), r"t has shape \(\) but must be \(1,\)"),
    (torch.tensor([[0, 1]]), torch.tensor([1.5]), Noise(2, 0.5), r"outside \[0, 1\]"),
    (torch.tensor([[0, 1]]), torch.tensor([float("nan")]), Noise(2, 0.5), r"outside \[0, 1\]"),
    (torch.tensor([[0, 1]]), None, Noise(5, 0.0), "process has 5 words but the language has 2"),
    (torch.rand(1, 2, 3), torch.tensor([0.5]), EmbeddingEvidence(torch.eye(2), Signal()), r"must be \(B, L, 2\)"),
    (torch.full((1, 2, 2), torch.nan), torch.tensor([0.5]), EmbeddingEvidence(torch.eye(2), Signal()), "NaN"),
    (torch.rand(1, 2, 2), torch.tensor([0.0]), EmbeddingEvidence(torch.eye(2), Signal()), "alpha_t < 1"),
    (torch.tensor([[0, 1]]), torch.tensor([4]), MatrixEvidence(torch.eye(2)[None], 2), r"outside \[0, 1\], the steps"),
    (torch.tensor([[0, 1]]), None, MatrixEvidence(torch.eye(2)[None], 2), "t is None, but transition matrices"),
])
def test_bad_noisy_texts_are_refused(z, t, process, message):
    with pytest.raises(ValueError, match=message):
        twins().posterior(z, t, process)


def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="L is 0"):
        twins().sample(2, 0)
    with pytest.raises(ValueError, match="typo_rate is 1"):
        twins().denoiser(Noise(2, 0.0), typo_rate=1.0)
    with pytest.raises(ValueError, match="cumulative has shape"):
        MatrixEvidence(torch.eye(4)[None], 2)
