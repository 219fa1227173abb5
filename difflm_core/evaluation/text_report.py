"""One table for samples of text from several systems, never without two rows that are known: human texts against human
texts, which shows what a perfect system would get, and the same human texts with their words shuffled, which shows what
each figure overlooks.

Every row has the same number of texts, drawn at random, so that diversity and MAUVE compare down the columns.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.evaluation.diversity import distinct_in_texts, diversity, first, repeated, word_counts
from difflm_core.evaluation.judge import judge_texts
from difflm_core.evaluation.mauve import mauve
from difflm_core.evaluation.memorisation import TrainingTexts
from difflm_core.models.frozen import Judge

HUMAN, SHUFFLED = "human", "shuffled words"


@dataclass(frozen=True)
class Row:
    """One system. `perplexity` per token of the judge; `entropy` inside a text, nats; the rest are shares, and MAUVE.
    `words` of each text, for a histogram of lengths.
    """

    name: str
    perplexity: float
    entropy: float
    distinct_1: float
    diversity: float
    repeated: float
    memorised: float
    copied: float
    mauve: float
    empty: float
    words: tuple[int, ...]

    @property
    def length(self) -> float:
        """Mean number of words."""
        return sum(self.words) / len(self.words)


@dataclass(frozen=True)
class TextReport:
    """Rows for human texts, shuffled words and each system, all of `samples` texts; `print` it for a table."""

    rows: tuple[Row, ...]
    samples: int
    judge: str

    def __str__(self) -> str:
        heads = ("judge ppl", "entropy", "distinct-1", "diversity", "repeated", "memorised", "copied", "MAUVE", "words")
        width = max(len(row.name) for row in self.rows)
        lines = [" " * width + "".join(f"{head:>11s}" for head in heads)]
        for row in self.rows:
            shares = (row.distinct_1, row.diversity, row.repeated, row.memorised, row.copied, row.mauve)
            figures = [
                f"{row.perplexity:.1f}",
                f"{row.entropy:.2f}",
                *(f"{x:.3f}" for x in shares),
                f"{row.length:.1f}",
            ]
            lines.append(f"{row.name:{width}s}" + "".join(f"{figure:>11s}" for figure in figures))
        lines.append(f"{self.samples} texts a row; judge: {self.judge}")
        lines += [f"{row.name}: {row.empty:.1%} of its texts are empty" for row in self.rows if row.empty]
        return "\n".join(lines)


def text_report(
    systems: Mapping[str, Sequence[str]],
    human: Sequence[str],
    training: TrainingTexts,
    judge: Judge,
    features: Callable[[list[str]], Float[Tensor, "N D"]],
    samples: int,
    generator: torch.Generator | None = None,
    length: int | None = None,
    progress: bool = False,
) -> TextReport:
    """Measure `samples` texts of each system, of `human` texts that no system saw, and of these with shuffled words.

    `human` is split at random: one half is MAUVE's reference for every row, the other is the human row. `features` are
    MAUVE's, e.g. `lambda texts: judge_features(judge, texts, length)`; `length` is where the judge stops to read.
    Raises ValueError for too few texts and for a system without words.
    """
    if taken := {HUMAN, SHUFFLED} & set(systems):
        raise ValueError(f"The name {taken.pop()!r} is that of a row which is always there: give the system another.")
    if len(human) < 2 * samples:
        raise ValueError(
            f"{len(human)} human texts: rows of {samples} need {2 * samples} held-out ones, or lower samples."
        )
    seed = int(torch.randint(2**62, (), generator=generator))
    reference, fresh = _choose(human, 2 * samples, seed).split(samples)
    texts = {HUMAN: [human[i] for i in fresh.tolist()]}
    texts[SHUFFLED] = shuffle_words(texts[HUMAN], torch.Generator().manual_seed(seed))
    for name, some in systems.items():
        try:
            texts[name] = [some[i] for i in _choose(some, samples, seed).tolist()]
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    ideal = features([human[i] for i in reference.tolist()])
    rows = []
    for name, some in texts.items():
        try:
            judged = judge_texts(judge, some, length, progress=progress)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        # the same seed for every row: a system's figures do not depend on the others in the table
        likeness = mauve(ideal, features(some), torch.Generator().manual_seed(seed)).score if samples > 1 else math.nan
        rows.append(
            Row(
                name=name,
                perplexity=judged.perplexity,
                entropy=judged.entropy,
                distinct_1=distinct_in_texts(some, 1, samples),
                diversity=diversity(some, samples),
                repeated=repeated(some, samples),
                memorised=training.memorised(some),
                copied=training.copied(some),
                mauve=likeness,
                empty=judged.empty,
                words=tuple(word_counts(some).tolist()),
            )
        )
    return TextReport(tuple(rows), samples, judge.name)


def shuffle_words(texts: Sequence[str], generator: torch.Generator | None = None) -> list[str]:
    """Each text with its blank-separated words in random order."""
    shuffled = []
    for text in texts:
        cut = text.split()
        shuffled.append(" ".join(cut[i] for i in torch.randperm(len(cut), generator=generator).tolist()))
    return shuffled


def _choose(texts: Sequence[str], samples: int, seed: int) -> Tensor:
    """`samples` different row numbers; ValueError where there are fewer rows."""
    first(range(len(texts)), samples)
    return torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))[:samples]
