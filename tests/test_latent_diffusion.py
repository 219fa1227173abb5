"""Diffusion on latents: the denoiser's inputs, the loss, three steps of sampling, guidance."""

import pytest
import torch

from difflm_core.models import LatentConfig, LatentDenoiser, by_level, self_conditioned
from difflm_core.objectives import drop_labels, gaussian_mse, latent_loss
from difflm_core.oracle import GaussianMixture, gaussian_data
from difflm_core.processes import CosineBeta, GaussianProcess, ShiftedCosine
from difflm_core.samplers import (
    ancestral_step,
    ddim_step,
    euler_step,
    magnitudes,
    sample_gaussian,
    sample_latents,
)

PROCESS = GaussianProcess(ShiftedCosine(3.0))
DATA = gaussian_data([0.5], [[0.3]])
DOUBLE = {"dtype": torch.float64}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), **DOUBLE)


def network(seed=0, **settings):
    """A small denoiser in which nothing is at its starting zero."""
    torch.manual_seed(seed)
    net = LatentDenoiser(LatentConfig(3, 5, width=16, heads=2, **settings)).double()
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net


# the denoiser


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("skips", [False, True])
def test_any_depth_with_and_without_long_skips(layers, skips):
    net, z, t = network(layers=layers, long_skips=skips), vectors(2, 5, 3), torch.tensor([0.2, 0.9])
    assert net(z, t).shape == z.shape
    plain = network(layers=layers)  # the same weights
    assert torch.equal(net(z, t), plain(z, t)) == (not skips or layers == 1)


def test_the_estimate_is_ignored_at_first_and_zeros_are_none():
    z, t, before = vectors(2, 5, 3), torch.tensor([0.2, 0.9]), vectors(2, 5, 3, seed=1)
    fresh = LatentDenoiser(LatentConfig(3, 5, width=16, heads=2)).double()
    assert torch.equal(fresh(z, t, before), fresh(z, t))
    used = network()
    torch.testing.assert_close(used(z, t, torch.zeros_like(z)), used(z, t))
    for layer in range(2):  # each layer has a map of its own
        net = network()
        net.previous[1 - layer].weight.data.zero_()
        assert not torch.allclose(net(z, t, before), net(z, t), atol=1e-3)


def test_no_label_is_the_null_label_and_labels_matter():
    net, z, t = network(labels=2), vectors(3, 5, 3), torch.tensor([0.2, 0.5, 0.9])
    null = torch.full((3,), net.null_label)
    assert net.null_label == 2 and torch.equal(net(z, t), net(z, t, None, null))
    mixed = net(z, t, None, torch.tensor([0, 2, 1]))
    same = [torch.allclose(mixed[i], net(z, t)[i], atol=1e-3) for i in range(3)]
    assert same == [False, True, False]


def test_by_level_two_schedules_ask_the_same_question():
    net, z = network(), vectors(2, 5, 3)
    other, t = GaussianProcess(ShiftedCosine(9.0)), torch.tensor([0.1, 0.7], **DOUBLE)
    at_9 = 2 / torch.pi * (torch.tan(torch.pi / 2 * t) * 3 / 9).arctan()  # where tan-9 has the alpha of tan-3 at t
    torch.testing.assert_close(by_level(net, PROCESS)(z, t), by_level(net, other)(z, at_9))
    cosine = GaussianProcess(ShiftedCosine(1.0))
    torch.testing.assert_close(by_level(net, cosine)(z, t, z), net(z, t, z))


def test_refused_networks_and_labels():
    z, t = vectors(2, 5, 3), torch.tensor([0.2, 0.9])
    with pytest.raises(ValueError, match="knows no classes"):
        network()(z, t, None, torch.tensor([0, 0]))
    for wrong in (torch.tensor([0, 3]), torch.tensor([-1, 0]), torch.tensor([0])):
        with pytest.raises(ValueError, match="one number in 0..2 per row"):
            network(labels=2)(z, t, None, wrong)
    with pytest.raises(ValueError, match="no input for a previous estimate"):
        network(self_conditioning=False)(z, t, z)
    with pytest.raises(ValueError, match="0 classes or more"):
        LatentConfig(3, 5, labels=-1)


# the loss


@pytest.mark.parametrize("kind", ["x", "eps", "v"])
def test_without_its_extras_the_loss_is_the_simple_one(kind):
    net, x, t = network(labels=2), vectors(4, 5, 3), torch.tensor([0.1, 0.4, 0.7, 1.0])
    loss = latent_loss(PROCESS, net, x, t, kind, seeded(), self_conditioning=0)
    assert torch.equal(loss, gaussian_mse(PROCESS, net, x, t, kind, seeded()))


@pytest.mark.parametrize("kind", ["x", "v"])
def test_self_conditioning_reads_the_clean_estimate(kind):
    net, x, t = network(labels=2), vectors(4, 5, 3), torch.tensor([0.1, 0.4, 0.7, 0.9])
    label = torch.tensor([0, 1, 2, 0])
    loss = latent_loss(PROCESS, net, x, t, kind, seeded(), 1.0, label, label_dropout=0)
    z_t = PROCESS.corrupt(x, t, seeded())
    first = PROCESS.to_x(z_t, net(z_t, t, None, label), t, kind)
    torch.testing.assert_close(loss, (net(z_t, t, first, label) - PROCESS.from_x(z_t, x, t, kind)) ** 2)


def test_labels_are_dropped_as_often_as_asked():
    label = torch.arange(2).repeat(5000)
    for share in (0.0, 0.3, 1.0):
        dropped = drop_labels(label, 2, share, seeded())
        assert (dropped == 2).double().mean().item() == pytest.approx(share, abs=0.02)
        assert torch.equal(dropped[dropped != 2], label[dropped != 2])
    with pytest.raises(ValueError, match="share of rows"):
        drop_labels(label, 2, 1.5)


def test_a_loss_that_drops_every_label_is_the_unconditional_one():
    net, x, t = network(labels=2), vectors(4, 5, 3), torch.tensor([0.1, 0.4, 0.7, 0.9])
    label = torch.tensor([0, 1, 1, 0])
    dropped = latent_loss(PROCESS, net, x, t, "x", seeded(), 0, label, label_dropout=1)
    assert torch.equal(dropped, latent_loss(PROCESS, net, x, t, "x", seeded(), 0))
    assert not torch.allclose(dropped, latent_loss(PROCESS, net, x, t, "x", seeded(), 0, label, label_dropout=0))


# sampling


def exact(process):
    """The closed-form denoiser of N(0.5, 0.3) for every number of a latent."""

    def net(z_t, t, previous=None):
        alpha = process.alpha(t)[:, None, None]
        gain = alpha.sqrt() * 0.3 / (alpha * 0.3 + 1 - alpha)
        return 0.5 + gain * (z_t - alpha.sqrt() * 0.5)

    return net


@pytest.mark.parametrize("step, eta", [(ancestral_step, 1.0), (ddim_step, 0.0)])
def test_even_steps_are_those_of_sample_gaussian(step, eta):
    net = exact(PROCESS)
    ours = sample_latents(PROCESS, net, (8, 2, 1), 7, seeded(), step=step, **DOUBLE)
    theirs = sample_gaussian(PROCESS, lambda z, t, x=None: net(z, t), 7, (8, 2, 1), seeded(), eta, **DOUBLE)
    torch.testing.assert_close(ours.x, theirs.x)
    assert ours.network_calls.tolist() == [7] * 8 and ours.trajectory is None


def test_euler_goes_to_the_exact_posterior_step():
    """For a given x_hat: the mean and the deviation of one Euler step, found by its linearity, against Bayes' rule."""
    t, x = torch.tensor([0.6], **DOUBLE), vectors(1, 1, 4, seed=3)
    z = vectors(1, 1, 4)
    errors = []
    for span in (0.1, 0.05, 0.025, 0.0125):
        s = t - span
        drawn = torch.stack([euler_step()(PROCESS, z, x, s, t, seeded(seed)) for seed in range(2)])
        noise = torch.stack([torch.randn(z.shape, generator=seeded(seed), **DOUBLE) for seed in range(2)])
        deviation = ((drawn[1] - drawn[0]) / (noise[1] - noise[0])).mean()
        mean, variance = PROCESS.posterior(z, x, s, t)
        off = (drawn[0] - deviation * noise[0] - mean).abs().max() + (deviation**2 - variance).abs().max()
        errors.append(off.item())
    ratios = [a / b for a, b in zip(errors, errors[1:])]
    assert all(3.2 < ratio < 4.8 for ratio in ratios)  # second order per step, hence first order per run


def law_of_a_run(step, steps, last=0.01):
    """Exact (mean, variance) of a run on this data: z_s = a z + b + c eps, with a, b, c read off the step itself."""
    net, mean, variance = exact(PROCESS), 0.0, 1.0
    times = torch.linspace(1, last, steps, **DOUBLE)
    eps = torch.randn(3, 1, 1, generator=seeded(), **DOUBLE).flatten()
    for t, s in zip(times, times[1:]):
        t, s = t.expand(3), s.expand(3)
        z = torch.tensor([0.0, 1.0, 0.0], **DOUBLE)[:, None, None]
        after = step(PROCESS, z, net(z, t), s, t, seeded()).flatten()
        c = (after[2] - after[0]) / (eps[2] - eps[0])
        b = after[0] - c * eps[0]
        a = after[1] - b - c * eps[1]
        mean, variance = a * mean + b, a**2 * variance + c**2
    ends = net(torch.tensor([0.0, 1.0], **DOUBLE)[:, None, None], times[-1:]).flatten()
    gain = ends[1] - ends[0]
    return (gain * mean + ends[0]).item(), (gain**2 * variance).item()


@pytest.mark.parametrize("step", [euler_step(), ancestral_step, ddim_step])
def test_all_steps_lead_to_the_same_law_as_they_grow_many(step):
    """The last answer has a little less variance than the data: the doubt that is left at t = 0.01."""
    alpha = PROCESS.alpha(torch.tensor([0.01], **DOUBLE)).item()
    limit = 0.3**2 * alpha / (alpha * 0.3 + 1 - alpha)
    off = [abs(mean - 0.5) + abs(variance - limit) for mean, variance in (law_of_a_run(step, n) for n in (100, 800))]
    assert off[1] < 0.01 and off[1] < off[0] / 4


def test_the_law_of_a_run_is_what_runs_have():
    mean, variance = law_of_a_run(euler_step(), 12)
    x = sample_latents(
        PROCESS, exact(PROCESS), (10_000, 1, 1), 12, seeded(), step=euler_step(), last=0.01, **DOUBLE
    ).x  # fmt: skip
    assert x.mean().item() == pytest.approx(mean, abs=4 * (variance / 10_000) ** 0.5)
    assert x.var().item() == pytest.approx(variance, rel=4 * (2 / 10_000) ** 0.5)


def test_self_conditioning_is_carried_along():
    seen = []

    def net(z_t, t, previous=None):
        seen.append(previous)
        return 0.5 * z_t

    sample = sample_latents(PROCESS, net, (2, 3, 1), 4, seeded(), record=True)
    assert seen[0] is None and all(torch.equal(a, b.x_hat) for a, b in zip(seen[1:], sample.trajectory))
    assert [round(frame.time, 6) for frame in sample.trajectory] == [1, 0.75, 0.5, 0.25, 0]
    torch.testing.assert_close(magnitudes(sample)[2], sample.trajectory[2].x_hat.square().mean())
    seen.clear()
    sample_latents(PROCESS, net, (2, 3, 1), 4, seeded(), self_condition=False)
    assert seen == [None] * 4
    with pytest.raises(ValueError, match="record=True"):
        magnitudes(sample_latents(PROCESS, net, (2, 3, 1), 4))


@pytest.mark.parametrize("kind", ["x", "v", "eps"])
def test_guidance_with_weight_0_1_and_2(kind):
    net, label = network(labels=2), torch.tensor([0, 1])

    def draw(weight, label=label, steps=3):
        return sample_latents(
            GaussianProcess(CosineBeta()), net, (2, 5, 3), steps, seeded(), kind, label=label, weight=weight,
            self_condition=kind == "x", **DOUBLE,
        )  # fmt: skip

    torch.testing.assert_close(draw(1.0 + 1e-12).x, draw(1.0).x)
    torch.testing.assert_close(draw(0.0).x, draw(1.0, None).x)
    assert draw(2.0).network_calls.tolist() == [6, 6] and draw(1.0).network_calls.tolist() == [3, 3]
    once = [draw(weight, steps=1).x for weight in (0.0, 1.0, 2.0)]
    torch.testing.assert_close(once[2] - once[1], once[1] - once[0])
    assert not torch.allclose(once[1], once[0], atol=1e-3)


def test_guided_exact_denoisers_reach_their_class():
    """Two tight classes; the label picks one, and no label gives both."""
    parts = [gaussian_data([mean], [[0.04]]) for mean in (-2.0, 1.0)]
    both = GaussianMixture(torch.tensor([0.5, 0.5]), torch.tensor([[-2.0], [1.0]]), torch.full((2, 1, 1), 0.04))

    class Net:
        null_label = 2

        def __call__(self, z_t, t, previous=None, label=None):
            answers = torch.stack([d.denoiser(PROCESS)(z_t[:, 0], t) for d in (*parts, both)])
            return answers[torch.full((len(z_t),), 2) if label is None else label, torch.arange(len(z_t))][:, None]

    label = torch.arange(2).repeat(200)
    x = sample_latents(PROCESS, Net(), (400, 1, 1), 40, seeded(), label=label, **DOUBLE).x.flatten()
    assert x[label == 0].mean().item() == pytest.approx(-2, abs=0.1)
    assert x[label == 1].mean().item() == pytest.approx(1, abs=0.1)
    free = sample_latents(PROCESS, Net(), (400, 1, 1), 40, seeded(), **DOUBLE).x.flatten()
    assert (free < -0.5).double().mean().item() == pytest.approx(0.5, abs=0.1)


def test_refused_samplers():
    net = exact(PROCESS)
    for steps, last in ((4, 0.0), (4, 1.0), (1, 0.5), (4, 1.5)):
        with pytest.raises(ValueError, match="cannot fall from 1"):
            sample_latents(PROCESS, net, (2, 1, 1), steps, last=last)
    with pytest.raises(ValueError, match="inside"):
        euler_step(1.0)
    with pytest.raises(ValueError, match='predicts "x", "eps" or "v"'):
        sample_latents(PROCESS, net, (2, 1, 1), kind="z")


def test_a_small_network_learns_one_text():
    """Latents of a single text: the loss falls to nothing, and samples are that text."""
    torch.manual_seed(0)
    net = LatentDenoiser(LatentConfig(3, 4, width=32, layers=1, heads=2))
    x, generator = torch.randn(1, 4, 3, generator=seeded()).expand(16, 4, 3), seeded(1)
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3, weight_decay=0.0)
    for _ in range(150):
        loss = latent_loss(PROCESS, net, x, torch.rand(16, generator=generator), "x", generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    drawn = sample_latents(PROCESS, net, (8, 4, 3), 20, seeded(2)).x
    assert loss.item() < 0.02 and (drawn - x[:8]).square().mean().item() < 0.02


def test_the_coin_of_self_conditioning_is_the_shared_one():
    net, x, t = network(), vectors(4, 5, 3), torch.tensor([0.1, 0.4, 0.7, 0.9])
    generator = seeded(3)
    z_t = PROCESS.corrupt(x, t, generator)
    expected = (self_conditioned(net, z_t, t, generator, 0.5) - x) ** 2
    assert torch.equal(latent_loss(PROCESS, net, x, t, "x", seeded(3)), expected)
