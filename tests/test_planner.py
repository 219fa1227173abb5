"""PLANNER: the variational paragraph embedder, its bound, and when its codes carry nothing."""

import math

import pytest
import torch
from torch import nn

from difflm_core.evaluation.latents import shuffled, use_of_codes, use_of_latents
from difflm_core.models import DecoderConfig, Planner, PlannerConfig, PrefixDecoder, code_kl, draw_codes
from difflm_core.objectives import gaussian_mse, planner_diffusion_loss, planner_loss, written_nll
from difflm_core.processes import GaussianProcess, ShiftedCosine, uniform
from difflm_core.samplers import write_texts
from difflm_core.training import States, corrupted, train_planner, train_planner_denoiser

DOUBLE = {"dtype": torch.float64}
V, L, D = 5, 4, 6
IDS = torch.tensor([[0, 3, 4, 2], [2, 1, 0, 0], [1, 0, 0, 0]])
REAL = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), **DOUBLE)


def planner(N=2, D_ae=3, shaken=True, **settings):
    torch.manual_seed(0)
    sizes = {"width": 8, "layers": 1, "heads": 2} | settings
    model = Planner(
        PlannerConfig(D, L, N, D_ae, **sizes), PrefixDecoder(DecoderConfig(V, L, D_ae, N, **sizes))
    ).double()
    if shaken:
        for parameter in model.parameters():
            parameter.data = 0.5 * torch.randn_like(parameter)
    return model


# the posterior


def test_kl_of_codes():
    mean, log_variance = vectors(4, 2, 3), vectors(4, 2, 3, seed=1)
    normal = torch.distributions.Normal
    exact = torch.distributions.kl_divergence(normal(mean, (log_variance / 2).exp()), normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(code_kl(mean, log_variance), exact)
    torch.testing.assert_close(code_kl(0 * mean, 0 * mean), torch.zeros(4, 2, **DOUBLE))
    many = [value[:1].expand(50_000, -1, -1) for value in (mean, log_variance)]  # by Monte Carlo
    z = draw_codes(*many, seeded())
    log_ratio = normal(many[0], (many[1] / 2).exp()).log_prob(z) - normal(0.0, 1.0).log_prob(z)
    torch.testing.assert_close(log_ratio.sum(-1).mean(0), exact[0], rtol=0.02, atol=0)
    torch.testing.assert_close(z.mean(0), mean[0], rtol=0, atol=0.03)
    torch.testing.assert_close(z.var(0), log_variance[0].exp(), rtol=0.03, atol=0)


def test_gradients_reach_mean_and_variance_through_a_draw():
    mean, log_variance = vectors(1, 2, 3).requires_grad_(), vectors(1, 2, 3, seed=1).requires_grad_()
    draw_codes(mean, log_variance, seeded()).sum().backward()
    noise = torch.randn(1, 2, 3, generator=seeded(), **DOUBLE)
    torch.testing.assert_close(mean.grad, torch.ones_like(mean))
    torch.testing.assert_close(log_variance.grad, noise * (log_variance / 2).exp() / 2)


def test_codes_are_the_first_states_and_see_the_whole_text():
    model, h = planner(), vectors(3, L, D)
    mean, log_variance = model.posterior(h)
    assert mean.shape == log_variance.shape == (3, 2, 3) and mean.abs().max() < 1
    assert torch.equal(model.encode(h), mean)
    for place in range(L):
        moved = h.clone()
        moved[:, place] += 1
        assert bool((model.encode(moved) != mean).flatten(1).any(1).all())
    wide = planner(N=3)  # the same weights but for the decoder's positions: another N only reads further
    wide.load_state_dict(model.state_dict() | {"decoder.language.position.weight": torch.zeros(L + 3, 8)}, strict=False)
    torch.testing.assert_close(wide.encode(h)[:, :2], mean)


def test_padding_does_not_reach_the_codes():
    """Not even in a text of one word, whose second code is read at padding."""
    model, h = planner(), vectors(3, L, D)
    other = torch.where(REAL[..., None], h, vectors(3, L, D, seed=1))
    for ours, theirs in zip(model.posterior(h, REAL), model.posterior(other, REAL)):
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(model.encode(h[1:2, :2]), model.encode(h, REAL)[1:2])
    loss = planner_loss(model, h, IDS, REAL, seeded())
    junk = planner_loss(model, other, torch.where(REAL, IDS, 3), REAL, seeded())
    assert torch.equal(loss.nelbo, junk.nelbo) and loss.tokens.tolist() == [4, 2, 1]


def test_refused_sizes():
    with pytest.raises(ValueError, match="first N of at most 4 states"):
        PlannerConfig(D, L, 5, 3)
    with pytest.raises(ValueError, match="counted from 1"):
        PlannerConfig(D, L, 0, 3)
    with pytest.raises(ValueError, match="reads 2 codes of 4 numbers, the encoder makes 2 of 3"):
        Planner(PlannerConfig(D, L, 2, 3), PrefixDecoder(DecoderConfig(V, L, 4, 2)))
    with pytest.raises(ValueError, match="pad the texts to 2"):
        planner().encode(vectors(3, 1, D))
    with pytest.raises(ValueError, match=r"\(batch, 2, 3\)"):
        planner().context(vectors(3, 2, 2))
    with pytest.raises(ValueError, match="at least 0"):
        planner_loss(planner(), vectors(3, L, D), IDS).beta_loss(-1.0)


# the bound


def test_the_bound_is_above_the_exact_likelihood():
    """One code of one number: -log p(text) = -log of an integral over z, here on a grid; texts of two words."""
    model = planner(N=1, D_ae=1)
    texts = torch.cartesian_prod(torch.arange(V), torch.arange(V))
    z, step = torch.linspace(-20, 20, 2001, **DOUBLE), 0.02
    prior = torch.distributions.Normal(torch.zeros((), **DOUBLE), 1.0).log_prob(z) + math.log(step)
    with torch.no_grad():
        nll = written_nll(model.decoder, z.repeat(25)[:, None, None], texts.repeat_interleave(2001, 0)).sum(1)
        log_given = -nll.view(25, 2001)
        exact = -(log_given + prior).logsumexp(1)
        assert torch.exp(-exact).sum().item() == pytest.approx(1, abs=1e-9)
        h = vectors(25, 2, D)
        mean, log_variance = model.posterior(h)
        q = torch.distributions.Normal(mean[:, :, 0], (log_variance[:, :, 0] / 2).exp()).log_prob(z).exp() * step
        bound = (q * -log_given).sum(1) + code_kl(mean, log_variance)[:, 0]
        assert bool((bound > exact).all())
        draws = torch.stack([planner_loss(model, h, texts, None, seeded(i)).nelbo for i in range(400)])
    error = draws.std(0) / 20
    assert bool(((draws.mean(0) - bound).abs() < 5 * error + 1e-9).all())
    # the gap is KL(q || p(z | text)), which integrates to the same number
    posterior = log_given + prior + exact[:, None]
    gap = (q * (q.clamp_min(1e-300).log() - posterior)).sum(1)
    torch.testing.assert_close(bound - exact, gap, rtol=1e-6, atol=1e-6)


def test_the_reduction_that_beta_belongs_to():
    loss = planner_loss(planner(), vectors(3, L, D), IDS, REAL, seeded())
    by_hand = sum(loss.reconstruction[i] / n + 0.3 * loss.kl[i].sum() for i, n in enumerate((4, 2, 1))) / 3
    torch.testing.assert_close(loss.beta_loss(0.3), by_hand)
    full = planner_loss(planner(), vectors(3, L, D), IDS, None, seeded())
    torch.testing.assert_close(full.beta_loss(1 / L), full.nelbo.mean() / L)  # the bound per token
    theirs = full.reconstruction.sum() / (3 * L) + 0.1 * full.kl.sum()  # mean over tokens, KL summed over the batch
    torch.testing.assert_close(full.beta_loss(0.1 * 3), theirs)


def test_the_diffusion_loss_is_the_p2_weighted_error_of_eps():
    process, x = GaussianProcess(ShiftedCosine(1.0)), vectors(4, 2, 3)
    t = torch.tensor([0.0005, 0.3, 0.8, 0.9995], **DOUBLE)
    loss = planner_diffusion_loss(process, lambda z, t, previous=None: 0.3 * z, x, t, seeded())

    def as_eps(z_t, t):
        return process.from_x(z_t, 0.3 * z_t, t, "eps")

    snr = process.log_snr(t).exp()[:, None, None]
    eps = gaussian_mse(process, as_eps, x, t, "eps", seeded())
    torch.testing.assert_close(loss, eps / (1 + snr), rtol=1e-9, atol=1e-12)


# training


TEXTS = torch.tensor([[0, 1, 2, 3], [4, 1, 2, 0], [2, 2, 3, 3], [3, 0, 4, 1], [1, 4, 4, 2], [0, 3, 1, 4]])


def states(ids):
    table, places = torch.randn(V, D, generator=seeded(1)), torch.randn(L, D, generator=seeded(2))
    return table[ids] + places


def batches(share=0.0, seed=3):
    swap, ids, mask = (
        corrupted(uniform(V), share, seeded(seed)),
        TEXTS.repeat(4, 1),
        torch.ones(24, L, dtype=torch.bool),
    )
    while True:
        yield States(states(swap(ids)), mask, ids)


def trained(beta, share=0.0, steps=200):
    model = planner(shaken=False, width=16).float()
    losses = train_planner(model, batches(share), beta, steps, 1e-2, seeded(), progress=False)
    return model, losses


def test_codes_that_carry_texts():
    model, losses = trained(1e-3, share=0.1)
    assert losses[-1] < 0.4 < losses[0]
    h = states(TEXTS)
    codes = model.encode(h)
    assert torch.equal(write_texts(model, codes).tokens, TEXTS)
    with torch.no_grad():
        drawn = draw_codes(*model.posterior(h), seeded())
    assert use_of_latents(model, drawn, TEXTS).exact > 0.6
    wrong = use_of_latents(model, shuffled(codes, seeded()), TEXTS)
    assert wrong.exact == 0 and wrong.nll > 1 > use_of_latents(model, codes, TEXTS).nll
    use = use_of_codes(model, h)
    assert use.kl.sum() > math.log(6) and use.active == 1


class Constants(nn.Module):
    """One answer per class, whatever it is asked: the best is then a mean."""

    null_label = 2

    def __init__(self):
        super().__init__()
        self.answers = nn.Parameter(torch.zeros(3, 2, 3))

    def forward(self, z_t, t, previous=None, label=None):
        assert previous is None and bool(((t >= 0.0005) & (t <= 0.9995)).all())
        label = torch.full((len(z_t),), self.null_label) if label is None else label
        return self.answers[label]


def test_the_denoiser_learns_classes_and_none():
    x, label = torch.randn(8, 2, 3, generator=seeded()), torch.arange(8) % 2
    net, process = Constants(), GaussianProcess(ShiftedCosine(1.0))
    data = iter(lambda: (x.repeat(8, 1, 1), label.repeat(8)), None)
    losses = train_planner_denoiser(net, process, data, 300, 0.05, 0.3, 0.9, seeded(), progress=False)
    means = torch.stack([x[label == 0].mean(0), x[label == 1].mean(0), x.mean(0)])
    torch.testing.assert_close(net.answers.detach(), means, rtol=0, atol=0.15)
    assert losses[-1] < losses[0]
    with pytest.raises(ValueError, match="ema"):
        train_planner_denoiser(net, process, data, 1, ema=1.0)


def test_a_large_beta_makes_codes_that_carry_nothing():
    model, _ = trained(3.0)
    h = states(TEXTS)
    use, codes = use_of_codes(model, h), model.encode(h)
    assert use.kl.max() < 0.05 and use.active == 0 and use.variance.max() < 0.01
    own, wrong = use_of_latents(model, codes, TEXTS), use_of_latents(model, shuffled(codes, seeded()), TEXTS)
    assert own.nll == pytest.approx(wrong.nll, abs=0.1)
    with pytest.raises(ValueError, match="at least two"):
        use_of_codes(model, h[:1])
