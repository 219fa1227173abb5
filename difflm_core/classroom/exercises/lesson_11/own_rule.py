"""Exercise 11.5, open: a rule of one's own that says which words to write now, at six network calls a sentence.

The rule sees where masks are and the network's log-probabilities. The positions are shuffled before it sees them, so
that no order found by hand can help; calls are counted, sentences judged by the grammar, variety against the language.
"""

from functools import cache

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.lesson_10.shuffled import Shuffled
from difflm_core.classroom.exercises.samples import check_sample, measure
from difflm_core.classroom.exercises.spies import seeded
from difflm_core.samplers import in_random_order, sample_in_order, sample_masked

CALLS = 6
BROKEN, SPREAD, GAP = 0.5, 0.95, 1.0  # most broken and least spread, both relative; most nats above true sentences


def ex11_5(denoiser, language, sentences: int = 1000) -> Check:
    """The check for `my_rule(masked, log_p) -> (B, L) booleans`, under a trained denoiser."""
    shape, place = (sentences, language.length), torch.randperm(language.length, generator=seeded(5))

    @cache
    def limits() -> tuple[float, float]:
        """What a random order breaks in as many calls, and the spread of as many true sentences."""
        plain = sample_masked(denoiser, in_random_order(CALLS), (1000, shape[1]), generator=seeded(1)).tokens
        return measure(plain, language).broken, measure(
            language.sample(sentences, generator=seeded(2)), language
        ).spread

    @torch.no_grad()
    def test(my_rule):
        sample = sample_in_order(Shuffled(denoiser, place), guarded(my_rule), shape, generator=seeded(0))
        check_sample(sample, shape, language.V)
        calls = sample.network_calls.double().mean().item()
        found, (broken, spread) = measure(sample.tokens[:, place.argsort()], language), limits()
        said = f"{found.broken:.1%} of your sentences are broken at {calls:.2f} calls"
        assert calls <= CALLS, f"{said}: at most {CALLS} calls a sentence, on average. Accept more words at once."
        assert found.gap <= GAP, (
            f"{said}; but the right ones are {found.gap:.2f} nats likelier than true ones, and at most {GAP:.0f} is"
            " allowed: choosing the surest *first* prefers the usual. What may be accepted *together* is another"
            " question."
        )
        assert found.spread >= SPREAD * spread, (
            f"{said}; but the words at a position have {found.spread:.2f} nats of entropy, true sentences {spread:.2f}:"
            " too narrow."
        )
        assert found.broken <= BROKEN * broken, (
            f"{said}, {broken:.1%} with a random order in {CALLS} calls. Ask for at most {BROKEN:.0%} as many: which"
            " words does your rule draw together, and were they independent?"
        )
        check.praise = f"{said}, {broken:.1%} in a random order; the right ones are {found.gap:+.2f} nats likelier."

    check = Check("11.5", test=test, hints=HINTS, reference=reference)
    return check


def guarded(my_rule):
    """The rule, with a clear word for answers that are no rule's."""

    def rule(masked, log_p):
        chosen = my_rule(masked.clone(), log_p.clone())
        assert isinstance(chosen, torch.Tensor) and chosen.shape == masked.shape and chosen.dtype == torch.bool, (
            f"Return True where a word is to be written now, booleans shaped {tuple(masked.shape)}."
        )
        none = ~(chosen & masked).any(1) & masked.any(1)
        assert not bool(none.any()), "Your rule names no masked place in some rows: sampling would never end."
        return chosen & masked

    return rule


def reference(masked, log_p):
    """All words that are nearly certain, and of the others the most uncertain: one a call at first, three later."""
    entropy = torch.special.entr(log_p.exp()).sum(-1)
    uncertain = masked & (entropy > 0.3)
    rank = (-entropy).masked_fill(~uncertain, torch.inf).argsort(dim=1, stable=True).argsort(dim=1)
    return masked & (~uncertain | (rank < torch.where(masked.sum(1, keepdim=True) > 9, 1, 3)))


HINTS = [
    "Start from entropy_bound(nats): how many calls does it need at 1, 2, 3 and 4 nats, and what breaks?",
    "A word of entropy 0 costs nothing and breaks nothing: take all of those, in every call. What breaks sentences is"
    " two uncertain words that depend on each other.",
    "Which word, once it is known, makes most others certain? Not the surest. Try single words of the *largest* entropy"
    " while more than nine masks are left, then three a call, and in every call all words below 0.3 nats.",
]
