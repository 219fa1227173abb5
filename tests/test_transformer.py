"""The transformer: who sees whom, positions, the cache, time, and the split between trunk and head."""

import pytest
import torch

from difflm_core.models import KeyValueCache, Transformer, TransformerConfig
from difflm_core.models.attention import rotary_angles, rotate

V, L = 7, 10


def build(seed: int = 0, **settings) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(TransformerConfig(V, L, **{"width": 16, "layers": 2, "heads": 2} | settings)).double().eval()


def some_tokens(B: int = 3, length: int = L, seed: int = 0) -> torch.Tensor:
    return torch.randint(V + 1, (B, length), generator=torch.Generator().manual_seed(seed))  # masks included


def wake_modulation(model: Transformer) -> Transformer:
    """Time enters through layers that start at zero: give them weights, as training does."""
    for block in model.blocks:
        torch.nn.init.normal_(block.modulation.weight, std=0.5)
    return model


def test_causal_never_sees_the_future():
    model, z = build(causal=True), some_tokens()
    before = model(z)
    for i in range(1, L):
        changed = z.clone()
        changed[:, i:] = (changed[:, i:] + 1) % (V + 1)
        assert torch.equal(model(changed)[:, :i], before[:, :i])


def test_causal_sees_the_whole_past():
    model, z = build(causal=True), some_tokens()
    changed = z.clone()
    changed[:, 0] = (changed[:, 0] + 1) % (V + 1)
    assert bool((model(changed) != model(z)).any(-1).all())


def test_bidirectional_sees_both_sides():
    model, z = build(), some_tokens()
    for i in (0, L // 2, L - 1):
        changed = z.clone()
        changed[:, i] = (changed[:, i] + 1) % (V + 1)
        assert bool((model(changed) != model(z)).any(-1).all())


def test_rows_of_a_batch_do_not_mix():
    model, z = build(), some_tokens()
    torch.testing.assert_close(model(z)[1:2], model(z[1:2]))


@pytest.mark.parametrize("prefix", range(1, L + 1))
def test_cache_agrees_with_no_cache(prefix):
    """A prefix in one call, then token by token, then (from the same prefix) the rest in one call."""
    model, z = build(causal=True), some_tokens()
    full, cache = model.hidden(z), KeyValueCache()
    assert cache.length == 0
    parts = [model.hidden(z[:, :prefix], None, cache)]
    for i in range(prefix, L):
        assert cache.length == i
        parts.append(model.hidden(z[:, i : i + 1], None, cache))
    torch.testing.assert_close(torch.cat(parts, 1), full, rtol=0, atol=1e-12)
    cache = KeyValueCache()
    model.hidden(z[:, :prefix], None, cache)
    if prefix < L:
        torch.testing.assert_close(model.hidden(z[:, prefix:], None, cache), full[:, prefix:], rtol=0, atol=1e-12)


def test_a_bidirectional_model_refuses_a_cache():
    """Read in two parts, its first positions would not have seen the last ones."""
    model, z, cache = build(), some_tokens(), KeyValueCache()
    with pytest.raises(ValueError, match="needs a causal model, and this one looks both ways"):
        model.hidden(z[:, :4], None, cache)
    assert cache.length == 0
    assert not torch.allclose(model.hidden(z)[:, :4], model.hidden(z[:, :4]))


def test_a_full_cache_refuses_more():
    model, cache = build(causal=True), KeyValueCache()
    model.hidden(some_tokens(), None, cache)
    with pytest.raises(ValueError, match="at position 10"):
        model.hidden(some_tokens(length=1), None, cache)


def test_time_conditioning_changes_the_answer_row_by_row():
    model, z = wake_modulation(build(time_conditioning=True)), some_tokens(2)
    t = torch.tensor([0.1, 0.9])
    assert model.uses_time
    both, early, late = model(z, t), model(z, t[:1].expand(2)), model(z, t[1:].expand(2))
    torch.testing.assert_close(both, torch.stack([early[0], late[1]]))
    assert (early - late).abs().max() > 1e-3


def test_nearby_times_are_told_apart_and_far_ones_not_confused():
    embedding = wake_modulation(build(time_conditioning=True)).time
    codes = embedding(torch.linspace(0, 1, 201, dtype=torch.float64))
    distance = torch.cdist(codes, codes) + torch.eye(201) * 1e3
    assert distance.min() > 1e-3


def test_a_new_time_conditioned_model_starts_as_a_time_free_one():
    model, z = build(time_conditioning=True), some_tokens()
    torch.testing.assert_close(model(z, torch.full((3,), 0.1)), model(z, torch.full((3,), 0.9)), rtol=0, atol=0)
    plain = build()
    plain.load_state_dict({name: weight for name, weight in model.state_dict().items() if name in plain.state_dict()})
    torch.testing.assert_close(plain(z), model(z, torch.full((3,), 0.5)))


def test_without_time_conditioning_t_is_ignored():
    model, z = build(), some_tokens()
    assert not model.uses_time
    assert torch.equal(model(z), model(z, torch.rand(3))) and torch.equal(model(z), model(z, None))


def test_missing_time_is_refused():
    with pytest.raises(ValueError, match="conditioned on time"):
        build(time_conditioning=True)(some_tokens())


def test_head_has_V_rows_and_the_embedding_one_more():
    model = build()
    assert model.head.weight.shape == (V, 16) and model.embedding.weight.shape == (V + 1, 16)
    assert model.mask_id == model.V == V and model.length == L
    assert model(some_tokens()).shape == (3, L, V)
    assert model.parameters_count() == sum(p.numel() for p in model.parameters())


def test_head_on_chosen_rows_is_a_part_of_all_logits():
    model, z = build(), some_tokens()
    rows = z == V
    assert 0 < rows.sum() < rows.numel()
    torch.testing.assert_close(model.logits(model.hidden(z)[rows]), model(z)[rows])


@pytest.mark.parametrize("length", [1, 4, L])
def test_shorter_texts_are_read(length):
    assert build()(some_tokens(length=length)).shape == (3, length, V)


def test_gradients_reach_every_parameter():
    model = wake_modulation(build(time_conditioning=True))
    model(torch.arange(V + 1)[None], torch.tensor([0.5])).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters())


def test_weights_come_back_from_a_file(tmp_path):
    model, other, z = build(seed=0), build(seed=1), some_tokens()
    assert not torch.equal(model(z), other(z))
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(model(z), other(z))


@pytest.mark.parametrize("z, message", [
    (torch.zeros(1, L + 1, dtype=torch.long), "length <= 10"),
    (torch.zeros(L, dtype=torch.long), r"got shape \(10,\)"),
    (torch.tensor([[0, V + 1]]), "got 0..8"),
    (torch.tensor([[-1, 0]]), "got -1..0"),
])  # fmt: skip
def test_bad_tokens_are_refused(z, message):
    with pytest.raises(ValueError, match=message):
        build()(z)


@pytest.mark.parametrize("settings, message", [
    ({"V": 1, "length": 4}, "at least 2 tokens"),
    ({"V": 4, "length": 0}, "1 position"),
    ({"V": 4, "length": 4, "width": 10, "heads": 4}, "even whole number"),
    ({"V": 4, "length": 4, "width": 12, "heads": 4}, "even whole number"),
])  # fmt: skip
def test_impossible_shapes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**settings)


# --- rotary positions -------------------------------------------------------------------------------------------------


def test_rotation_keeps_lengths_and_leaves_position_0_alone():
    x, angles = torch.randn(1, 1, L, 8, dtype=torch.float64), rotary_angles(L, 8).double()
    turned = rotate(x, angles)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[..., 0, :], x[..., 0, :])


def test_dot_products_depend_on_distance_only():
    """The same two vectors at positions (i, i + d) score the same for every i, and differently for other d."""
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    angles = rotary_angles(64, 8).double()
    everywhere = lambda v: rotate(v.expand(1, 1, 64, 8), angles)[0, 0]  # noqa: E731
    scores = everywhere(q) @ everywhere(k).T  # (64, 64)
    for d in (-20, -1, 0, 1, 20):
        same_distance = scores.diagonal(d)
        torch.testing.assert_close(same_distance, same_distance[:1].expand_as(same_distance), rtol=0, atol=1e-4)
    assert scores[0].std() > 0.1


def test_positions_differ_on_a_canvas_of_masks():
    """Distances alone cannot tell position 1 from position 5 when every token is the same: the absolute embedding can.
    """
    first, *others = build()(torch.full((1, L), V))[0]
    assert all((other - first).abs().max() > 1e-4 for other in others)


def test_order_matters():
    """Without positions, attention would not see that two tokens changed places."""
    model = build()
    z, swapped = torch.tensor([[1, 2, 3, V]]), torch.tensor([[2, 1, 3, V]])
    assert (model(z)[0, -1] - model(swapped)[0, -1]).abs().max() > 1e-4
