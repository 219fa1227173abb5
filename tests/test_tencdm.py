"""TEncDM: what becomes an encoding, what padding may do, the decoder's noise, and a tiny run from words to words."""

import pytest
import torch

from difflm_core.data import toy_language
from difflm_core.models import (
    MaskedEncoder,
    MLPDecoder,
    TEncDM,
    TokenDecoderConfig,
    Transformer,
    TransformerConfig,
    TransformerDecoder,
    until_end,
)
from difflm_core.objectives import tencdm_decoder_loss, word_nll
from difflm_core.processes import GaussianProcess, ShiftedCosine, masked
from difflm_core.training import States, TrainingStopped, corrupted, train_tencdm_decoder, tune_encoder

D, V, L = 6, 9, 5
PROCESS = GaussianProcess(ShiftedCosine(9.0))
DECODERS = [MLPDecoder, TransformerDecoder]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Encoder:
    """Tokens 0 and 1 are special. The state of a word depends on its neighbours; at padding stands nonsense."""

    name, dim, special_ids = "small", D, torch.tensor([0, 1])
    embeddings = 4 * torch.randn(V, D, generator=seeded(9))

    def states(self, ids, mask):
        own = self.embeddings[ids]
        return torch.where(mask[..., None], 3 + own + 0.5 * own.roll(1, 1) + 0.5 * own.roll(-1, 1), 100.0)


def texts(n=64, seed=0) -> States:
    """Begin, two or three words, end, and padding of id 0 behind the shorter ones."""
    ids = torch.randint(2, V, (n, L), generator=seeded(seed))
    ids[:, 0], length = 0, torch.randint(4, 6, (n,), generator=seeded(seed + 1))
    ids[torch.arange(n), length - 1] = 1
    mask = torch.arange(L) < length[:, None]
    ids[~mask] = 0
    return States(Encoder().states(ids, mask), mask, ids)


def model(decoder=MLPDecoder, seed=0):
    torch.manual_seed(seed)
    decoder = decoder(TokenDecoderConfig(D, L, V, width=32, layers=1, heads=2))
    return TEncDM(Encoder(), decoder).measure([texts()])


def test_encodings_by_hand():
    made, (h, mask, ids) = model(), texts()
    z = made.encode(h, mask, ids)
    word = mask & (ids > 1)
    mean, deviation = h[word].mean(0), h[word].std(0, correction=0)
    torch.testing.assert_close(z[word], (h[word] - mean) / deviation)
    for special in (0, 1):
        vector = Encoder.embeddings[special]
        here = z[mask & (ids == special)]
        torch.testing.assert_close(here, (vector / vector.square().mean().sqrt()).expand_as(here))
    assert bool((z[~mask] == 0).all())
    assert int(made.standardise.count) == int(word.sum())


def test_nothing_at_padding_or_at_special_tokens_reaches_the_latents_or_the_statistics():
    made, (h, mask, ids) = model(), texts()
    other = torch.where((mask & (ids > 1))[..., None], h, float("nan"))
    torch.testing.assert_close(made.encode(other, mask, ids), made.encode(h, mask, ids), equal_nan=False)
    again = model().measure([States(other, mask, ids)])
    torch.testing.assert_close(again.standardise.mean, made.standardise.mean)
    scrambled = torch.where(mask, ids, 7)  # ids at padding do not matter either
    assert torch.equal(made.encode(h, mask, scrambled), made.encode(h, mask, ids))
    loss = [tencdm_decoder_loss(made, PROCESS, h, mask, i, seeded()) for i in (ids, scrambled)]
    assert torch.equal(loss[0], loss[1]) and bool((loss[0][~mask] == 0).all())


def test_without_noise_the_loss_is_cross_entropy_of_the_encodings():
    made, (h, mask, ids) = model(TransformerDecoder), texts()
    loss = tencdm_decoder_loss(made, PROCESS, h, mask, ids, seeded(), corrupt_up_to=0)
    log_p = made.decode(made.encode(h, mask, ids)).log_softmax(-1)
    torch.testing.assert_close(loss[mask], -log_p.gather(-1, ids[..., None])[..., 0][mask])


def test_noise_comes_from_the_diffusions_own_schedule():
    """Decoder = identity: what it reads is z_t with times spread over [0, 0.15], one per text."""

    class Reads(torch.nn.Module):
        def forward(self, z):
            self.read = z
            return torch.zeros(*z.shape[:2], V)

    big = States(*(torch.cat([part] * 50) for part in texts()))
    made = TEncDM(Encoder(), Reads()).measure([big])
    z = made.encode(*big)
    left = {}
    for d in (1.0, 9.0):
        process = GaussianProcess(ShiftedCosine(d))
        tencdm_decoder_loss(made, process, *big, seeded())
        read = made.decoder.read
        assert not torch.equal(read, z)
        # noise variance, averaged over times: 1 - mean alpha; at padding z is 0 and all is noise
        t = torch.linspace(0, 0.15, 2001, dtype=torch.float64)
        left[d] = 1 - process.alpha(t).mean().item()
        assert read[~big.mask].square().mean().item() == pytest.approx(left[d], rel=0.1)
    assert left[9.0] > 5 * left[1.0]


@pytest.mark.parametrize("decoder", DECODERS)
def test_what_a_decoder_looks_at(decoder):
    made, z = model(decoder), torch.randn(2, L, D, generator=seeded(3)).requires_grad_()
    reached = torch.autograd.grad(made.decode(z)[0, 0].sum(), z)[0].abs().sum(-1)
    assert reached[0, 0] > 0 and bool((reached[1] == 0).all())
    assert bool((reached[0, 1:] > 0).all()) == (decoder is TransformerDecoder)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_learns_and_noise_is_what_it_then_bears(decoder):
    losses, bears, held_out = {}, {}, texts(400, seed=50)
    for corrupt_up_to in (0.0, 0.15):
        made = model(decoder)
        batches = (texts(32, seed=seed) for seed in range(2, 1000, 2))
        losses[corrupt_up_to] = train_tencdm_decoder(
            made, PROCESS, batches, 80, 2e-2, corrupt_up_to, seeded(), progress=False
        )
        with torch.no_grad():
            z_t = PROCESS.corrupt(made.encode(*held_out), torch.full((400,), 0.1), seeded(1))
            bears[corrupt_up_to] = word_nll(made.decode(z_t), held_out.ids, held_out.mask).sum() / held_out.mask.sum()
    assert sum(losses[0.0][-10:]) / 10 < 0.3 < losses[0.0][0]
    assert bears[0.15] < bears[0.0] - 0.1


def test_texts_end_at_their_end():
    ids = torch.tensor([[3, 1, 4, 1], [3, 4, 4, 4], [1, 1, 1, 1]])
    assert until_end(ids, 1).tolist() == [[True, True, False, False], [True] * 4, [True, False, False, False]]


def test_a_masked_model_is_an_encoder():
    torch.manual_seed(0)
    net = Transformer(TransformerConfig(toy_language().V, 12, width=16, layers=1, heads=2))
    encoder, ids = MaskedEncoder("mini", net), toy_language().sample(3, generator=seeded())
    h = encoder.states(ids, torch.ones_like(ids, dtype=torch.bool))
    assert torch.equal(h, net.hidden(ids, None)) and not h.requires_grad and h.shape == (3, 12, encoder.dim)
    assert encoder.embeddings.shape == (toy_language().V, 16) and not len(encoder.special_ids)
    assert not any(p.requires_grad for p in net.parameters())
    # contextual: the state of a word changes with a word far from it
    other = ids.clone()
    other[:, 11] = (ids[:, 11] + 1) % toy_language().V
    assert not torch.allclose(encoder.states(other)[:, 0], h[:, 0])
    made = TEncDM(encoder, MLPDecoder(TokenDecoderConfig(16, 12, toy_language().V)))
    mask = torch.ones_like(ids, dtype=torch.bool)
    made.measure([States(h, mask, ids)])
    torch.testing.assert_close(made.encode(h, mask, ids), made.standardise(h))


def test_refusals():
    made, (h, mask, ids) = model(), texts()
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="no statistics of small's latents yet"):
        TEncDM(Encoder(), MLPDecoder(TokenDecoderConfig(D, L, V))).encode(h, mask, ids)
    with pytest.raises(ValueError, match="States must have shape"):
        made.encode(h[..., :3], mask, ids)
    with pytest.raises(ValueError, match="one id per state"):
        made.encode(h, mask, ids[:, :3])
    with pytest.raises(ValueError, match="largest time"):
        tencdm_decoder_loss(made, PROCESS, h, mask, ids, corrupt_up_to=1.5)
    with pytest.raises(ValueError, match="States must have shape"):
        made.decode(torch.zeros(2, L + 1, D))
    with pytest.raises(ValueError, match="2 words"):
        TokenDecoderConfig(D, L, 1)
    causal = Transformer(TransformerConfig(V, L, width=8, layers=1, heads=2, causal=True))
    with pytest.raises(ValueError, match="looks both ways"):
        MaskedEncoder("causal", causal)
    net = Transformer(TransformerConfig(V, L, width=8, layers=1, heads=2))
    with pytest.raises(ValueError, match="without padding"):
        MaskedEncoder("mini", net).states(ids, mask)
    broken = (States(h * float("inf"), mask, ids) for _ in range(3))
    with pytest.raises(TrainingStopped):
        train_tencdm_decoder(model(), PROCESS, broken, 2, progress=False)


def test_tuning_makes_states_show_visible_words_and_freezes_the_model():
    """A model whose loss sees all words names those that are there; one that is asked for hidden ones need not."""
    language = toy_language()
    torch.manual_seed(0)
    net = Transformer(TransformerConfig(language.V, language.length, width=32, layers=1, heads=2))
    texts = (language.sample(32, generator=seeded(seed)) for seed in range(1000))
    losses = tune_encoder(net, texts, corrupted(masked(language.V), 0.3, seeded(1)), 120, 1e-2, progress=False)
    new = language.sample(64, generator=seeded(5000))
    assert (net(new).argmax(-1) == new).double().mean() > 0.9
    assert losses[-1] < 0.5 * losses[0] and not any(p.requires_grad for p in net.parameters())
    causal = Transformer(TransformerConfig(V, L, width=8, layers=1, heads=2, causal=True))
    with pytest.raises(ValueError, match="looks both ways"):
        tune_encoder(causal, texts, lambda ids: ids, 1, progress=False)
