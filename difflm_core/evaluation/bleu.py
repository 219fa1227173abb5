"""BLEU: how much of a text came back, in n-grams (Papineni et al. 2002). What autoencoders of text are scored by.

    BLEU = min(1, exp(1 - r / c)) * (p_1 p_2 p_3 p_4)^(1/4)

p_n is the share of the candidates' n-grams that stand in their references too, each counted at most as often as there;
r and c are the words of all references and of all candidates. Everything is counted over the whole corpus before
dividing: BLEU of a corpus is not the mean of its texts' BLEU.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence

from jaxtyping import Bool, Int
from torch import Tensor


def bleu(candidates: Sequence[Sequence[Hashable]], references: Sequence[Sequence[Hashable]], order: int = 4) -> float:
    """Corpus BLEU in [0, 1] of texts as sequences of words (or ids), one reference for each. 0 where some n has no
    match. Raises ValueError for unequal numbers of texts, or none.
    """
    if not len(candidates) or len(candidates) != len(references):
        raise ValueError(
            f"BLEU compares each text with its own reference, got {len(candidates)} texts and {len(references)} "
            "references."
        )
    matched, made = [0] * order, [0] * order
    for candidate, reference in zip(candidates, references):
        for n in range(1, order + 1):
            ours, theirs = grams(candidate, n), grams(reference, n)
            matched[n - 1] += (ours & theirs).total()
            made[n - 1] += ours.total()
    if not all(matched):
        return 0.0
    c, r = sum(map(len, candidates)), sum(map(len, references))
    precision = math.exp(sum(math.log(m / n) for m, n in zip(matched, made)) / order)
    return min(1.0, math.exp(1 - r / c)) * precision


def grams(text: Sequence[Hashable], n: int) -> Counter:
    return Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))


def real_tokens(ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"] | None = None) -> list[list[int]]:
    """The ids of each text without padding, as `bleu` takes them."""
    if mask is None:
        return ids.tolist()
    return [row[keep].tolist() for row, keep in zip(ids, mask)]


def until(ids: Int[Tensor, "B L"], end: int | None) -> list[list[int]]:
    """Each written text up to its first `end`, which still belongs to it; None: all of it."""
    rows = ids.tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in rows]
