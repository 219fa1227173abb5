"""SEDD's loss: its definition by hand, its minimum, and the equality with the masked bound, all in float64."""

import pytest
import torch
from enumerable import TinyLanguage, all_sequences, random_denoiser

from difflm_core.objectives import masked_nelbo, score_entropy, score_entropy_at
from difflm_core.objectives.score_entropy import log_scores
from difflm_core.processes import Cosine, Linear, masked, uniform

V, L = 3, 3
X = TinyLanguage(V, L).texts
T_ROWS = torch.rand(len(X), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.98 + 0.01
every_schedule = pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=["linear", "cosine"])


@every_schedule
@pytest.mark.parametrize("with_time", [False, True])
def test_mdlm_weights_have_the_same_loss(schedule, with_time):
    process, denoiser = masked(V, schedule), random_denoiser(V, L, with_time=with_time)
    ours = score_entropy(process, denoiser, X, T_ROWS, torch.Generator().manual_seed(1))
    bound = masked_nelbo(process, denoiser, X, T_ROWS, torch.Generator().manual_seed(1))
    assert ours.shape == X.shape and (ours > 0).any()
    torch.testing.assert_close(ours, bound, rtol=1e-9, atol=1e-12)


@every_schedule
def test_it_is_the_definition_for_any_scores(schedule):
    """sum over y != z of s_y - r_y log s_y + K(r_y), K(a) = a (log a - 1), r from the marginals q(y | x) / q(z | x)."""
    process = masked(V, schedule)
    log_s = torch.randn(len(X), L, V, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    z = torch.where(torch.rand(X.shape, generator=torch.Generator().manual_seed(3)) < 0.5, V, X)
    q = process.marginal(X, T_ROWS)  # (B, L, V + 1)
    r = q[..., :V] / q[..., V:]
    terms = log_s.exp() - r * log_s + torch.xlogy(r, r) - r
    rate = -schedule.dalpha(T_ROWS) / schedule.alpha(T_ROWS)
    expected = rate[:, None] * terms.sum(-1) * (z == V)
    torch.testing.assert_close(score_entropy_at(process, log_s, X, z, T_ROWS), expected, rtol=1e-9, atol=1e-9)


def test_the_true_ratios_are_its_minimum():
    """Averaged over the texts behind one canvas, the gradient vanishes at the exact denoiser's scores and loss rises
    around them.
    """
    language, process = TinyLanguage(V, L), masked(V)
    z = torch.tensor([[V, 1, V]])
    weights = language.given(z)[0]  # p(x | z)
    x, t = language.texts, torch.full((len(X),), 0.4, dtype=torch.float64)
    best = log_scores(process, language.denoiser(), z, t[:1]).clone().requires_grad_()

    def loss(log_s):
        rows = score_entropy_at(process, log_s.expand(len(x), L, V), x, z.expand(x.shape), t)
        return (weights[:, None] * rows)[weights > 0].sum()

    loss(best).backward()
    assert best.grad.abs().max() < 1e-10
    for seed in range(5):
        other = best.detach() + 0.1 * torch.randn(best.shape, generator=torch.Generator().manual_seed(seed)).double()
        assert loss(other) > loss(best) + 1e-5


def test_visible_positions_cost_nothing():
    z = all_sequences(V, L)
    log_s = torch.zeros(len(X), L, V, dtype=torch.float64)
    assert score_entropy_at(masked(V), log_s, X, z, T_ROWS).abs().max() == 0


def test_other_noise_is_refused():
    with pytest.raises(ValueError, match="masking only"):
        score_entropy(uniform(V), random_denoiser(V, L), X, T_ROWS)
