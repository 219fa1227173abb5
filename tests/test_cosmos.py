"""COSMOS: what is hidden and how much noise, the loss by hand, padding, four stages, probes, a tiny run."""

import pytest
import torch

from difflm_core.evaluation.smoothness import decode_noisy, interpolate
from difflm_core.models import (
    Cosmos,
    CosmosConfig,
    LatentConfig,
    LatentDenoiser,
    TEncDM,
    TokenDecoderConfig,
    TransformerDecoder,
)
from difflm_core.objectives import STAGES, Smoothing, cosmos_loss, tencdm_decoder_loss, word_nll
from difflm_core.objectives.cosmos import drop_numbers, perturb
from difflm_core.processes import GaussianProcess, ShiftedCosine
from difflm_core.samplers import sample_latents
from difflm_core.training import States, train_cosmos, train_latent_denoiser

D, V, L, N = 6, 8, 5, 3
PROCESS = GaussianProcess(ShiftedCosine(5.0))
PLAIN = STAGES["CE"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Encoder:
    """States with features of very unlike size; no special tokens."""

    name, dim, special_ids = "small", D, torch.empty(0, dtype=torch.long)
    embeddings = torch.randn(V, D, generator=seeded(9)) * torch.logspace(-2, 2, D)

    def states(self, ids, mask):
        own = self.embeddings[ids]
        return torch.where(mask[..., None], 3 + own + 0.3 * own.roll(1, 1), 0.0)


def texts(n=32, seed=0) -> States:
    ids = torch.randint(0, V, (n, L), generator=seeded(seed))
    mask = torch.arange(L) < torch.randint(3, L + 1, (n, 1), generator=seeded(seed + 1))
    return States(Encoder().states(ids, mask), mask, ids)


def model(seed=0, measured=True, n=N):
    torch.manual_seed(seed)
    made = Cosmos(CosmosConfig(D, L, V, n, D_ae=4, width=32, layers=1, heads=2), "small")
    return made.measure_features([texts()]).measure_latents([texts()]) if measured else made


def test_half_the_batch_is_hidden_the_other_half_is_noisy():
    h, mask = torch.randn(4000, L, D, generator=seeded(1)), texts(4000).mask
    seen, visible = perturb(h, mask, Smoothing(hide=0.3, keep=0.7), seeded())
    assert torch.equal(seen[:2000], h[:2000]) and torch.equal(visible[2000:], mask[2000:])
    assert bool(visible.any(1).all()) and not bool((visible & ~mask).any())
    hidden = (mask & ~visible)[:2000].sum() / mask[:2000].sum()
    assert hidden.item() == pytest.approx(0.3, abs=0.015)
    # the noise is the diffusion's at alpha = 0.49: variance-preserving, correlation 0.7
    old, new = h[2000:].flatten(), seen[2000:].flatten()
    assert new.var().item() == pytest.approx(1, abs=0.03)
    assert (old * new).mean().item() == pytest.approx(0.7, abs=0.02)
    assert (new - 0.7 * old).var().item() == pytest.approx(0.51, abs=0.02)


def test_noise_is_as_strong_for_every_feature():
    """States are standardised first; on the raw states a noise of one size would drown some and spare others."""
    made, batch = model(), texts(2000)
    features = made.read(batch.h, batch.mask)
    seen = perturb(features, batch.mask, Smoothing(), seeded())[0]
    late = batch.mask & (torch.arange(2000) >= 1000)[:, None]
    corr = (features * seen)[late].mean(0) / (features.square()[late].mean(0) * seen.square()[late].mean(0)).sqrt()
    torch.testing.assert_close(corr, torch.full((D,), 0.7), atol=0.05, rtol=0)
    deviations = batch.h[batch.mask].std(0)
    assert deviations.max() > 100 * deviations.min()


def test_a_text_is_never_hidden_whole():
    mask = torch.tensor([[True, False], [True, True]])
    for seed in range(20):
        visible = perturb(torch.zeros(2, 2, D), mask, Smoothing(hide=1.0), seeded(seed))[1]
        assert torch.equal(visible, mask)


def test_numbers_are_dropped_and_not_scaled_up():
    z = 1 + torch.rand(500, N, 4, generator=seeded())
    kept = drop_numbers(z, 0.4, seeded(1))
    assert (kept == 0).double().mean().item() == pytest.approx(0.4, abs=0.02)
    assert torch.equal(kept[kept != 0], z[kept != 0])
    assert torch.equal(drop_numbers(z, 0.0, seeded(1)), z)


@pytest.mark.parametrize("stage", ["CE", "CE + MSE"])
def test_the_loss_by_hand(stage):
    made, (h, mask, ids) = model(), texts()
    loss = cosmos_loss(made, h, mask, ids, STAGES[stage], seeded())
    features = (h - made.features.mean) / made.features.deviation
    logits, h_hat = made.decompress(made.compress(features, mask))
    ce = -logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    mse = (h_hat - features).square().mean(-1)
    torch.testing.assert_close(loss.ce[mask], ce[mask])
    torch.testing.assert_close(loss.mse[mask], mse[mask])
    torch.testing.assert_close(loss.total[mask], (ce + (stage != "CE") * mse)[mask])
    assert not bool(loss.total[~mask].any())


def test_with_one_latent_per_token_and_nothing_compressed_it_is_tencdm():
    torch.manual_seed(0)
    tencdm = TEncDM(Encoder(), TransformerDecoder(TokenDecoderConfig(D, L, V, width=16, layers=1, heads=2)))
    batch = texts()
    tencdm.measure([batch])

    class Identity:
        def read(self, h, mask):
            return torch.where(mask[..., None], tencdm.standardise(h), 0.0)

        def compress(self, features, visible):
            return features

        def decompress(self, z):
            return tencdm.decoder(z), z

    loss = cosmos_loss(Identity(), *batch, PLAIN, seeded())
    torch.testing.assert_close(loss.ce, tencdm_decoder_loss(tencdm, PROCESS, *batch, seeded(), corrupt_up_to=0))
    assert not bool(loss.mse.any())


def test_padding_and_hidden_tokens_do_not_reach_the_latents():
    made, (h, mask, ids) = model(), texts()
    other = torch.where(mask[..., None], h, float("nan"))
    torch.testing.assert_close(made.encode(other, mask), made.encode(h, mask), equal_nan=False)
    losses = [cosmos_loss(made, given, mask, ids, Smoothing(), seeded()) for given in (h, other)]
    torch.testing.assert_close(losses[0].total, losses[1].total, equal_nan=False)
    features, visible = made.read(h, mask).clone().requires_grad_(), mask.clone()
    visible[:, 1] = False
    reached = torch.autograd.grad(made.compress(features, visible).sum(), features)[0].abs().sum(-1)
    assert torch.equal(reached > 0, visible)
    short, long = made.encode(h[:, :4], mask[:, :4]), made.encode(h, mask & (torch.arange(L) < 4))
    torch.testing.assert_close(short, long)


def test_every_slot_is_standardised_and_comes_back():
    made, batch = model(), texts()
    z = made.encode(batch.h, batch.mask)
    assert z.shape == (32, N, 4)
    torch.testing.assert_close(z.mean(0), torch.zeros(N, 4), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(N, 4), atol=1e-3, rtol=0)
    raw = made.compress(made.read(batch.h, batch.mask), batch.mask)
    torch.testing.assert_close(made.decode(z), made.decompress(raw)[0], atol=1e-4, rtol=1e-4)


def test_the_stages_build_on_each_other():
    stages = list(STAGES.values())
    for before, after in zip(stages, stages[1:]):
        assert before.mse <= after.mse and before.hide <= after.hide
        assert before.keep >= after.keep and before.drop <= after.drop and before != after
    assert stages[0] == Smoothing(0, 0, 1, 0) and stages[3] == Smoothing()


@pytest.mark.slow
def test_a_trained_autoencoder_gives_texts_back_and_diffusion_draws_them():
    """Four texts are all there is: reconstruction is whole, and what diffusion draws are these texts."""
    four = texts(4, seed=20)
    batch = States(*(torch.cat([part] * 8) for part in four))
    made = model(measured=False)
    losses = train_cosmos(made, iter([batch] * 1000), 100, 1e-2, Smoothing(hide=0.1, keep=0.9, drop=0.1), 2,
                          seeded(), progress=False)  # fmt: skip
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])
    x = made.encode(batch.h, batch.mask).detach()
    read = made.decode(x).argmax(-1)
    assert torch.equal(read[batch.mask], batch.ids[batch.mask])
    torch.manual_seed(1)
    net, process = LatentDenoiser(LatentConfig(4, N, width=32, layers=1, heads=2)), GaussianProcess(ShiftedCosine(1.0))
    latents = iter([(x, None)] * 1000)
    errors = train_latent_denoiser(net, process, latents, 200, 1e-2, ema=0.9, generator=seeded(2), progress=False)
    assert sum(errors[-20:]) / 20 < 0.6 * errors[0]
    drawn = made.decode(sample_latents(process, net, (40, N, 4), 20, seeded(3)).x).argmax(-1)
    hits = ((drawn[:, None] == four.ids) | ~four.mask).all(-1)  # (40, 4)
    assert hits.any(1).double().mean() > 0.7 and int(hits.any(0).sum()) >= 3


def test_probes_of_smoothness():
    made, batch = model(), texts(16)
    z = made.encode(batch.h, batch.mask).detach()
    pairs = [torch.stack(part.split(8)) for part in (z, batch.ids, batch.mask)]
    probe = interpolate(made.decode, *pairs)
    both = pairs[2][0] & pairs[2][1]
    for ends, curve in ((0, probe.first), (1, probe.second)):
        nll = word_nll(made.decode(pairs[0][ends]), pairs[1][ends], both).sum() / both.sum()
        torch.testing.assert_close(curve[0 if ends == 0 else -1], nll)
    assert bool((probe.nearer <= torch.minimum(probe.first, probe.second) + 1e-6).all())
    assert probe.words.shape == (5, 8, L)
    same = interpolate(
        made.decode, z[:8].expand(2, 8, N, 4), batch.ids[:8].expand(2, 8, L), batch.mask[:8].expand(2, 8, L)
    )
    torch.testing.assert_close(same.first, same.nearer)
    torch.testing.assert_close(same.first, same.first[:1].expand(5))

    curve = decode_noisy(made.decode, PROCESS, z, batch.ids, batch.mask, (0.0, 0.5, 1.0), seeded())
    clean = word_nll(made.decode(z), batch.ids, batch.mask).sum() / batch.mask.sum()
    torch.testing.assert_close(curve[0], clean)


def test_a_linear_decoder_between_two_texts():
    """Logits that are linear in the latents: at w the log-odds of the two words are w times those of the ends."""
    z = torch.eye(2)[:, None, None] * 3.0  # (2, B = 1, N = 1, D = 2)
    ids, mask = torch.tensor([[[0]], [[1]]]), torch.ones(2, 1, 1, dtype=torch.bool)
    probe = interpolate(lambda latents: latents, z, ids, mask, (0.0, 0.3, 0.5, 1.0))
    odds = torch.tensor([0.0, 0.3, 0.5, 1.0]) * 2 * 3 - 3
    torch.testing.assert_close(probe.first, (1 + odds.exp()).log())
    torch.testing.assert_close(probe.second, (1 + (-odds).exp()).log())
    torch.testing.assert_close(probe.nearer[2], torch.tensor(2.0).log())


def test_refusals():
    batch = texts()
    with pytest.raises(ValueError, match="no statistics"):
        model(measured=False).encode(batch.h, batch.mask)
    made = model(measured=False).measure_features([batch])
    with pytest.raises(ValueError, match="no statistics"):
        made.decode(torch.zeros(2, N, 4))
    with pytest.raises(ValueError, match="States must have shape"):
        made.encode(batch.h[..., :2], batch.mask)
    with pytest.raises(ValueError, match="Latents must have shape"):
        made.decompress(torch.zeros(2, N + 1, 4))
    for wrong in ({"hide": 1.5}, {"keep": -0.1}, {"mse": -1.0}):
        with pytest.raises(ValueError, match="hide, keep and drop"):
            Smoothing(**wrong)
    with pytest.raises(ValueError, match="at least 2 words"):
        CosmosConfig(D, L, 1, N, 4)
    net = LatentDenoiser(LatentConfig(4, N, width=16, heads=2))
    with pytest.raises(ValueError, match="share of the average"):
        train_latent_denoiser(net, PROCESS, [], 2, ema=1.0)
    with pytest.raises(ValueError, match="ran out after 0 of 2"):
        train_latent_denoiser(net, PROCESS, [], 2, progress=False)
