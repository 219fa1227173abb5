"""LD4LG's autoencoder: frozen decoder, bottleneck, and what is written from latents of any origin."""

import math
from dataclasses import replace

import pytest
import torch

from difflm_core.evaluation import bleu
from difflm_core.evaluation.latents import area, robustness, shuffled, use_of_latents
from difflm_core.models import LD4LG, DecoderConfig, LatentDecoder, PerceiverConfig, Transformer, TransformerConfig
from difflm_core.objectives import denoising_loss, ld4lg_loss, written_nll
from difflm_core.processes import GaussianProcess, ShiftedCosine, masked, uniform
from difflm_core.samplers import large_step, sample_latents, write_texts, write_trajectory
from difflm_core.training import (
    States,
    TrainingStopped,
    corrupted,
    pretrain_decoder,
    pretrain_seq2seq,
    state_batches,
    stored_batches,
    train_ld4lg,
)

V, L, END = 9, 6, 8
PROCESS = GaussianProcess(ShiftedCosine(1.0))  # cos^2(pi t / 2)
TEXTS = torch.tensor([
    [0, 1, 2, 3, 4, 8], [0, 1, 2, 8, 8, 8], [5, 1, 7, 3, 0, 8], [5, 6, 8, 8, 8, 8], [2, 2, 2, 8, 8, 8],
    [7, 0, 6, 1, 2, 8], [7, 0, 1, 6, 2, 8], [3, 8, 8, 8, 8, 8],
])  # fmt: skip
MASK = (TEXTS == END).long().cumsum(1) <= 1  # the first END belongs to the text, the others are padding
DECODER = DecoderConfig(V, L, D=16, width=16, layers=1, heads=2, end=END)
PERCEIVER = PerceiverConfig(D=16, length=L, N=2, D_ae=8, width=16, layers=1, heads=2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(ids, seed=0):
    """A frozen encoder that says which word stands where; 0 where the mask token stands."""
    table = torch.randn(V + 1, 16, generator=seeded(seed))
    table[V] = 0
    return table[ids] + 0.5 * torch.randn(L, 16, generator=seeded(seed + 1))


def endless(ids, mask, h_ids=None):
    while True:
        yield States(states(ids if h_ids is None else h_ids(ids)), mask, ids)


@pytest.fixture(scope="module")
def decoder():
    """Pretrained to mend texts of which a fifth is hidden."""
    torch.manual_seed(0)
    decoder = LatentDecoder(DECODER)
    hide = corrupted(masked(V), 0.2, seeded())
    losses = pretrain_decoder(decoder, endless(TEXTS, MASK, hide), 150, 1e-2, progress=False)
    assert losses[-1] < 0.5 < losses[0]
    return decoder


@pytest.fixture(scope="module")
def model(decoder):
    torch.manual_seed(1)
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    model = LD4LG(PERCEIVER, decoder)
    losses = train_ld4lg(model, endless(TEXTS, MASK), 200, 1e-2, progress=False)
    assert losses[-1] < 0.05 and all(torch.equal(before[name], value) for name, value in decoder.state_dict().items())
    return model


def latents_of(model):
    with torch.no_grad():
        return model.encode(states(TEXTS), MASK)


def own(rows):
    return [row[: row.index(END) + 1] for row in rows.tolist()]


# training in two stages


@pytest.mark.slow
def test_texts_come_back_from_their_latents(model):
    latents = latents_of(model)
    torch.testing.assert_close(latents.square().sum(-1), torch.full((8, 2), 8.0))
    sample = write_texts(model, latents)
    assert torch.equal(sample.tokens, TEXTS)
    assert torch.equal(sample.network_calls, MASK.sum(1))


def test_the_bottleneck_learns_through_the_frozen_decoder(model):
    model.zero_grad()
    ld4lg_loss(model, states(TEXTS), TEXTS, MASK).sum().backward()
    assert all(p.grad is None for p in model.decoder.parameters())
    for part in (model.resampler, model.reconstruction):
        assert all(bool((p.grad != 0).any()) for p in part.parameters())


def test_losses_are_nats_per_text(model):
    h = states(TEXTS)
    with torch.no_grad():
        from_latents = written_nll(model.decoder, model.context(latents_of(model)), TEXTS, MASK)
        torch.testing.assert_close(ld4lg_loss(model, h, TEXTS, MASK), from_latents.sum(1))
        junk = torch.where(MASK[..., None], h, 100.0)
        torch.testing.assert_close(ld4lg_loss(model, junk, TEXTS, MASK), ld4lg_loss(model, h, TEXTS, MASK))
        losses = [
            denoising_loss(model.decoder, h[i : i + 1, :n], TEXTS[i : i + 1, :n]) for i, n in enumerate(MASK.sum(1))
        ]
        torch.testing.assert_close(torch.cat(losses), denoising_loss(model.decoder, junk, TEXTS, MASK))


def test_only_a_fitting_decoder_is_taken(decoder):
    with pytest.raises(ValueError, match="states of 16 numbers, the encoder's have 12"):
        LD4LG(replace(PERCEIVER, D=12), decoder)


def test_training_stops_in_time(decoder):
    with pytest.raises(ValueError, match="ran out after 1 of 5 steps"):
        train_ld4lg(LD4LG(PERCEIVER, decoder), [next(endless(TEXTS, MASK))], 5, progress=False)
    model, broken = LD4LG(PERCEIVER, decoder), States(torch.full((8, L, 16), torch.nan), MASK, TEXTS)
    with pytest.raises(TrainingStopped, match="loss at step 1 is nan"):
        train_ld4lg(model, [broken], 1, progress=False)
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_both_halves_learn_to_mend_and_the_encoder_freezes():
    torch.manual_seed(0)
    encoder = Transformer(TransformerConfig(V, L, width=16, layers=1, heads=2))
    before, decoder = encoder.embedding.weight.clone(), LatentDecoder(DECODER)
    source = iter(lambda: TEXTS, None)
    losses = pretrain_seq2seq(encoder, decoder, source, corrupted(masked(V), 0.2, seeded()), 60, 1e-2, progress=False)
    assert losses[-1] < 0.7 * losses[0] and not torch.equal(encoder.embedding.weight, before)
    assert not any(p.requires_grad for p in encoder.parameters())
    with torch.no_grad():
        clean = denoising_loss(decoder, encoder.hidden(TEXTS), TEXTS)
        blind = denoising_loss(decoder, encoder.hidden(torch.full_like(TEXTS, V)), TEXTS)
    assert clean.mean() < blind.mean()
    with pytest.raises(ValueError, match="looks both ways"):
        pretrain_seq2seq(Transformer(TransformerConfig(V, L, causal=True)), decoder, source, lambda ids: ids)


def test_corruption_loses_the_share_that_was_asked_for():
    ids = torch.randint(V, (400, 50), generator=seeded())
    hidden = corrupted(masked(V), 0.3, seeded())(ids)
    assert (hidden == V).double().mean().item() == pytest.approx(0.3, abs=0.01)
    swapped = corrupted(uniform(V), 0.3, seeded())(ids)
    assert swapped.max() < V
    assert (swapped != ids).double().mean().item() == pytest.approx(0.3 * (V - 1) / V, abs=0.01)


def test_state_batches_are_the_encoders():
    encoder = Transformer(TransformerConfig(V, L, width=8, layers=1, heads=2))
    batch = next(state_batches(encoder, [TEXTS], corrupted(masked(V), 1.0)))
    assert torch.equal(batch.h, encoder.hidden(torch.full_like(TEXTS, V))) and not batch.h.requires_grad
    assert torch.equal(batch.ids, TEXTS) and bool(batch.mask.all())


def test_stored_batches_visit_every_text():
    class Stored(list):
        def __getitem__(self, rows):
            return rows, rows, rows

    source = stored_batches(Stored(range(7)), 3, seeded())
    for _ in range(2):
        assert len(torch.cat([next(source).ids, next(source).ids]).unique()) == 6
    with pytest.raises(ValueError, match="in 1 to 7"):
        next(stored_batches(Stored(range(7)), 8))


# writing


def test_greedy_words_are_the_likeliest(model):
    latents = torch.randn(5, 2, 8, generator=seeded(3))
    tokens, read = write_texts(model, latents).tokens, torch.full((5, 1), V)
    writing = torch.ones(5, dtype=torch.bool)
    for i in range(L):  # without a cache
        with torch.no_grad():
            best = model.decoder.logits(model.decoder.hidden(read, model.context(latents))[:, -1]).argmax(-1)
        assert torch.equal(tokens[:, i], torch.where(writing, best, END))
        writing &= tokens[:, i] != END
        read = torch.cat([read, tokens[:, i : i + 1]], 1)


def test_drawn_texts_follow_their_law():
    torch.manual_seed(2)
    decoder = LatentDecoder(DecoderConfig(3, 2, D=4, width=8, layers=1, heads=2))
    decoder.head.weight.data *= 20
    model = LD4LG(PerceiverConfig(D=4, length=2, N=1, D_ae=2, width=8, layers=1, heads=2), decoder)
    latents = torch.randn(1, 1, 2, generator=seeded()).expand(4000, -1, -1)
    texts = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    with torch.no_grad():
        law = (-written_nll(decoder, model.context(latents[:9]), texts).sum(1)).exp()
    drawn = write_texts(model, latents, seeded(), temperature=1.0).tokens
    counts = torch.bincount(3 * drawn[:, 0] + drawn[:, 1], minlength=9)
    chi = ((counts - 4000 * law) ** 2 / (4000 * law)).sum().item()
    assert law.std() > 0.02 and chi < 26.1  # 99.9 % of a chi-square with 8 degrees of freedom
    sure = write_texts(model, latents[:1]).tokens
    assert torch.equal(write_texts(model, latents[:1], seeded(), temperature=1.0, top_p=1e-6).tokens, sure)


def test_others_latents_tell_others_texts(model):
    latents, order = latents_of(model), torch.randperm(8, generator=seeded())
    use = use_of_latents(model, latents, TEXTS, MASK)
    assert use.exact == 1 and use.bleu == pytest.approx(1) and use.nll < 0.05
    assert use.nll == pytest.approx(
        ld4lg_loss(model, states(TEXTS), TEXTS, MASK).sum().item() / int(MASK.sum()), rel=1e-5
    )
    assert torch.equal(write_texts(model, latents[order]).tokens, TEXTS[order])
    wrong = use_of_latents(model, shuffled(latents, seeded()), TEXTS, MASK)
    assert wrong.exact == 0 and wrong.bleu < 0.5 and wrong.nll > 1


def test_noise_loses_texts_and_a_perfect_denoiser_keeps_them(model):
    latents, times = latents_of(model), [0.001, 0.5, 0.999]
    curve = robustness(model, PROCESS, latents, TEXTS, times, MASK, generator=seeded())
    assert curve[0] == pytest.approx(1) and curve[-1] < 0.5 and curve == sorted(curve, reverse=True)
    double = {"denoise": lambda z, t: 2 * latents, "back": lambda z: z / 2}
    assert robustness(model, PROCESS, latents, TEXTS, times, MASK, **double) == pytest.approx([1, 1, 1])


def test_a_trajectory_ends_in_the_sample(model):
    target = latents_of(model)

    def net(z_t, t, previous=None):  # knows the answer better and better
        return torch.lerp(target, torch.randn(target.shape, generator=seeded(5)), t[:, None, None].clamp(0, 1).float())

    sample = sample_latents(PROCESS, net, (8, 2, 8), 10, seeded(), step=large_step, record=True)
    texts = write_trajectory(model, sample)
    assert texts.shape == (11, 8, L)
    assert torch.equal(texts[-1], write_texts(model, sample.x).tokens) and torch.equal(texts[-1], texts[-2])
    right = (texts == TEXTS).double().mean((1, 2))
    assert right[-1] == 1 > right[0]
    halved = write_trajectory(model, replace(sample, trajectory=sample.trajectory[-1:]), back=lambda x: -x)
    assert torch.equal(halved[0], write_texts(model, -sample.x).tokens)
    with pytest.raises(ValueError, match="record=True"):
        write_trajectory(model, replace(sample, trajectory=None))


def test_the_large_step_has_the_posteriors_mean_and_ddpms_variance():
    one = torch.ones(50_000, 1, dtype=torch.float64)
    s, t = 0.3 * one[:, 0], 0.6 * one[:, 0]
    z = large_step(PROCESS, 0.7 * one, 0.2 * one, s, t, seeded())
    mean, small = PROCESS.posterior(0.7 * one, 0.2 * one, s, t)
    variance = 1 - math.cos(0.3 * math.pi) ** 2 / math.cos(0.15 * math.pi) ** 2
    assert z.mean().item() == pytest.approx(mean[0].item(), abs=0.015)
    assert z.var().item() == pytest.approx(variance, rel=0.03) and variance > 1.5 * small[0].item()


# BLEU and its area


def test_bleu_by_hand():
    text = "the quick brown fox hops over the dog".split()
    other = "the quick brown fox runs over the dog".split()
    assert bleu([text], [text]) == pytest.approx(1)
    expected = (7 / 8 * 5 / 7 * 3 / 6 * 1 / 5) ** 0.25  # matching 1-, 2-, 3- and 4-grams
    assert bleu([text], [other]) == pytest.approx(expected)
    assert bleu([text[:4]], [other]) == pytest.approx(math.exp(1 - 8 / 4))  # all of it is right, but too short
    assert bleu([["the"] * 7], [["the", "cat", "the", "mat"]], order=1) == pytest.approx(2 / 7)  # clipped
    assert bleu([text, other], [text, text]) == pytest.approx((15 / 16 * 12 / 14 * 9 / 12 * 6 / 10) ** 0.25)  # pooled
    assert bleu([[1, 2]], [[3, 4]]) == 0
    with pytest.raises(ValueError, match="its own reference"):
        bleu([text], [])


def test_area_and_shuffling():
    assert area([0, 0.5, 1], [1, 0.5, 0]) == pytest.approx(0.5)
    assert area([0.2, 0.3, 0.7], [0.4, 0.4, 0.4]) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="rising"):
        area([0.5, 0.5], [1, 1])
    rows = torch.arange(6.0).reshape(6, 1, 1)
    for seed in range(5):
        mixed = shuffled(rows, seeded(seed))
        assert bool((mixed != rows).all()) and torch.equal(mixed.flatten().sort().values, rows.flatten())
    with pytest.raises(ValueError, match="at least two"):
        shuffled(rows[:1])
