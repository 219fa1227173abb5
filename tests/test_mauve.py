"""MAUVE against closed forms of the divergence curve, and k-means against the best of all partitions."""

import math
from itertools import product

import pytest
import torch

from difflm_core.evaluation.kmeans import kmeans
from difflm_core.evaluation.mauve import area_under, divergence_curve, mauve, principal_components


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def histogram(*shares):
    return torch.tensor(shares, dtype=torch.float64)


# --- the curve --------------------------------------------------------------------------------------------------------


def test_equal_distributions_score_one():
    p = histogram(0.5, 0.3, 0.2)
    curve = divergence_curve(p, p)
    torch.testing.assert_close(curve[1:-1], torch.ones(25, 2, dtype=torch.float64))
    assert area_under(curve) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 2.0, 5.0])
def test_disjoint_distributions_score_one_over_a_binomial(scale):
    """KL(q | r) = -log(1 - lambda) and KL(p | r) = -log(lambda): the curve ((1 - lambda)^c, lambda^c) has the area
    c B(c, c + 1) = c!^2 / (2c)!."""
    p, q = histogram(0.7, 0.3, 0, 0), histogram(0, 0, 0.1, 0.9)
    curve = divergence_curve(p, q, scale, points=4001)
    mix = torch.linspace(1e-6, 1 - 1e-6, 4001, dtype=torch.float64)
    torch.testing.assert_close(curve[1:-1], torch.stack([(1 - mix) ** scale, mix**scale], 1))
    assert area_under(curve) == pytest.approx(1 / math.comb(int(2 * scale), int(scale)), rel=1e-5)


def test_a_share_in_common_moves_the_curve_as_computed():
    """p = (1 - e, e, 0), q = (1 - e, 0, e): in the common cluster r = p = q, elsewhere as for disjoint ones, e-fold."""
    e, scale = 0.3, 4.0
    curve = divergence_curve(histogram(1 - e, e, 0), histogram(1 - e, 0, e), scale, points=4001)
    mix = torch.linspace(1e-6, 1 - 1e-6, 4001, dtype=torch.float64)
    torch.testing.assert_close(curve[1:-1], torch.stack([(1 - mix) ** (e * scale), mix ** (e * scale)], 1))
    c = e * scale
    assert area_under(curve) == pytest.approx(math.gamma(c + 1) ** 2 / math.gamma(2 * c + 1), rel=1e-5)


def test_the_curve_by_brute_force():
    p, q = (torch.rand(6, generator=seeded(i), dtype=torch.float64) for i in (0, 1))
    p, q = p / p.sum(), q / q.sum()
    curve = divergence_curve(p, q, 5.0, 25)
    assert curve.shape == (27, 2) and curve[0].tolist() == [1, 0] and curve[-1].tolist() == [0, 1]
    for i in range(25):
        mix = 1e-6 + i / 24 * (1 - 2e-6)
        r = [mix * a + (1 - mix) * b for a, b in zip(p.tolist(), q.tolist())]
        for j, some in ((0, q), (1, p)):
            kl = sum(a * math.log(a / b) for a, b in zip(some.tolist(), r))
            assert curve[i + 1, j].item() == pytest.approx(math.exp(-5 * kl), rel=1e-12)


def test_the_two_kinds_of_error_count_alike():
    p, q = histogram(0.6, 0.3, 0.1), histogram(0.2, 0.3, 0.5)
    forth, back = divergence_curve(p, q, points=2001), divergence_curve(q, p, points=2001)
    torch.testing.assert_close(forth.flip(0).flip(1), back)
    assert area_under(forth) == pytest.approx(area_under(back), rel=1e-5)


def test_the_further_apart_the_lower():
    p = histogram(0.5, 0.5)
    scores = [area_under(divergence_curve(p, histogram(0.5 + d, 0.5 - d))) for d in (0, 0.1, 0.2, 0.3, 0.4, 0.5)]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0.99 > 0.6 > scores[-1]


def test_area_by_hand():
    assert area_under(torch.tensor([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(0.5)
    assert area_under(torch.tensor([[1.0, 0.0], [1.0, 0.5], [0.5, 1.0], [0.0, 1.0]])) == pytest.approx(0.375 + 0.5)


@pytest.mark.parametrize("p", [(0.5, 0.4), (1.5, -0.5), (0.5, 0.3, 0.2)])
def test_what_is_no_distribution_is_refused(p):
    with pytest.raises(ValueError, match="two distributions over the same clusters"):
        divergence_curve(histogram(0.5, 0.5), histogram(*p))
    with pytest.raises(ValueError, match="positive scale"):
        divergence_curve(histogram(0.5, 0.5), histogram(0.5, 0.5), scale=0)


# --- from features ----------------------------------------------------------------------------------------------------


def clouds(shares, count, seed, dim=12):
    """`count` directions near 6 fixed ones, chosen with probabilities `shares`."""
    centres = torch.eye(6, dim)
    generator = seeded(seed)
    which = torch.multinomial(torch.tensor(shares), count, True, generator=generator)
    return centres[which] + 0.02 * torch.randn(count, dim, generator=generator), which


def test_well_separated_clusters_give_the_score_of_their_counts():
    human, h = clouds([1.0, 1, 1, 1, 0, 0], 300, 0)
    generated, g = clouds([0.0, 0, 1, 2, 1, 1], 200, 1)
    found = mauve(human, generated, seeded(0), clusters=6)
    p, q = (torch.bincount(some, minlength=6).double() / len(some) for some in (h, g))
    assert found.score == pytest.approx(area_under(divergence_curve(p, q)), rel=1e-9)
    assert sorted(zip(found.p.tolist(), found.q.tolist())) == sorted(zip(p.tolist(), q.tolist()))


def test_length_of_features_and_order_of_texts_do_not_matter():
    human, _ = clouds([1.0] * 6, 200, 0)
    generated, _ = clouds([1.0, 1, 1, 0, 0, 0], 200, 1)
    first = mauve(human, generated, seeded(0), clusters=6).score
    longer = 100 * human * torch.rand(200, 1, generator=seeded(2)).add(0.1)
    assert mauve(longer, generated[torch.randperm(200)], seeded(0), clusters=6).score == pytest.approx(first, rel=1e-6)


def test_same_source_beats_a_collapsed_one_and_a_foreign_one():
    shares = [1.0] * 6
    human, same, _ = (clouds(shares, 400, seed)[0] for seed in (0, 1, 2))
    collapsed = clouds([1.0, 0, 0, 0, 0, 0], 400, 3)[0]
    foreign = -clouds(shares, 400, 4)[0]
    scores = [mauve(human, some, seeded(0)).score for some in (human, same, collapsed, foreign)]
    assert scores[0] == pytest.approx(1, abs=1e-3) and scores[0] > scores[1] > 0.8 > 0.4 > scores[2] > scores[3]
    assert scores[3] == pytest.approx(area_under(divergence_curve(histogram(1, 0), histogram(0, 1))), rel=1e-6)


def test_the_seed_decides():
    human, generated = (torch.randn(60, 8, generator=seeded(i)) for i in (0, 1))
    scores = [mauve(human, generated, seeded(seed), restarts=1).score for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]


def test_unfit_features_are_refused():
    x = torch.randn(20, 4, generator=seeded(0))
    for other in (torch.randn(20, 5), torch.randn(20)):
        with pytest.raises(ValueError, match="two sets from one network"):
            mauve(x, other)
    with pytest.raises(ValueError, match="21 clusters for 20 and 30 texts: take 2 to 20"):
        mauve(x, torch.randn(30, 4), clusters=21)
    with pytest.raises(ValueError, match="2 clusters for 20 and 1 texts"):
        mauve(x, x[:1])
    with pytest.raises(ValueError, match="not finite"):
        mauve(x, x / 0)


def test_principal_components_keep_what_they_are_asked_for():
    generator = seeded(0)
    basis = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64)).Q
    x = torch.randn(4000, 5, generator=generator, dtype=torch.float64) * histogram(8, 4, 2, 0.5, 0.1)
    x = x - x.mean(0)
    x = x @ torch.linalg.qr(x).R.inverse() * histogram(8, 4, 2, 0.5, 0.1)  # the columns are exactly uncorrelated
    shares = (histogram(8, 4, 2, 0.5, 0.1).square() / histogram(8, 4, 2, 0.5, 0.1).square().sum()).cumsum(0).tolist()
    for d, share in enumerate(shares, 1):
        kept = principal_components(x @ basis.T + 3, keep=share - 1e-6)
        assert kept.shape == (4000, d)
        torch.testing.assert_close(kept.abs(), x[:, :d].abs(), atol=1e-9, rtol=0)
    for keep in (0, 1.1):
        with pytest.raises(ValueError, match="share of variance"):
            principal_components(x, keep)
    assert principal_components(torch.ones(5, 3)).shape == (5, 1)


# --- k-means ----------------------------------------------------------------------------------------------------------


def spread(x, place):
    """Sum of squared distances to the clusters' means."""
    return sum((x[place == k] - x[place == k].mean(0)).square().sum().item() for k in place.unique())


@pytest.mark.parametrize("seed", range(3))
def test_kmeans_finds_the_best_of_all_partitions(seed):
    x = torch.randn(8, 2, generator=seeded(seed), dtype=torch.float64)
    best = min(spread(x, torch.tensor(place)) for place in product(range(2), repeat=8))
    place, centres = kmeans(x, 2, seeded(seed), restarts=30)
    assert spread(x, place) == pytest.approx(best)
    for k in range(2):
        torch.testing.assert_close(centres[k], x[place == k].mean(0))
    assert torch.equal(place, torch.cdist(x, centres).argmin(1))


def test_more_restarts_are_never_worse():
    x = torch.randn(200, 3, generator=seeded(0))
    totals = [spread(x, kmeans(x, 12, seeded(1), restarts=n)[0]) for n in (1, 4, 16)]
    assert totals == sorted(totals, reverse=True) and totals[-1] < totals[0]


def test_starts_are_drawn_far_from_each_other():
    """Two far groups and two restarts of one step each: uniform starts would miss one group half of the time."""
    x = torch.cat([torch.randn(500, 2, generator=seeded(0)), torch.randn(5, 2, generator=seeded(1)) + 1000])
    for seed in range(20):
        place, _ = kmeans(x, 2, seeded(seed), restarts=1, iterations=1)
        assert len(place[:500].unique()) == len(place[500:].unique()) == 1 and place[0] != place[-1]


def test_equal_points_and_as_many_clusters_as_points():
    x = torch.tensor([[0.0, 1.0]] * 5 + [[2.0, 2.0]] * 3)
    place, centres = kmeans(x, 6, seeded(0))
    assert len(centres) == 2 and place[:5].unique().numel() == place[5:].unique().numel() == 1 and place[0] != place[-1]
    distinct = torch.randn(7, 3, generator=seeded(0))
    place, centres = kmeans(distinct, 7, seeded(0))
    assert sorted(place.tolist()) == list(range(7)) and spread(distinct, place) == 0
    for clusters in (0, 8):
        with pytest.raises(ValueError, match=f"{clusters} clusters of 7 points"):
            kmeans(distinct, clusters)
