"""Block diffusion's network: who sees whom, the cache, and its two limits, a plain transformer and a causal one."""

import pytest
import torch

from difflm_core.models import BlockConfig, BlockTransformer, KeyValueCache, Transformer, TransformerConfig
from difflm_core.models.block_attention import block_causal_mask, training_mask, view_of

V, L = 7, 12
SIZES = [1, 2, 3, 4, 6, 12]
every_size = pytest.mark.parametrize("size", SIZES)
SMALL = {"width": 16, "layers": 2, "heads": 2}


def build(size: int, seed: int = 0, **settings) -> BlockTransformer:
    torch.manual_seed(seed)
    return BlockTransformer(BlockConfig(V, L, **SMALL | settings, block_size=size)).double().eval()


def tokens(most: int, B: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randint(most, (B, L), generator=torch.Generator().manual_seed(seed))


X = tokens(V)
Z = torch.where(tokens(2, seed=1).bool(), V, X)


def page(z: torch.Tensor, x: torch.Tensor, block: int, size: int) -> torch.Tensor:
    """The text while a block is written: clean before it, noisy in it."""
    return torch.cat([x[:, : block * size], z[:, block * size : (block + 1) * size]], dim=1)


# --- masks ------------------------------------------------------------------------------------------------------------


@every_size
def test_the_training_mask_is_its_definition(size):
    """BD3-LM's three parts, position by position."""
    mask = training_mask(L, size)
    for q in range(2 * L):
        for k in range(2 * L):
            block_q, block_k = q % L // size, k % L // size
            if q < L and k < L:
                allowed = block_q == block_k
            elif q < L:
                allowed = block_q > block_k
            else:
                allowed = k >= L and block_q >= block_k
            assert mask[q, k].item() == allowed


def test_the_limits_of_the_masks():
    assert torch.equal(block_causal_mask(L, 1), torch.ones(L, L).tril().bool())
    assert bool(block_causal_mask(L, L).all())
    assert torch.equal(block_causal_mask(4, 3, past=5), block_causal_mask(9, 3)[5:])
    assert torch.equal(training_mask(L, L)[:L], torch.cat([torch.ones(L, L), torch.zeros(L, L)], 1).bool())


# --- who sees whom ----------------------------------------------------------------------------------------------------


@every_size
def test_no_leak_from_the_clean_copy(size):
    """The clean token at j moves the answers of later blocks, all of them, and no others: not even its own block's."""
    model = build(size)
    before = model.hidden_beside(Z, X)
    for j in range(L):
        changed = X.clone()
        changed[:, j] = (changed[:, j] + 1) % V
        moved = (model.hidden_beside(Z, changed) != before).any(-1)
        assert torch.equal(moved, (torch.arange(L) // size > j // size).expand(moved.shape))


@every_size
def test_noise_is_seen_in_its_own_block_only(size):
    model = build(size)
    before = model.hidden_beside(Z, X)
    for j in range(L):
        changed = Z.clone()
        changed[:, j] = (changed[:, j] + 1) % (V + 1)
        moved = (model.hidden_beside(changed, X) != before).any(-1)
        assert torch.equal(moved, (torch.arange(L) // size == j // size).expand(moved.shape))


@every_size
def test_one_pass_for_training_answers_as_every_block_would(size):
    model = build(size)
    beside = model.hidden_beside(Z, X)
    for block in range(L // size):
        alone = model.hidden(page(Z, X, block, size))[:, -size:]
        torch.testing.assert_close(alone, beside[:, block * size : (block + 1) * size], rtol=0, atol=1e-12)


@every_size
def test_what_follows_does_not_matter(size):
    model = build(size)
    whole = model.hidden(X)
    for block in range(L // size):
        end = (block + 1) * size
        torch.testing.assert_close(model.hidden(X[:, :end]), whole[:, :end], rtol=0, atol=1e-12)


# --- the cache --------------------------------------------------------------------------------------------------------


@every_size
def test_cached_equals_uncached(size):
    """Blocks read one at a time, and a block asked about again and again."""
    model, cache = build(size), KeyValueCache()
    for block in range(L // size):
        here = slice(block * size, (block + 1) * size)
        uncached = model.hidden(page(Z, X, block, size))[:, -size:]
        for _ in range(2):  # asking leaves the cache as it was
            torch.testing.assert_close(model.hidden(Z[:, here], None, cache), uncached, rtol=0, atol=1e-12)
            assert cache.length == block * size
        model.read(X[:, here], cache)


def test_cached_equals_uncached_in_float32():
    model = build(4).float()
    cache = KeyValueCache()
    model.read(X[:, :8], cache)
    uncached = model.logits(model.hidden(page(Z, X, 2, 4)))[:, 8:]
    torch.testing.assert_close(model.logits(model.hidden(Z[:, 8:], None, cache)), uncached, rtol=0, atol=1e-5)


@every_size
def test_many_blocks_may_be_read_at_once(size):
    model, one, many = build(size), KeyValueCache(), KeyValueCache()
    for start in range(0, L, size):
        model.read(X[:, start : start + size], one)
    model.read(X, many)
    for layer in range(2):
        torch.testing.assert_close(many.layer(layer).keys, one.layer(layer).keys, rtol=0, atol=1e-12)
        torch.testing.assert_close(many.layer(layer).values, one.layer(layer).values, rtol=0, atol=1e-12)


def test_a_view_of_some_rows():
    model, cache = build(4), KeyValueCache()
    model.read(X[:, :4], cache)
    rows = torch.tensor([True, False, True])
    view = view_of(cache, 2, rows)
    expected = model.hidden(Z[:, 4:8], None, cache)[rows]
    torch.testing.assert_close(model.hidden(Z[rows, 4:8], None, view), expected, rtol=0, atol=1e-12)
    model.read(X[rows, 4:8], view)
    assert view.length == 8 and cache.length == 4
    assert view_of(KeyValueCache(), 2).length == 0


# --- limits -----------------------------------------------------------------------------------------------------------


def plain(causal: bool) -> Transformer:
    torch.manual_seed(0)
    return Transformer(TransformerConfig(V, L, **SMALL, causal=causal)).double().eval()


def test_one_block_is_the_plain_transformer():
    """The same seed gives the same weights, name by name, and the same answers."""
    model, twin = build(L), plain(causal=False)
    assert list(model.state_dict()) == list(twin.state_dict())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in twin.state_dict().items())
    assert torch.equal(model.hidden(Z), twin.hidden(Z))
    torch.testing.assert_close(model.hidden_beside(Z, X), twin.hidden(Z), rtol=0, atol=1e-12)


def test_blocks_of_one_are_causal():
    model, twin = build(1), plain(causal=True)
    torch.testing.assert_close(model.hidden(Z), twin.hidden(Z), rtol=0, atol=1e-12)


def test_a_masked_model_becomes_a_block_model():
    twin, model = plain(causal=False), build(3, seed=1)
    assert not torch.equal(model.embedding.weight, twin.embedding.weight)
    model.load_state_dict(twin.state_dict())
    torch.testing.assert_close(model.hidden(Z[:, :3]), twin.hidden(Z[:, :3]), rtol=0, atol=1e-12)


def test_all_parameters_learn():
    model = build(3, dropout=0.1).train()
    model.logits(model.hidden_beside(Z, X)).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters())


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings, message", [
    ({"block_size": 5}, "Blocks of 5 do not divide a text of 12"),
    ({"block_size": 0}, "Blocks of 0 do not divide"),
    ({"causal": True}, "neither causal attention"),
    ({"time_conditioning": True}, "nor a time input"),
])  # fmt: skip
def test_impossible_shapes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BlockConfig(V, L, **SMALL | settings)


def test_bad_tokens_are_refused():
    model, cache = build(4), KeyValueCache()
    with pytest.raises(ValueError, match="whole blocks of 4 tokens"):
        model.read(X[:, :6], cache)
    with pytest.raises(ValueError, match=r"no mask in it \(id 7\)"):
        model.read(torch.full((1, 4), V), cache)
    with pytest.raises(ValueError, match="two copies of a text"):
        model.hidden_beside(Z[:, :8], X)
    with pytest.raises(ValueError, match="two copies of a text in whole blocks"):
        model.hidden_beside(Z[:, :6], X[:, :6])
    with pytest.raises(ValueError, match="got 0..8"):
        model.hidden_beside(torch.tensor([[0, 0, 0, V + 1]]), X[:1, :4])
    model.read(X, cache)
    with pytest.raises(ValueError, match="at position 12"):
        model.hidden(Z[:, :4], None, cache)
