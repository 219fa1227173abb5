"""Exercise 0.4, open: mend four-step drafts in eight network calls. Everything is measured: calls by counting,
sentences by the grammar, what was kept by comparing, variety by distinct sentences and by their probability.
"""

from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.samples import measure
from difflm_core.classroom.exercises.spies import Counter, seeded
from difflm_core.samplers import ancestral, draw_from, sample_masked

CALLS, BROKEN, KEPT, DISTINCT, LIKELIER = 8, 0.5, 0.5, 0.95, 2.5


def ex0_4(denoiser, language, sentences: int = 500) -> Check:
    """The check for `mend(model, drafts, mask_id, generator) -> (B, L)`, under a trained masked model."""

    @cache
    def drafts() -> Int[Tensor, "B L"]:
        return sample_masked(denoiser, ancestral(4), (sentences, language.length), generator=seeded(1)).tokens

    @torch.no_grad()
    def test(mend):
        given, counter = drafts().clone(), Counter(denoiser)
        text = mend(counter, given, language.mask_id, seeded(2))
        check_text(text, given, drafts(), language)
        calls = counter.rows / sentences
        assert calls <= CALLS, f"Too many network calls: {calls:.1f} for each draft, at most {CALLS}."
        kept = (text == drafts()).double().mean().item()
        assert kept >= KEPT, f"Only {kept:.0%} of the words were kept, {KEPT:.0%} are asked: mend, do not write afresh."
        before, after = measure(drafts(), language), measure(text, language)
        check_variety(text, after.distinct, language)
        said = f"{before.broken:.0%} of the drafts were broken, {after.broken:.0%} are after mending"
        assert after.broken < before.broken - 0.02, f"{said}: no better yet. Which words do you take back?"
        assert after.broken <= BROKEN * before.broken, f"{said}. Better, but ask for at most half as many."
        check.praise = f"{said}; {kept:.0%} of the words were kept, in {calls:.1f} calls."

    check = Check("0.4", test=test, hints=HINTS, reference=reference)
    return check


def check_text(text, given, before, language):
    assert isinstance(text, Tensor) and text.shape == before.shape, f"Return sentences shaped {tuple(before.shape)}."
    assert torch.equal(given, before), "Your function writes into the drafts it was given. Work on a copy."
    assert not bool((text == language.mask_id).any()), "Masks are left in the text: fill every place that you empty."
    assert bool(((text >= 0) & (text < language.V)).all()), f"Ids must lie in 0..{language.V - 1}."


def check_variety(text, distinct: float, language):
    assert distinct >= DISTINCT, (
        f"Only {distinct:.0%} of your sentences are distinct: draw words, do not take the best."
    )
    good = language.grammatical(text)
    if bool(good.any()):
        gap = language.log_prob(text[good]).mean().item() + language.entropy()
        assert gap <= LIKELIER, (
            f"Your right sentences are {gap:.1f} nats likelier than true ones, {LIKELIER} are allowed. Texts"
            " become too usual if the likeliest word is written (draw one), or if rare words are taken back again and"
            " again (take fewer of them, once)."
        )


def doubt(model, z: Int[Tensor, "B L"], mask_id: int, generator) -> Float[Tensor, "B L"]:
    """-log p of every word, from the half of the sentence that it does not belong to. Two calls."""
    half: Bool[Tensor, "B L"] = torch.rand(z.shape, generator=generator).argsort(1).argsort(1) % 2 == 0
    nats = torch.empty(z.shape)
    for hidden in (half, ~half):
        log_p = model(z.masked_fill(hidden, mask_id)).log_softmax(-1)
        nats[hidden] = -log_p.gather(-1, z[..., None])[..., 0][hidden].float()
    return nats


def reference(model, drafts, mask_id, generator=None):
    """Take back the four words that surprise most, and write them again one at a time, the most surprising one last."""
    rank = doubt(model, drafts, mask_id, generator).argsort(1, descending=True).argsort(1)
    z = drafts.masked_fill(rank < 4, mask_id)
    for place in (3, 2, 1, 0):
        here = rank == place
        z = z.masked_scatter(here, draw_from(model(z)[here].softmax(-1), generator))
    return z


HINTS = [
    "A start: hide some words of each draft at random, and let the model write them again, one per call."
    " masked_sample does it in T calls. How many words can you hide, and how far does it get?",
    "Better: hide the words that do not fit. The network was never asked about words that it sees, so hide half of the"
    " sentence, and ask how surprised it is by the words that stood there (-log p); then the other half. Two calls.",
    "Take back the four most surprising words of each draft and write them again in four calls, one at a time.",
]
