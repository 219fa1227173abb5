"""The autoregressive twin as a diffusion model: nothing is lost at the start, nothing leaks, and it learns."""

import pytest
import torch

from difflm_core.data import toy_language
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.models.adapted_twin import AdaptedTwin
from difflm_core.objectives.autoregressive import shift_right
from difflm_core.training.adapt import adapt, bound

V, L = 7, 5


def twin(causal: bool = True) -> Transformer:
    torch.manual_seed(0)
    return Transformer(TransformerConfig(V, L, 16, 2, 2, causal)).double().eval()


def texts(n: int = 3) -> torch.Tensor:
    return torch.randint(V, (n, L), generator=torch.Generator().manual_seed(1))


def test_closed_and_without_masks_it_is_the_twin():
    model, x = AdaptedTwin(twin(), opened=0.0).double().eval(), texts()
    torch.testing.assert_close(model(x), twin()(shift_right(x, V)))


@pytest.mark.parametrize("opened, sees", [(0.0, False), (1.0, True)])
def test_only_an_open_network_looks_ahead(opened, sees):
    model, x = AdaptedTwin(twin(), opened).double().eval(), texts()
    other = x.clone()
    other[:, -1] = (other[:, -1] + 1) % V
    moved = (model(x) - model(other)).abs().amax((0, 2))
    assert bool((moved[:-1] > 1e-9).all()) is sees


def test_the_start_symbol_is_no_mask():
    model, z = AdaptedTwin(twin()).double().eval(), texts().fill_(V)
    before = model(z)
    model.mask_row.data += 1.0
    assert not torch.allclose(before, model(z))
    assert model.network.embedding.weight[V].equal(twin().embedding.weight[V])


def test_it_learns_to_fill_blanks():
    language = toy_language()
    torch.manual_seed(0)
    model = AdaptedTwin(Transformer(TransformerConfig(language.V, language.length, 16, 1, 2, True)))
    g = torch.Generator().manual_seed(0)
    held_out = [language.sample(32, generator=g)]
    before = bound(model.eval(), held_out).mean
    adapt(model, iter(lambda: language.sample(32, generator=g), None), 15, 1e-2, progress=False)
    assert model.opened == 1.0 and bound(model.eval(), held_out).mean < before - 0.2


@pytest.mark.parametrize("change", [{"causal": False}, {"time_conditioning": True}])
def test_only_an_autoregressive_network_can_be_adapted(change):
    config = {"causal": True} | change
    with pytest.raises(ValueError, match="Only a causal network"):
        AdaptedTwin(Transformer(TransformerConfig(V, L, 16, 1, 2, **config)))


def test_longer_texts_than_the_twin_read_are_refused():
    with pytest.raises(ValueError, match="length <= 5"):
        AdaptedTwin(twin())(torch.zeros(1, L + 1, dtype=torch.long))
