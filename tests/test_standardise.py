"""Statistics of latents: against plain formulas, there and back, and whose they are."""

import pytest
import torch

from difflm_core.models import Standardise


def latents(*shape, seed=0):
    return 3 + 5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_statistics_of_a_stream_are_those_of_the_whole(shape):
    whole = latents(60, *shape) + 1e4  # far from zero, where squares less squared means would lose all digits
    standardise = Standardise(shape, "toy").double().measure(whole.split([1, 7, 0, 30, 22]))
    torch.testing.assert_close(standardise.mean, whole.mean(0))
    torch.testing.assert_close(standardise.deviation, whole.std(0, correction=0))
    z = standardise(whole)
    torch.testing.assert_close(z.mean(0), torch.zeros(shape).double(), atol=1e-8, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(shape).double())
    torch.testing.assert_close(standardise.inverse(z), whole)


def test_slots_keep_their_own_scale():
    """With one pair per coordinate instead, a loud slot would stay loud."""
    whole = latents(500, 2, 3) * torch.tensor([1.0, 10.0]).double()[:, None]
    per_slot = Standardise((2, 3), "toy").double().measure([whole])(whole).std((0, 2))
    per_coordinate = Standardise((3,), "toy").double().measure([whole])(whole).std((0, 2))
    torch.testing.assert_close(per_slot, torch.ones(2).double(), rtol=0.01, atol=0)
    assert per_coordinate[1] > 5 * per_coordinate[0]


def test_token_states_are_counted_one_by_one():
    states = latents(5, 7, 4)
    together, rows = (Standardise((4,), "toy").double().measure(given) for given in ([states], [states.flatten(0, 1)]))
    torch.testing.assert_close(together.mean, rows.mean)
    assert int(together.count) == 35


def test_a_coordinate_that_never_changes_becomes_zero():
    whole = latents(50, 3)
    whole[:, 1] = 0.1
    z = Standardise((3,), "toy").double().measure(whole.split(7))(whole)
    assert bool(z.isfinite().all()) and z[:, 1].abs().max() < 1e-8


def test_rounding_around_zero_is_no_change():
    """MiniLM's coordinate 319: mean -1e-7, deviation 2e-8, where the others have 0.25 to 1.2."""
    h = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    h[:, 2] = 2e-8 * h[:, 2] - 1e-7
    h[:, 3] *= 1e-3  # small, and alive
    z = Standardise((8,), "e").measure([h])(h)
    assert z[:, 2].abs().max() < 1e-6 and abs(z[:, 3].std() - 1) < 0.01


def test_statistics_without_a_deviation_are_refused():
    statistics = Standardise((2,), "e").measure([torch.randn(9, 2)])
    state = statistics.state_dict() | {"deviation": torch.tensor([1.0, 3e-9]).half().float()}
    with pytest.raises(ValueError, match="deviation of 0"):
        statistics.load_state_dict(state)


def test_statistics_travel_with_the_weights_but_not_to_another_encoder():
    made = Standardise((3,), "bert").measure([latents(9, 3)])
    loaded = Standardise((3,), "bert")
    loaded.load_state_dict(made.state_dict())
    z = latents(2, 3).float()
    assert torch.equal(made(z), loaded(z))
    with pytest.raises(ValueError, match="another encoder than minilm"):
        Standardise((3,), "minilm").load_state_dict(made.state_dict())
    made.check_encoder("bert")
    with pytest.raises(ValueError, match="statistics of bert, but the states come from minilm"):
        made.check_encoder("minilm")


def test_refusals():
    with pytest.raises(ValueError, match="no statistics of toy's latents yet"):
        Standardise((3,), "toy")(latents(2, 3))
    with pytest.raises(ValueError, match="no statistics"):
        Standardise((3,), "toy").inverse(latents(2, 3))
    with pytest.raises(ValueError, match=r"latents \(\.\.\., 3\), got shape \(2, 4\)"):
        Standardise((3,), "toy").measure([latents(2, 4)])
    measured = Standardise((2, 3), "toy").measure([latents(8, 2, 3)])
    for wrong in (latents(8, 3, 2), latents(8, 3), latents(2, 3)):
        with pytest.raises(ValueError, match="got shape"):
            measured(wrong)
    with pytest.raises(ValueError, match="at least two"):
        Standardise((3,), "toy").measure([latents(1, 3)])
    with pytest.raises(ValueError, match="not finite"):
        Standardise((3,), "toy").measure([latents(4, 3) / torch.zeros(4, 1)])
    with pytest.raises(ValueError, match="shape such as"):
        Standardise((), "toy")
