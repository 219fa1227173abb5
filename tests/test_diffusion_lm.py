"""Diffusion-LM: embeddings and rounding, the four loss terms, the exact bound, the sampler."""

import math

import pytest
import torch
from torch import nn

from difflm_core.data.toy_language import toy_language
from difflm_core.models import DiffusionLM, UNet1d, UNet1dConfig, VectorConfig, VectorTransformer
from difflm_core.objectives import diffusion_lm_loss, diffusion_lm_nelbo, diffusion_lm_nelbo_at
from difflm_core.oracle import PerfectReader
from difflm_core.processes import LinearBeta, ShiftedCosine, Sqrt
from difflm_core.samplers import sample_diffusion_lm

V, L, D = 7, 5, 3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(kind="x", **settings):
    torch.manual_seed(0)
    net = VectorTransformer(VectorConfig(D, L, width=16, layers=1, heads=2))
    nn.init.normal_(net.output.weight, std=0.3)  # untrained networks answer almost zero
    return DiffusionLM(V, net, kind, **settings).double()


class Fixed(nn.Module):
    """A network with one answer, or one that a function of (z_t, t) gives."""

    def __init__(self, answer, D, length):
        super().__init__()
        self.answer, self.config = answer, VectorConfig(D, length)

    def forward(self, z_t, t, previous=None):
        return self.answer(z_t, t) if callable(self.answer) else self.answer.expand(z_t.shape)


X = torch.randint(V, (6, L), generator=seeded(1))


# ---- the model


def test_starts_are_normal_around_the_embeddings_and_train_them():
    model = small(sigma_0=0.3)
    x_0 = model.start(X[:1].expand(4000, -1), seeded())
    off = (x_0 - model.embed(X[:1])).detach()
    assert abs(off.std().item() / 0.3 - 1) < 0.01 and abs(off.mean().item()) < 0.01
    x_0.sum().backward()
    counts = torch.bincount(X[0], minlength=V) * 4000.0
    assert torch.allclose(model.embedding.grad, counts[:, None].expand(V, D).double())


def test_rounding_is_tied_and_clamping_takes_the_nearest():
    model = small()
    vectors = torch.randn(4, L, D, generator=seeded(), dtype=torch.float64)
    by_hand = torch.einsum("bld,vd->blv", vectors, model.embedding) + model.bias
    assert torch.allclose(model.logits(vectors), by_hand) and torch.equal(model.round(vectors), by_hand.argmax(-1))
    distances = (vectors[..., None, :] - model.embedding).norm(dim=-1)
    assert torch.equal(model.nearest(vectors), model.embedding[distances.argmin(-1)])


@pytest.mark.parametrize("kind", ["x", "eps", "v"])
def test_what_a_network_predicts_is_translated(kind):
    """A network that knows x_0 and answers in its own terms."""
    model, x_0 = small(kind), torch.randn(6, L, D, generator=seeded(), dtype=torch.float64)
    t = torch.full((6,), 0.4, dtype=torch.float64)
    z_t = model.process.corrupt(x_0, t, seeded(2))
    model.net = Fixed(lambda z, t: model.process.from_x(z, x_0, t, kind), D, L)
    assert torch.allclose(model.x_hat(z_t, t), x_0)


def test_the_chain_is_that_of_the_released_code():
    """Its alphas for T = 2000 at five steps, the last one being the rest of signal that its capped betas leave."""
    index = torch.tensor([0, 49, 199, 999, 1999], dtype=torch.float64)
    alpha = small().process.alpha((index + 1) / 2000)
    expected = torch.tensor([0.9853587, 0.8500709, 0.6905193, 0.2957803, 2.0204e-7], dtype=torch.float64)
    assert torch.allclose(alpha[:4], expected[:4], atol=1e-7) and torch.allclose(alpha[4:], expected[4:], rtol=0.02)
    assert small().process.alpha(torch.zeros(1)).item() == 1


def test_a_rounded_estimate_is_the_posterior_mean_once_the_words_are_known():
    """Bayes on a grid for one number: x_0 ~ N(e, sigma_0^2), z = sqrt(alpha) x_0 + noise."""
    model = DiffusionLM(2, Fixed(torch.tensor(1.0, dtype=torch.float64), 1, 1), sigma_0=0.4)
    model.embedding.data = torch.tensor([[3.0], [-3.0]], dtype=torch.float64)
    t, z = torch.tensor([0.1], dtype=torch.float64), torch.tensor([[[2.0]]], dtype=torch.float64)
    alpha = model.process.alpha(t)
    x = torch.linspace(-2, 8, 200_001, dtype=torch.float64)
    weight = torch.exp(-((x - 3) ** 2) / (2 * 0.4**2) - (z.flatten() - alpha.sqrt() * x) ** 2 / (2 * (1 - alpha)))
    assert abs(model.rounded_x_hat(z, t).item() - ((weight * x).sum() / weight.sum()).item()) < 1e-6
    assert model.rounded_x_hat(z, t, until=0.05).item() == 1


def test_a_description_builds_the_same_model():
    model = DiffusionLM(V, UNet1d(UNet1dConfig(D, L, width=8)), "v", ShiftedCosine(3.0), 0.2)
    again = DiffusionLM.from_description(model.description())
    assert again.description() == model.description() and type(again.net) is UNet1d
    again.load_state_dict(model.state_dict())
    z, t = torch.randn(2, L, D, generator=seeded()), torch.tensor([0.2, 0.9])
    assert torch.equal(model.x_hat(z, t), again.x_hat(z, t))


def test_refusals_of_the_model():
    model = small()
    with pytest.raises(ValueError, match="Words must lie in 0..6, got 0..7.*not in the training vocabulary"):
        model.embed(torch.tensor([[0, 7]]))
    with pytest.raises(ValueError, match="canvas has 5 positions.*cut longer texts"):
        model.embed(torch.zeros(1, 6, dtype=torch.long))
    with pytest.raises(ValueError, match="sigma_0 > 0"):
        small(sigma_0=0.0)
    with pytest.raises(ValueError, match='predicts "x", "eps" or "v"'):
        small("noise")


# ---- the loss


@pytest.mark.parametrize("kind", ["x", "eps", "v"])
def test_loss_terms_by_hand(kind):
    model, T = small(kind), 10
    t = torch.tensor([0.05, 0.1, 0.11, 0.5, 0.93, 1.0], dtype=torch.float64)  # steps 1, 1, 2, 5, 10, 10
    loss = diffusion_lm_loss(model, X, t, seeded(), T)
    on = torch.tensor([0.1, 0.1, 0.2, 0.5, 1.0, 1.0], dtype=torch.float64)
    again = seeded()
    x_0 = model.start(X, again)
    noise = torch.randn(x_0.shape, generator=again, dtype=torch.float64)
    alpha = model.process.alpha(on)[:, None, None]
    z_t = alpha.sqrt() * x_0 + (1 - alpha).sqrt() * noise
    answer = model.net(z_t, on)
    target = {"x": x_0, "eps": noise, "v": alpha.sqrt() * noise - (1 - alpha).sqrt() * x_0}[kind]
    first = torch.tensor([1, 1, 0, 0, 0, 0], dtype=torch.bool)[:, None]
    assert torch.allclose(loss.mse, torch.where(first, 0, ((answer - target) ** 2).mean(-1)))
    to_word = ((model.x_hat(z_t, on) - model.embedding[X]) ** 2).mean(-1)
    assert torch.allclose(loss.start, torch.where(first, to_word, 0))
    assert torch.allclose(loss.anchor, 2e-7 * (x_0**2).mean(-1))
    assert torch.allclose(loss.rounding, -model.logits(x_0).log_softmax(-1).gather(-1, X[..., None])[..., 0])
    assert torch.allclose(loss.as_code, loss.mse + loss.start + loss.anchor + loss.rounding)
    assert torch.allclose(loss.as_paper, D * (T * (loss.mse + loss.start) + loss.anchor) + loss.rounding)


def test_one_step_drawn_is_the_papers_sum_over_all_steps():
    """For a network with a fixed answer and x_0 without noise: T times the mean over the grid is the sum over t."""
    model = DiffusionLM(V, Fixed(torch.tensor(0.5), D, L), sigma_0=1e-9)
    losses = [diffusion_lm_loss(model, X[:1], torch.tensor([(i - 0.5) / 8]), seeded(), 8).as_paper for i in range(1, 9)]
    error = (model.embedding[X[:1]] - 0.5).square().sum(-1)
    rest = diffusion_lm_loss(model, X[:1], torch.tensor([1.0]), seeded(), 8)
    assert torch.allclose(torch.stack(losses).mean(0), 8 * error + D * rest.anchor + rest.rounding, rtol=1e-4)


def test_embeddings_are_trained_by_the_errors_and_the_rounding_but_rounding_not_by_the_network():
    model = small()
    loss = diffusion_lm_loss(model, X, torch.full((6,), 0.5).double(), seeded())
    by_mse = torch.autograd.grad(loss.mse.sum(), model.embedding, retain_graph=True)[0]
    by_rounding = torch.autograd.grad(loss.rounding.sum(), model.embedding, retain_graph=True)[0]
    assert by_mse.norm() > 0.1 and by_rounding.norm() > 0.1
    for_net = torch.autograd.grad(loss.rounding.sum(), list(model.net.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in for_net)


def test_without_rounding_embeddings_collapse():
    """Errors alone are smallest where all words are alike: the gradient of the error of a perfect mean prediction pulls
    every embedding to the centre; the rounding's pushes them away from it.
    """
    model = small()
    model.embedding.data -= model.embedding.data.mean(0)
    model.net = Fixed(torch.zeros(1, dtype=torch.float64), D, L)
    x = torch.arange(V)[None].expand(2, -1)[:, :L]
    loss = diffusion_lm_loss(model, x, torch.full((2,), 0.9).double(), seeded())
    shrink = torch.autograd.grad(loss.mse.sum(), model.embedding, retain_graph=True)[0]
    spread = torch.autograd.grad(loss.rounding.sum(), model.embedding)[0]
    radial = lambda gradient: (gradient * model.embedding).sum().item()  # noqa: E731
    assert radial(shrink) > 0 > radial(spread)


# ---- the bound

P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def one_word_model():
    """Texts of one word out of three, one number each. Tied rounding is the exact posterior where sigma_0 is 1 and the
    bias holds log p(w) - |Emb(w)|^2 / 2.
    """
    model = DiffusionLM(3, Fixed(torch.zeros(1), 1, 1), sigma_0=1.0).double()
    model.embedding.data = torch.tensor([[-7.0], [0.0], [8.0]], dtype=torch.float64)
    model.bias.data = P.log() - model.embedding.data[:, 0] ** 2 / 2
    return model


def exact_denoiser(model):
    """E[x_0 | z_t] for one word drawn with probabilities P."""

    def denoise(z_t, t):
        alpha = model.process.alpha(t)[:, None, None]
        s2, e = model.sigma_0**2, model.embedding[:, 0]
        total = 1 - alpha + alpha * s2  # the variance of z_t given the word
        p = (P.log() - (z_t - alpha.sqrt() * e) ** 2 / (2 * total)).softmax(-1)
        return (p * (e + alpha.sqrt() * s2 / total * (z_t - alpha.sqrt() * e))).sum(-1, keepdim=True)

    return denoise


def test_bound_of_the_exact_denoiser_falls_to_the_entropy():
    """Minus the exact -log p of the same words, which removes their luck."""
    model = one_word_model()
    x = torch.multinomial(P, 2000, replacement=True, generator=seeded())[:, None]
    gaps = {}
    for T in (10, 40, 240):
        nelbo = diffusion_lm_nelbo(model, x, T, seeded(1), exact_denoiser(model)).nelbo + P.log()[x]
        gaps[T] = nelbo.mean().item()
        error = nelbo.std().item() / math.sqrt(len(x))
    assert gaps[10] > gaps[40] > 0.05 and -3 * error < gaps[240] < 0.03 + 3 * error and error < 0.03


def test_bound_of_one_step_in_closed_form():
    """T = 1 and a fixed answer: L_0 is a difference of two normal laws, and there is no other step."""
    model = DiffusionLM(2, Fixed(torch.tensor(0.3, dtype=torch.float64), 1, 1), sigma_0=0.5)
    model.embedding.data = torch.tensor([[1.0], [-2.0]], dtype=torch.float64)
    parts = diffusion_lm_nelbo(model, torch.zeros(50_000, 1, dtype=torch.long), 1, seeded())
    alpha, s2 = 2e-7, 0.25
    v = s2 * (1 - alpha) / (1 - alpha + alpha * s2)
    start = 0.5 * (math.log(v / s2) + (s2 + (1.0 - 0.3) ** 2) / v - 1)
    assert parts.steps.shape == (0, 50_000, 1)
    assert abs(parts.start.mean().item() - start) < 0.03
    assert abs(parts.prior.mean().item() - 0.5 * (alpha * (1 + s2) - alpha - math.log1p(-alpha))) < 1e-8
    x_0 = torch.linspace(-4, 6, 100_001, dtype=torch.float64)
    weight = torch.exp(-((x_0 - 1) ** 2) / (2 * s2))
    rounding = (weight * torch.log1p(torch.exp(-3 * x_0))).sum() / weight.sum()
    assert abs(parts.rounding.mean().item() - rounding.item()) < 0.01


def test_one_step_estimates_the_whole_bound():
    model, T, n = small(), 6, 1200
    x = X[:1].expand(n, -1)
    whole = diffusion_lm_nelbo(model, x, T, seeded()).nelbo.mean(1)
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    estimate = diffusion_lm_nelbo_at(model, x, t, T, seeded(1)).mean(1)
    by_step = estimate.view(T - 1, -1)
    error = math.sqrt(sum(part.var().item() / len(part) for part in by_step) / (T - 1) ** 2 + whole.var().item() / n)
    assert abs(estimate.mean().item() - whole.mean().item()) < 4 * error < 0.1 * whole.mean().item()


def test_a_schedule_that_does_not_reach_noise_is_named_with_its_value():
    model = small(schedule=LinearBeta(0.1, 2.0))
    with pytest.warns(UserWarning, match=r"does not reach noise: L_T is 0\.\d+ nats per dimension"):
        parts = diffusion_lm_nelbo(model, X, 3, seeded())
    assert parts.prior.mean().item() > 0.01 * D
    with pytest.raises(ValueError, match="at least one step"):
        diffusion_lm_nelbo(model, X, 0)
    with pytest.raises(ValueError, match="at least one step"):
        diffusion_lm_loss(model, X, torch.full((6,), 0.5), T=0)


# ---- the sampler


def knows(words):
    """A model whose network always answers the embeddings of `words` (L,)."""
    model = small()
    model.net = Fixed(lambda z, t: model.embedding[words].expand(z.shape) + 0.05, D, L)
    model.bias.data.zero_()
    return model


def test_clamping_from_a_time_on():
    model, seen = knows(X[0]), []
    watch = lambda z_s, z_t, x_hat, s, t: seen.append((t[0].item(), x_hat)) or z_s  # noqa: E731
    sample_diffusion_lm(model, 10, (2, L), clamp_from=0.4, generator=seeded(), guide=watch)
    words = model.embedding[X[0]]
    for t, x_hat in seen:
        assert torch.allclose(x_hat, words + (0.0 if t <= 0.4 else 0.05))
    assert [round(t, 6) for t, _ in seen] == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    for wrong in (0.0, 1.5):
        with pytest.raises(ValueError, match="clamp_from is the time"):
            sample_diffusion_lm(model, 10, (2, L), clamp_from=wrong)


def test_steps_are_skipped_and_counted():
    model = small()
    sample = sample_diffusion_lm(model, 100, (3, L), generator=seeded(), steps=10)
    assert sample.network_calls.tolist() == [10, 10, 10] and sample.trajectory is None
    assert torch.equal(sample.tokens, sample_diffusion_lm(model, 10, (3, L), generator=seeded()).tokens)
    with pytest.raises(ValueError, match="T = 5 .*no 6 steps"):
        sample_diffusion_lm(model, 5, (3, L), steps=6)


def test_a_prompt_stays_and_is_seen():
    """Its words come out as they went in, and the network sees them, at t as sqrt(alpha) Emb plus noise."""
    model, seen = small(), []
    model.embedding.data *= 10
    prompt = torch.full((400, L), V)
    prompt[:, 1], prompt[:, 3] = 4, 2
    model.net = Fixed(lambda z, t: seen.append((t[0], z)) or torch.zeros_like(z), D, L)
    sample = sample_diffusion_lm(model, 4, (400, L), prompt, generator=seeded())
    assert bool((sample.tokens[:, 1] == 4).all()) and bool((sample.tokens[:, 3] == 2).all())
    for t, z in seen:
        expected = model.process.alpha(t[None]).sqrt() * model.embedding[4]
        assert torch.allclose(z[:, 1].mean(0), expected, atol=0.25)
    with pytest.raises(ValueError, match="Prompt ids must lie in"):
        sample_diffusion_lm(model, 4, (400, L), prompt + 1)
    with pytest.raises(ValueError, match="longer than the 5"):
        sample_diffusion_lm(model, 4, (1, 6))


def test_frames_tell_the_words_of_each_moment():
    model = knows(X[0])
    prompt = torch.full((2, L), V)
    prompt[:, 0] = 6
    frames = sample_diffusion_lm(model, 4, (2, L), prompt, generator=seeded(), record=True).trajectory
    assert torch.equal(frames[0].tokens, prompt) and len(frames) == 5
    assert frames[1].written[:, 1:].all() and not frames[1].written[:, 0].any() and not frames[2].written.any()
    assert frames[1].probability[0, 1] == model.logits(model.embedding[X[0]] + 0.05).softmax(-1)[1].max().float()
    assert [round(frame.time[0].item(), 6) for frame in frames] == [1.0, 1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("eta, at_least", [(1.0, 0.9), (0.0, 0.8)])
def test_the_exact_denoiser_of_the_toy_language_writes_sentences(eta, at_least):
    """The oracle's posterior mean in the place of a network: nearly all samples are grammatical."""
    language = toy_language()
    model = DiffusionLM(language.V, Fixed(torch.zeros(1), 16, 12), schedule=Sqrt())
    words = torch.randn(language.V, 16, generator=seeded(5))
    model.embedding.data = 4 * words / words.norm(dim=1, keepdim=True)  # of one length: the likeliest word is the next
    model.net = Fixed(PerfectReader(model, language).x_hat, 16, 12)
    sample = sample_diffusion_lm(model, 40, (12, 12), generator=seeded(), eta=eta)
    assert language.grammatical(sample.tokens).float().mean().item() >= at_least
