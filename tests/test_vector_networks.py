"""Networks from vectors to vectors: shapes, what they look at, what they refuse."""

import pytest
import torch

from difflm_core.models import UNet1d, UNet1dConfig, VectorConfig, VectorTransformer

BUILD = {
    "transformer": lambda length=12: VectorTransformer(VectorConfig(4, length, width=16, layers=2, heads=2)),
    "unet": lambda length=12: UNet1d(UNet1dConfig(4, length, width=16)),
}


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("L", [1, 5, 7, 12])
def test_any_length_up_to_the_canvas(name, L):
    assert BUILD[name]()(noise(2, L, 4), torch.tensor([0.2, 0.8])).shape == (2, L, 4)


@pytest.mark.parametrize("name", BUILD)
def test_every_position_sees_all_others_and_rows_do_not_mix(name):
    torch.manual_seed(1)
    net, t = BUILD[name](), torch.tensor([0.3, 0.3])
    for parameter in net.parameters():  # also those that begin at zero
        parameter.data += 0.05 * torch.randn(parameter.shape)
    z = noise(2, 12, 4).requires_grad_()
    reached = torch.autograd.grad(net(z, t)[0, 0].sum(), z)[0]
    assert bool((reached[0].abs().sum(-1) > 0).all()) and bool((reached[1] == 0).all())


@pytest.mark.parametrize("name", BUILD)
def test_time_and_place_matter_once_trained(name):
    torch.manual_seed(1)
    net = BUILD[name]()
    for parameter in net.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    same = noise(1, 1, 4).expand(1, 12, 4)
    early, late = net(same, torch.tensor([0.1])), net(same, torch.tensor([0.9]))
    assert not torch.allclose(early, late, atol=1e-4) and not torch.allclose(early[0, 3], early[0, 8], atol=1e-4)


def test_the_two_backbones_are_of_about_equal_size():
    transformer, unet = VectorTransformer(VectorConfig(16, 12)), UNet1d(UNet1dConfig(16, 12))
    assert 0.8 < unet.parameters_count() / transformer.parameters_count() < 1.2


@pytest.mark.parametrize("name", BUILD)
def test_refusals(name):
    for wrong in (noise(2, 13, 4), noise(2, 12, 5), noise(12, 4)):
        with pytest.raises(ValueError, match=r"reads \(batch, length <= 12, 4\) vectors"):
            BUILD[name]()(wrong, torch.tensor([0.2, 0.8]))
    with pytest.raises(ValueError, match="at least 1"):
        BUILD[name](0)


def test_refused_settings():
    with pytest.raises(ValueError, match="even whole number"):
        VectorConfig(4, 12, width=30, heads=4)
    with pytest.raises(ValueError, match="a width that 4 divides"):
        UNet1dConfig(4, 12, width=30)
