"""The parts of text autoencoders: attention with padding, the resampler, the two autoregressive decoders."""

import math

import pytest
import torch

from difflm_core.models import (
    CrossAttention,
    DecoderConfig,
    KeyValueCache,
    LatentDecoder,
    PerceiverBlock,
    PerceiverConfig,
    PrefixDecoder,
    Reconstruction,
    Resampler,
    SelfBlock,
    on_sphere,
)
from difflm_core.objectives import autoregressive_nll, written_nll

DOUBLE = {"dtype": torch.float64}
V, L = 7, 5
IDS = torch.tensor([[0, 3, 6, 2, 1], [5, 5, 4, 0, 3], [1, 2, 3, 4, 5]])
REAL = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool()


def vectors(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), **DOUBLE)


def shaken(model, seed=0):
    """In float64, with nothing at its starting value."""
    generator = torch.Generator().manual_seed(seed)
    model.double()
    for parameter in model.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator, **DOUBLE)
    return model


def config(**settings):
    return DecoderConfig(**{"V": V, "length": L, "D": 3, "N": 2, "width": 8, "layers": 2, "heads": 2} | settings)


def perceiver(**settings):
    named = {"D": 6, "length": L, "N": 3, "D_ae": 4, "width": 8, "layers": 2, "heads": 2} | settings
    return PerceiverConfig(**named)


DECODERS = [lambda: shaken(LatentDecoder(config())), lambda: shaken(PrefixDecoder(config()))]


# attention


def test_attention_by_hand():
    attention = shaken(CrossAttention(4, 2, 3))
    h, memory = vectors(2, 3, 4), vectors(2, 5, 3, seed=1)
    mask = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]]).bool()
    answer = torch.zeros(2, 3, 4, **DOUBLE)
    for b in range(2):
        rows = memory[b, mask[b]]  # padding is simply not there
        for head in range(2):
            own = slice(2 * head, 2 * head + 2)
            q = attention.norm_q(h[b] @ attention.q.weight[own].T)
            k = attention.norm_k(rows @ attention.kv.weight[own].T)
            v = rows @ attention.kv.weight[4:][own].T
            answer[b, :, own] = (q @ k.T / math.sqrt(2)).softmax(-1) @ v
    torch.testing.assert_close(attention(h, memory, mask), answer @ attention.out.weight.T)


def test_padding_never_reaches_real_positions_of_a_self_block():
    block, h = shaken(SelfBlock(8, 2)), vectors(3, L, 8)
    other = torch.where(REAL[..., None], h, vectors(3, L, 8, seed=1))
    assert torch.equal(block(h, REAL)[REAL], block(other, REAL)[REAL])
    assert not torch.allclose(block(h)[REAL], block(other)[REAL])
    torch.testing.assert_close(block(h[1:2, :3]), block(h, REAL)[1:2, :3])


def test_latents_see_latents_and_states():
    block, z, h = shaken(PerceiverBlock(8, 2)), vectors(1, 3, 8), vectors(1, L, 8, seed=1)
    moved = z.clone()
    moved[0, 2] += 1
    assert not torch.allclose(block(moved, h)[0, :2], block(z, h)[0, :2])
    assert not torch.allclose(block(z, h + 1), block(z, h))
    nothing = torch.zeros(1, L, dtype=torch.bool)
    torch.testing.assert_close(block(z, h, nothing), block(z, h[:, :0]))  # finite, and blind to the text


# resampler and reconstruction


def test_the_norm_constraint_is_exact():
    h = vectors(3, L, 6)
    latents = shaken(Resampler(perceiver()))(h, REAL)
    assert latents.shape == (3, 3, 4)
    torch.testing.assert_close(latents.square().sum(-1), torch.full((3, 3), 4.0, **DOUBLE), rtol=0, atol=1e-12)
    free = shaken(Resampler(perceiver(norm_constraint=False)))(h, REAL)
    torch.testing.assert_close(on_sphere(free), latents)
    assert free.square().sum(-1).std() > 0.1
    zero = torch.zeros(2, 4, **DOUBLE, requires_grad=True)
    on_sphere(zero).sum().backward()
    assert torch.equal(on_sphere(zero), zero) and bool(zero.grad.isfinite().all())


def test_padding_does_not_reach_the_latents():
    resampler, h = shaken(Resampler(perceiver())), vectors(3, L, 6)
    latents = resampler(h, REAL)
    other = torch.where(REAL[..., None], h, vectors(3, L, 6, seed=1))
    assert torch.equal(resampler(other, REAL), latents)
    torch.testing.assert_close(resampler(h[1:2, :3]), latents[1:2])


def test_the_resampler_knows_places():
    resampler, h = shaken(Resampler(perceiver())), vectors(1, L, 6)
    assert not torch.allclose(resampler(h.flip(1)), resampler(h))


def test_reconstruction_knows_its_slots():
    network, x = shaken(Reconstruction(perceiver())), vectors(2, 3, 4)
    assert network(x).shape == (2, 3, 6)
    assert not torch.allclose(network(x.flip(1)).flip(1), network(x))


# decoders


@pytest.mark.parametrize("make", DECODERS)
def test_decoders_are_causal_and_listen_everywhere(make):
    decoder, codes = make(), vectors(3, 2, 3)
    h = decoder.hidden(IDS, codes)
    changed = IDS.clone()
    changed[:, 3] = (changed[:, 3] + 1) % V
    after = decoder.hidden(changed, codes)
    assert torch.equal(after[:, :3], h[:, :3]) and not torch.allclose(after[:, 3:], h[:, 3:])
    for slot in range(2):  # every slot reaches every word
        moved = codes.clone()
        moved[:, slot] += 1
        assert bool(((decoder.hidden(IDS, moved) - h).abs().amax(-1) > 1e-6).all())


@pytest.mark.parametrize("make", DECODERS)
def test_cached_words_are_uncached_words(make):
    decoder, codes = make(), vectors(3, 2, 3)
    whole, cache = decoder.hidden(IDS, codes), KeyValueCache()
    parts = [decoder.hidden(IDS[:, :2], codes, cache)]
    parts += [decoder.hidden(IDS[:, i : i + 1], codes, cache) for i in range(2, L)]
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    with pytest.raises(ValueError, match="length <= 5"):
        decoder.hidden(IDS[:, :1], codes, cache)


def test_without_cross_attention_the_vectors_are_out_of_reach():
    """The cross-attention is the only way in: with its output cut, nothing depends on the vectors."""
    decoder = shaken(LatentDecoder(config()))
    for block in decoder.blocks:
        block.look.out.weight.data.zero_()
    assert torch.equal(decoder.hidden(IDS, vectors(3, 2, 3)), decoder.hidden(IDS, vectors(3, 2, 3, seed=1)))


def test_a_prefix_of_embeddings_is_a_text():
    """If the codes are embeddings of words, the prefix decoder is the language model after those words."""
    decoder = shaken(PrefixDecoder(config(D=8)))
    decoder.inward.weight.data, decoder.inward.bias.data = torch.eye(8, **DOUBLE), torch.zeros(8, **DOUBLE)
    prefix = torch.tensor([[1, 4], [2, 2], [0, 6]])
    codes = decoder.language.embedding(prefix)
    whole = decoder.language.hidden(torch.cat([prefix, IDS], 1))
    torch.testing.assert_close(decoder.hidden(IDS, codes), whole[:, 2:])


# -log p(text | vectors)


@pytest.mark.parametrize("make", DECODERS)
def test_nll_is_a_law_over_texts(make):
    """All V^2 texts of two words have probabilities that sum to 1."""
    decoder = make()
    texts = torch.cartesian_prod(torch.arange(V), torch.arange(V))
    nll = written_nll(decoder, vectors(1, 2, 3).expand(len(texts), -1, -1), texts).sum(1)
    assert torch.exp(-nll).sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("make", DECODERS)
def test_nll_ignores_padding(make):
    decoder, codes = make(), vectors(3, 2, 3)
    nll = written_nll(decoder, codes, IDS, REAL)
    assert torch.equal(nll != 0, REAL)
    noise = torch.where(REAL, IDS, (IDS + 3) % V)
    assert torch.equal(written_nll(decoder, codes, noise, REAL), nll)
    short = written_nll(decoder, codes[1:2], IDS[1:2, :3])
    torch.testing.assert_close(short, nll[1:2, :3])
    torch.testing.assert_close(nll[0], written_nll(decoder, codes, IDS)[0])


def test_nll_that_ignores_vectors_is_the_twins():
    decoder = shaken(PrefixDecoder(config(D=8)))
    language = decoder.language
    for block in language.blocks:  # keys of the prefix cannot be told apart from values of nothing: cut attention
        block.attention.out.weight.data.zero_()
    language.position.weight.data.zero_()  # and shift-invariance
    torch.testing.assert_close(written_nll(decoder, vectors(3, 2, 8), IDS), autoregressive_nll(language, IDS))


def test_padding_among_the_vectors_is_left_out():
    decoder, h = shaken(LatentDecoder(config())), vectors(3, L, 3)
    other = torch.where(REAL[..., None], h, vectors(3, L, 3, seed=1))
    assert torch.equal(written_nll(decoder, h, IDS, REAL, REAL), written_nll(decoder, other, IDS, REAL, REAL))


# what is refused


def test_refused_inputs():
    resampler, latent, prefix = Resampler(perceiver()), LatentDecoder(config()), PrefixDecoder(config())
    h = torch.zeros(2, L, 6)
    for bad in (torch.zeros(2, L, 5), torch.zeros(2, L + 1, 6), torch.zeros(L, 6)):
        with pytest.raises(ValueError, match="States must have shape"):
            resampler(bad)
    with pytest.raises(ValueError, match="must be booleans"):
        resampler(h, torch.ones(2, L))
    with pytest.raises(ValueError, match="no real token"):
        resampler(h, torch.tensor([[True] * L, [False] * L]))
    with pytest.raises(ValueError, match=r"\(batch, 3, 4\)"):
        Reconstruction(perceiver())(torch.zeros(2, 3, 5))
    with pytest.raises(ValueError, match=r"\(batch, 2, 3\)"):
        prefix.hidden(IDS, torch.zeros(3, 1, 3))
    for decoder in (latent, prefix):
        with pytest.raises(ValueError, match="ids must lie in 0..7"):
            decoder.hidden(IDS + 2, torch.zeros(3, 2, 3))
        with pytest.raises(ValueError, match="length <= 5"):
            decoder.hidden(IDS.repeat(1, 2), torch.zeros(3, 2, 3))
        with pytest.raises(ValueError, match="booleans of that shape"):
            written_nll(decoder, torch.zeros(3, 2, 3), IDS, REAL.long())
    for settings in ({"V": 1}, {"end": 7}, {"heads": 3}, {"layers": 0}):
        with pytest.raises(ValueError):
            config(**settings)
    for settings in ({"N": 0}, {"heads": 3}):
        with pytest.raises(ValueError):
            perceiver(**settings)
