"""Do the texts differ? Distinct n-grams over all of them, repeated texts, and their lengths.

Every share of distinct n-grams falls as the number of texts grows, because a language has only so many: the count is
therefore an argument, and texts beyond it are not looked at. Give texts in random order.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from difflm_core.evaluation.words import ngrams, words


def distinct_in_texts(texts: Sequence[str], n: int, samples: int) -> float:
    """Distinct n-grams of words over all n-grams, pooled over the first `samples` texts (Li et al. 2016).

    NaN where no text has n words; ValueError for fewer than `samples` texts. `generation.distinct_n` does the same for
    ids of equal length.
    """
    grams = [gram for text in first(texts, samples) for gram in ngrams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else math.nan


def diversity(texts: Sequence[str], samples: int) -> float:
    """Product of the shares of distinct 2-, 3- and 4-grams, pooled over the first `samples` texts.

    "Div" of LD4LG, TEncDM and COSMOS (Su et al. 2022), with our own words instead of spaCy's. Errors as above.
    """
    return math.prod(distinct_in_texts(texts, n, samples) for n in (2, 3, 4))


def repeated(texts: Sequence[str], samples: int) -> float:
    """Share of the first `samples` texts that equal an earlier one of them, word for word."""
    seen = {tuple(words(text)) for text in first(texts, samples)}
    return 1 - len(seen) / samples


def word_counts(texts: Sequence[str]) -> Int[Tensor, "N"]:
    """Words and punctuation marks of each text."""
    return torch.tensor([len(words(text)) for text in texts], dtype=torch.long)


def length_histogram(texts: Sequence[str], longest: int) -> Int[Tensor, "K"]:
    """How many texts have 0, 1, ..., `longest` words; the last bin takes longer ones too."""
    if longest < 1:
        raise ValueError(f"longest = {longest}: the histogram needs a bin for texts of 1 word.")
    return torch.bincount(word_counts(texts).clamp(max=longest), minlength=longest + 1)


def first(texts: Sequence[str], samples: int) -> list[str]:
    """The first `samples` texts; ValueError where there are fewer."""
    if not 1 <= samples <= len(texts):
        raise ValueError(
            f"{len(texts)} texts, {samples} asked for: figures of different counts do not compare, so give more texts, "
            "or lower the count for every system."
        )
    return list(texts[:samples])
