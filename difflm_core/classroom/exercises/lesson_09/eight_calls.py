"""Exercise 9.5, open: at most eight network calls for drafting and correcting together, and nothing lost by it.

As in exercise 8.5 all claims are measured: calls by a denoiser that counts, sentences by the grammar, variety against
the language itself, and that the words are the network's with one that is certain of a made-up sentence.
"""

from functools import cache

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.samples import Figures, check_sample, measure
from difflm_core.classroom.exercises.spies import Counter, Spy, seeded
from difflm_core.models import WithOwnEvidence
from difflm_core.samplers import Sample, sample_discrete, self_correct

CALLS = 8
DISTINCT, SPREAD, BROKEN = 0.9, 0.93, 0.5  # least distinct share, least spread, most broken; the last two are relative


def ex9_5(process, denoiser, language, sentences: int = 200) -> Check:
    """The check for `my_sampler(process, denoiser, shape, generator) -> Sample`, under a denoiser that says what the
    other positions say: LeaveOneOut of the language's own, or a well-trained network.
    """
    shape = (sentences, language.length)

    @cache
    def limits() -> tuple[float, float]:
        """What sample_discrete breaks in as many calls, and the spread of as many true sentences."""
        sample = sample_discrete(process, denoiser, CALLS, shape, generator=seeded(1))
        truth = language.sample(sentences, generator=seeded(2))
        return measure(sample.tokens, language).broken, measure(truth, language).spread

    @torch.no_grad()
    def test(my_sampler):
        check_words_are_the_networks(my_sampler, process, language)
        counter = Counter(denoiser)
        sample = my_sampler(process, counter, shape, seeded(0))
        check_sample(sample, shape, language.V)
        check_calls(sample, counter.rows / sentences)
        figures, (broken, spread) = measure(sample.tokens, language), limits()
        check_variety(figures, spread)
        check_broken(figures.broken, broken)
        check.praise = (
            f"{figures.broken:.1%} of your sentences are broken, {broken:.1%} with sample_discrete(T={CALLS});"
            f" {figures.distinct:.0%} are distinct, and you asked the network {counter.rows / sentences:.1f} times."
        )

    check = Check("9.5", test=test, hints=HINTS, reference=reference)
    return check


def check_words_are_the_networks(my_sampler, process, language):
    """A network that is certain of one nonsense sentence must be believed."""
    nonsense = torch.arange(language.length) * 7 % language.V
    certain = 1e3 * torch.nn.functional.one_hot(nonsense, language.V).double()
    spy = Spy(lambda z: certain[: z.shape[1]].expand(len(z), -1, -1), language.V, language.length)
    sample = my_sampler(process, spy, (3, language.length), seeded(0))
    assert spy.asked, "Your sampler never asks the denoiser that it is given: use that one, no other."
    check_sample(sample, (3, language.length), language.V)
    assert torch.equal(sample.tokens, nonsense.expand(3, -1)), (
        "Every word must be drawn from what the denoiser says there. Given one that is certain of every word, your"
        " sampler wrote others."
    )


def check_calls(sample, asked: float):
    """`asked` is how often a row really was given to the network, on average."""
    claimed = torch.as_tensor(sample.network_calls).double()
    assert asked <= float(claimed.mean()) + 1e-6, (
        f"network_calls says {float(claimed.mean()):.2f} a row, but the network was asked {asked:.2f} times a row."
        " Add up the calls of the draft and of its correction."
    )
    assert float(claimed.max()) <= CALLS, (
        f"Too many network calls: {float(claimed.max()):.0f} for one row, at most {CALLS}. With `iterations` = n,"
        " self_correct makes up to n + 1."
    )


def check_variety(figures: Figures, spread: float):
    assert figures.distinct >= DISTINCT, (
        f"Your sampler repeats itself: only {figures.distinct:.0%} of its sentences are distinct. Greedy correction by"
        " what the *other* words say drives every text to the commonest one."
    )
    assert figures.spread >= SPREAD * spread, (
        f"Your sampler has become narrow: the words at a position have {figures.spread:.2f} nats of entropy, in true"
        f" sentences {spread:.2f}, and at least {SPREAD * spread:.2f} are asked. An editor that does not listen to the"
        " word that stands there rewrites right ones too."
    )


def check_broken(broken: float, plain: float):
    said = f"{broken:.1%} of your sentences are broken, {plain:.1%} with sample_discrete(T={CALLS})"
    assert broken < plain, f"{said}: no better yet. How many calls does the draft need, and who corrects it?"
    assert broken <= BROKEN * plain, f"{said}. Better, but ask for at most half as many."


def reference(process, denoiser, shape, generator=None):
    """A draft in five calls, and three that revise it as one who also believes what is written."""
    draft = sample_discrete(process, denoiser, 5, shape, generator=generator)
    editor = WithOwnEvidence(denoiser, process)
    fixed = self_correct(editor, draft.tokens, iterations=2, tokens_per_step=2, temperature=1.0, generator=generator)
    return Sample(fixed.tokens, draft.network_calls + fixed.network_calls)


HINTS = [
    "Split the calls: sample_discrete with T = 4 to 6 for the draft, self_correct with iterations = 1 to 3 for the rest"
    " (it makes one call more than that).",
    "Correction by the denoiser as it is rewrites right words too: it does not know what stands there. Section 9 turns"
    " it into an editor that also believes the word itself, log q(z | z) - log q(z | v) added to one logit.",
    "That editor changes few words, so let it write two or three per call, at temperature 1.",
]
