"""Self-conditioning: two passes, one coin per batch, no gradient through the first."""

import pytest
import torch
from torch import nn

from difflm_core.models import DiffusionLM, UNet1d, UNet1dConfig, VectorConfig, VectorTransformer, self_conditioned
from difflm_core.objectives import diffusion_lm_loss
from difflm_core.processes import GaussianProcess
from difflm_core.samplers import sample_diffusion_lm

Z, T = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 0.4, 0.7, 1.0])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Watched(nn.Module):
    """answer = weight z + half of the previous estimate; remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.weight, self.given = nn.Parameter(torch.tensor(2.0)), []

    def forward(self, z_t, t, previous=None):
        self.given.append(previous)
        return self.weight * z_t + (0 if previous is None else 0.5 * previous)


def test_both_modes_and_no_gradient_through_the_first_pass():
    net = Watched()
    assert torch.equal(self_conditioned(net, Z, T, seeded(), probability=0.0), 2 * Z) and net.given == [None]
    twice = self_conditioned(net, Z, T, seeded(), probability=1.0)
    assert torch.equal(twice, 3 * Z) and len(net.given) == 3
    twice.sum().backward()
    assert torch.allclose(net.weight.grad, Z.sum())  # with a gradient through the first pass: 1.5 times that


def test_one_coin_per_batch_that_falls_as_often_as_asked():
    net, generator = Watched(), seeded()
    twice = [bool((self_conditioned(net, Z, T, generator, 0.3) == 3 * Z).all()) for _ in range(2000)]
    once = 2000 - sum(twice)
    assert len(net.given) == once + 2 * sum(twice) and abs(sum(twice) / 2000 - 0.3) < 0.04


def test_a_prediction_of_noise_is_shown_as_clean_vectors():
    net, process = Watched(), GaussianProcess()
    self_conditioned(net, Z, T, seeded(), 1.0, lambda z, prediction, t: process.to_x(z, prediction, t, "v"))
    assert torch.equal(net.given[1], process.to_x(Z, 2 * Z, T, "v"))


def test_probability_is_checked():
    with pytest.raises(ValueError, match="probability is a share of batches"):
        self_conditioned(Watched(), Z, T, probability=1.5)


NETS = [
    lambda **s: VectorTransformer(VectorConfig(3, 5, width=16, layers=1, heads=2, **s)),
    lambda **s: UNet1d(UNet1dConfig(3, 5, width=16, **s)),
]


@pytest.mark.parametrize("build", NETS)
def test_networks_read_their_previous_estimate(build):
    torch.manual_seed(0)
    net = build(self_conditioning=True)
    assert torch.allclose(net(Z, T), net(Z, T, torch.zeros_like(Z)))
    assert not torch.allclose(net(Z, T), net(Z, T, torch.ones_like(Z)))
    with pytest.raises(ValueError, match="no input for a previous estimate"):
        build()(Z, T, torch.zeros_like(Z))


def test_diffusion_lm_trains_and_samples_with_it():
    """Half of the batches make two passes; a sampler shows each step the estimate of the one before, clamped or not."""
    torch.manual_seed(0)
    model = DiffusionLM(7, NETS[0](self_conditioning=True))
    passes, forward = [], model.net.forward
    model.net.forward = lambda z, t, previous=None: passes.append(previous) or forward(z, t, previous)
    x = torch.zeros(2, 5, dtype=torch.long)
    for _ in range(60):
        diffusion_lm_loss(model, x, torch.tensor([0.3, 0.6]), generator := seeded(len(passes)))
    assert 70 <= len(passes) <= 110 and generator is not None
    passes.clear()
    sample_diffusion_lm(model, 3, (2, 5), clamp_from=1.0, generator=seeded())
    assert passes[0] is None and len(passes) == 3
    assert all(bool((model.nearest(previous) == previous).all()) for previous in passes[1:])
