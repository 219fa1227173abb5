"""The float32 Gumbel bug: its closed form against simulation, and its direction on a large vocabulary."""

import math

import pytest
import torch
from enumerable import chi_square_p

from difflm_core.samplers.gumbel import LARGEST_GUMBEL, gumbel_draw, truncated_gumbel_probabilities

LAWS = [
    [0.1, 0.2, 0.3, 0.4],
    [0.7, 0.05, 0.05, 0.2],  # a tie, and not sorted
    [0.001, 0.999],
    [0.25, 0.25, 0.25, 0.25],
    [0.5, 0.0, 0.3, 0.2],
]


def simulate(p: torch.Tensor, M: float, n: int) -> torch.Tensor:
    """argmax of log p + Gumbel noise given that no noise exceeds M: u uniform below the Gumbel distribution function at
    M.
    """
    u = torch.rand(n, len(p), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * math.exp(-math.exp(-M))
    return (p.log() - torch.log(-torch.log(u))).argmax(-1)


@pytest.mark.parametrize("M", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("p", LAWS, ids=str)
def test_closed_form_is_what_truncation_draws(p, M):
    p = torch.tensor(p, dtype=torch.float64)
    draws = simulate(p, M, 200_000)
    truncated = truncated_gumbel_probabilities(p, M)
    assert chi_square_p(draws, truncated) > 1e-3
    if M <= 2 and p.std() > 0.05:
        assert chi_square_p(draws, p) < 1e-6  # not what was asked for


@pytest.mark.parametrize("p", LAWS, ids=str)
def test_it_is_a_law_that_sharpens_and_vanishes_with_M(p):
    p = torch.tensor(p, dtype=torch.float64)
    entropies = []
    for M in (-1.0, 0.0, 1.0, 3.0, 8.0, 30.0):
        q = truncated_gumbel_probabilities(p, M)
        assert q.sum().item() == pytest.approx(1, abs=1e-12) and bool((q >= 0).all())
        entropies.append(torch.special.entr(q).sum().item())
    assert entropies == sorted(entropies)
    torch.testing.assert_close(q, p, rtol=0, atol=1e-9)


def test_order_and_scale_of_p_do_not_matter():
    p = torch.rand(20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shuffle = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    q = truncated_gumbel_probabilities(p, 1.0)
    torch.testing.assert_close(truncated_gumbel_probabilities(7 * p[shuffle], 1.0), q[shuffle])


def test_largest_noise_is_that_of_the_largest_uniform_number():
    """torch.rand returns multiples of 2^-24 in float32 and 2^-53 in float64, always below 1."""
    for dtype, bits in ((torch.float32, 24), (torch.float64, 53)):
        assert LARGEST_GUMBEL[dtype] == pytest.approx(-math.log(2.0**-bits), abs=1e-6)
        u = torch.rand(100_000, generator=torch.Generator().manual_seed(0), dtype=dtype)
        assert bool((u * 2.0**bits == (u * 2.0**bits).round()).all()) and u.max() <= 1 - 2.0**-bits


def test_gumbel_draw_follows_ordinary_laws_in_both_precisions():
    p = torch.tensor([0.05, 0.15, 0.3, 0.5])
    for dtype in (torch.float32, torch.float64):
        draws = gumbel_draw(p.log().to(dtype).expand(50_000, 4), torch.Generator().manual_seed(0))
        assert chi_square_p(draws, p) > 1e-3


@pytest.mark.parametrize("dtype, wins", [(torch.float32, False), (torch.float64, True)], ids=str)
def test_the_luckiest_rare_token_loses_in_float32(dtype, wins, monkeypatch):
    """Token 0 of probability 1e-8 with the best uniform number there is, against [MASK] with a middling one."""
    best = 1 - 2.0**-24 if dtype == torch.float32 else 1 - 2.0**-53
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([[best, 0.5]], dtype=dtype))
    logits = torch.tensor([[1e-8, 1 - 1e-8]], dtype=torch.float64).log().to(dtype)
    assert (gumbel_draw(logits).item() == 0) == wins


def test_float32_entropy_falls_with_the_number_of_steps():
    """V = 50,257, logits ~ Normal(0, 3), a step that unmasks with probability 1/T (the tokens race against [MASK]).

    Entropy of the token given that one was drawn, and the realised probability of drawing any: both must fall, by about
    as much as the course's notes found for other random logits: 5.30, 4.56, 3.83, 2.49 nats against a true 5.59, and
    0.96, 0.84, 0.71, 0.49 of the asked for probability.
    """
    logits = 3 * torch.randn(50_257, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = logits.softmax(0)
    true_entropy = torch.special.entr(p).sum().item()
    lost, shares = [], []
    for T in (64, 1000, 5000, 50_000):
        race = torch.cat([p / T, torch.tensor([1 - 1 / T], dtype=torch.float64)])
        q = truncated_gumbel_probabilities(race, LARGEST_GUMBEL[torch.float32])[:-1]
        lost.append(true_entropy - torch.special.entr(q / q.sum()).sum().item())
        shares.append(q.sum().item() * T)
        exact = truncated_gumbel_probabilities(race, LARGEST_GUMBEL[torch.float64])[:-1]
        torch.testing.assert_close(exact * T, p, rtol=1e-3, atol=1e-9)
    assert lost == sorted(lost) and lost[0] > 0.1 and shares == sorted(shares, reverse=True)
    assert lost == pytest.approx([0.29, 1.03, 1.76, 3.09], abs=0.35)
    assert shares == pytest.approx([0.960, 0.836, 0.709, 0.493], abs=0.1)
