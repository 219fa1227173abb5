"""Sampling: the tail of a step (all that follows the trunk), and whole runs against MDLM's cached sampler."""

import pytest
import torch
from enumerable import TinyLanguage, chain_law, texts_p
from measure import interleaved, milliseconds
from peers import cached_sampler, full_vocabulary_step, gumbel_in_float64, subs

from difflm_core.models import Transformer, TransformerConfig
from difflm_core.processes import masked
from difflm_core.samplers import ancestral, draw_from, probabilities, sample_masked

V, L, WIDTH, BATCH = 50_257, 128, 256, 8
T, STEP = 128, 64  # the step from t = 0.5: about a 64th of the masked positions is revealed


def reveal(head, h, z, planned, generator):
    """The tail of `sample_masked`'s loop: head and draw on the planned rows only."""
    token = draw_from(probabilities(torch.nn.functional.linear(h[planned], head)), generator)
    return z.masked_scatter(planned, token)


def test_both_samplers_draw_from_the_same_chain():
    language, steps = TinyLanguage(), 4
    denoiser = language.denoiser()
    law = chain_law(denoiser, masked(language.V), steps)
    shape, seed = (20_000, language.length), torch.Generator().manual_seed
    theirs, _ = cached_sampler(denoiser, steps, shape, seed(0))
    ours = sample_masked(denoiser, ancestral(steps), shape, generator=seed(0))
    assert texts_p(theirs, language.V, law) > 1e-3 and texts_p(ours.tokens, language.V, law) > 1e-3


def test_tail_of_a_step(table):
    generator = torch.Generator().manual_seed(0)
    full_head = 0.02 * torch.randn(V + 1, WIDTH, generator=generator)
    h = torch.randn(BATCH, L, WIDTH, generator=generator)
    masks = torch.rand(BATCH, L, generator=generator) < 0.5
    z = torch.where(masks, V, torch.randint(V, (BATCH, L), generator=generator))
    planned = masks & (torch.rand(BATCH, L, generator=generator) < 1 / STEP)

    with torch.no_grad():
        p_x = subs(torch.nn.functional.linear(h, full_head), z, V).exp()
        p = probabilities(torch.nn.functional.linear(h[planned], full_head[:V]))
        torch.testing.assert_close(p_x[planned][:, :V], p, rtol=1e-4, atol=1e-9)

        def theirs():
            p_x = subs(torch.nn.functional.linear(h, full_head), z, V).exp()
            return full_vocabulary_step(p_x, z, (STEP - 1) / T, STEP / T, generator)

        best = interleaved({"theirs": theirs, "ours": lambda: reveal(full_head[:V], h, z, planned, generator)})
    table(
        f"tail of a step, V = {V:,}, {int(planned.sum())} of {BATCH * L} revealed",
        milliseconds(best["theirs"]), milliseconds(best["ours"]), f"{best['theirs'] / best['ours']:.0f}x faster",
    )  # fmt: skip


def test_drawing_tokens(table):
    """One token from each of 64 rows of logits: noise on every logit in float64 (what is left of Gumbel's race once its
    float32 fault is mended) against one uniform number looked up in the cumulative sum.
    """
    generator = torch.Generator().manual_seed(0)
    law = torch.tensor([0.5, 0.3, 0.15, 0.05])
    for draw in (gumbel_in_float64, lambda logits, g: draw_from(probabilities(logits), g)):
        drawn = torch.bincount(draw(law.log().expand(40_000, 4), generator), minlength=4) / 40_000
        assert bool(((drawn - law).abs() < 5 * (law * (1 - law) / 40_000).sqrt()).all())
    logits = 3 * torch.randn(64, V, generator=generator)
    best = interleaved({
        "theirs": lambda: gumbel_in_float64(logits, generator),
        "ours": lambda: draw_from(probabilities(logits), generator),
    })  # fmt: skip
    table(
        f"64 tokens drawn, V = {V:,}, Gumbel in float64", milliseconds(best["theirs"]), milliseconds(best["ours"]),
        f"{best['theirs'] / best['ours']:.1f}x faster",
    )  # fmt: skip


@pytest.mark.parametrize("B", [1, 8, 32])
@pytest.mark.parametrize("steps", [64, 128, 1000, 5000])
def test_whole_runs(steps, B, table):
    """A small network, so that seconds are not all trunk: V = 256, 64 positions, 2 layers of 64."""
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(256, 64, width=64, layers=2, heads=2)).eval()
    shape, seed = (B, 64), torch.Generator().manual_seed
    calls: dict[str, float] = {}

    def theirs():
        calls["theirs"] = cached_sampler(model, steps, shape, seed(1))[1]

    def ours():
        calls["ours"] = sample_masked(model, ancestral(steps), shape, generator=seed(1)).network_calls.double().mean()

    best = interleaved({"theirs": theirs, "ours": ours}, repeats=1 if steps * B > 40_000 else 2)
    their_calls, our_calls = calls["theirs"], float(calls["ours"])
    table(
        f"network calls per row, T = {steps}, B = {B}", f"{their_calls}", f"{our_calls:.0f}",
        f"{their_calls / our_calls:.1f}x fewer",
    )  # fmt: skip
    table(
        f"whole run, T = {steps}, B = {B}", milliseconds(best["theirs"]), milliseconds(best["ours"]),
        f"{best['theirs'] / best['ours']:.1f}x faster",
    )  # fmt: skip
