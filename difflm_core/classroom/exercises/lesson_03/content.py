"""Exercise 3.5, open: a score of what latents say that a fluent decoder cannot fool.

The check plays the decoder: one that repeats the text, several that lose some of it, and three that never look at the
latents but write perfect sentences. Only what they write is shown to the score.
"""

from functools import cache

import torch
from jaxtyping import Int
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

TEXTS = 400
NOTHING, ALL = 0.04, 0.96


class Decoders:
    """What each of them writes of its own latents, and of another text's."""

    def __init__(self, language):
        self.language = language
        self.truth, self.random, second = (language.sample(TEXTS, generator=seeded(seed)) for seed in (1, 2, 3))
        usual = self.random[language.log_prob(self.random).argmax()].expand(TEXTS, -1)
        common = self.truth.mode(0).values.expand(TEXTS, -1)
        # decoders that do not listen: what they write has nothing to do with whose latents they get
        self.deaf = {
            "one usual sentence for all": (usual, usual),
            "a new random sentence each time": (self.random, second),
            "the commonest word at each place": (common, common),
        }

    def listener(self, lost: float) -> tuple[Tensor, Tensor]:
        """Writes the text that the latents are of, with a share of words replaced by those of a random sentence."""
        return self.blur(self.truth, lost, 4), self.blur(self.truth.roll(1, 0), lost, 5)

    def blur(self, texts: Int[Tensor, "B L"], lost: float, seed: int) -> Int[Tensor, "B L"]:
        return torch.where(torch.rand(texts.shape, generator=seeded(seed)) < lost, self.random, texts)


def reference(own, other, truth):
    kept, chance = (own == truth).double().mean(), (other == truth).double().mean()
    return float((kept - chance) / (1 - chance))


def ex3_5(language) -> Check:
    """The check for `content(own, other, truth) -> float`."""

    @cache
    def decoders() -> Decoders:
        return Decoders(language)

    def score(content, own, other) -> float:
        value = torch.as_tensor(content(own.clone(), other.clone(), decoders().truth.clone()))
        assert value.numel() == 1, f"Return one number for all texts, not something shaped {tuple(value.shape)}."
        value = float(value)
        assert value == value and abs(value) < 1e6, f"The score must be a finite number, not {value}."
        return value

    def test(content):
        play = decoders()
        best = score(content, *play.listener(0.0))
        assert best >= ALL, f"A decoder that repeats every text must score 1 (at least {ALL}); yours gives {best:.2f}."
        assert best <= 1 + 1e-6, f"1 is the most that a decoder can get; yours gives {best:.2f}."
        for name, (own, other) in play.deaf.items():
            value = score(content, own, other)
            assert abs(value) <= NOTHING, (
                f"A decoder that never listens ({name}) must score 0, within {NOTHING}; yours gives {value:.3f}. Its"
                " words agree with the truth by chance: what does `other` tell about that chance?"
            )
        lost = (0.0, 0.1, 0.3, 0.5, 0.7)
        values = [score(content, *play.listener(share)) for share in lost]
        assert all(more > less for more, less in zip(values, values[1:])), (
            "The more words are lost, the lower the score must be; yours goes "
            + ", ".join(f"{value:.2f}" for value in values)
            + f" as {', '.join(f'{share:.0%}' for share in lost)} are replaced."
        )
        assert 0.35 <= values[2] <= 0.9, (
            f"With three words in ten replaced most of the content is there: a score between 0.35 and 0.9, not"
            f" {values[2]:.2f}."
        )
        check.praise = f"With 30 % of the words replaced it says {values[2]:.2f}, for the deaf decoders 0."

    check = Check("3.5", test=test, mistakes=mistakes(decoders), hints=HINTS, reference=reference)
    return check


def kept(own, other, play):
    return (own == play.truth).double().mean().item()


def fluent(own, other, play):
    return play.language.grammatical(own).double().mean().item()


def difference(own, other, play):
    return (own == play.truth).double().mean().item() - (other == play.truth).double().mean().item()


MISTAKES = [  # a wrong score of (own, other, play), and what is said to it
    (
        kept,
        "The share of words kept is not 0 for a decoder that never listens: 'the' at the first place is right four"
        " times in ten whatever the latents say. Subtract what chance gives.",
    ),
    (fluent, "That is fluency, which a deaf decoder has in full. Ask whose text was written."),
    (
        difference,
        "Chance is subtracted, but then 1 cannot be reached: divide by 1 minus chance.",
    ),
    (
        lambda own, other, play: (own == play.truth).all(1).double().mean().item(),
        "Whole texts: with three words in ten replaced hardly one is left whole, and the score says 0 although most"
        " of the content is there. Count words.",
    ),
]


def mistakes(decoders) -> list:
    """The bank for a check: (probe, message) for each of MISTAKES."""

    def like(wrong):
        def probe(content):
            play = decoders()
            pairs = [play.listener(0.3), *play.deaf.values()]
            return all(abs(float(content(*pair, play.truth)) - wrong(*pair, play)) < 1e-4 for pair in pairs)

        return probe

    return [(like(wrong), said) for wrong, said in MISTAKES]


HINTS = [
    "How often does a word agree with the truth if the latents were another text's? That share is chance.",
    "A perfect decoder must get 1 and chance 0: (kept - chance) / (1 - chance).",
    "kept = (own == truth).double().mean(), chance = (other == truth).double().mean().",
]
