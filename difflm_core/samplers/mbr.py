"""Minimum Bayes risk: of many samples for one source, return the one that the others agree with most.

    argmin over w in S of  1/|S| * sum over w' in S of  loss(w, w')            (Li et al. 2022, section 5.2)

The samples stand for the model's distribution, so that the sum is the expected loss of answering w. A sampler's rare
blunders are far from everything else and lose. It costs |S| times the sampling, and nothing in training; it answers
with what is usual, so it is a tool for one good text (infilling, translation), not for variety.

The paper's loss is minus BLEU. Here it is one minus an n-gram F-score: the share of n-grams that two texts have in
common, as in BLEU with clipped counts, but the same in both directions and averaged over n, where BLEU multiplies (one
n without a match makes it 0) and punishes short texts apart.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class MBR(NamedTuple):
    """`tokens` (B, L), one text per source; `index` (B,), which of its samples that is; `risk` (B, N), the mean loss of
    each sample against all of them.
    """

    tokens: Int[Tensor, "B L"]
    index: Int[Tensor, "B"]
    risk: Float[Tensor, "B N"]


def minimum_bayes_risk(
    samples: Int[Tensor, "B N L"], loss: Callable[[Int[Tensor, "N L"]], Float[Tensor, "N N"]] | None = None
) -> MBR:
    """The sample of least risk for each of B sources with N samples each; the first of equals.

    `loss(texts)` gives the loss of answering text i where text j is true, at [i, j]; `ngram_loss` by default. Raises
    ValueError for another shape or no sample.
    """
    if samples.ndim != 3 or 0 in samples.shape:
        raise ValueError(
            f"samples has shape {tuple(samples.shape)} but must be (B, N, L) with at least one sample: N texts for "
            "each of B sources (samples[None] for one source)."
        )
    risk = torch.stack([(loss or ngram_loss)(texts).mean(-1) for texts in samples])
    index = risk.argmin(-1)
    return MBR(samples[torch.arange(len(samples), device=samples.device), index], index, risk)


def ngram_loss(texts: Int[Tensor, "N L"], order: int = 2, ignore: int | None = None) -> Float[Tensor, "N N"]:
    """1 - the mean over n = 1..order of the F-score of n-grams: 0 for equal texts, 1 for texts without a common word.

    F = 2 common / (n-grams of one + n-grams of the other), common ones counted as often as in the text with fewer. With
    `ignore` = PAD, n-grams with PAD in them do not count. Where neither text has an n-gram they agree: F = 1.
    """
    if order < 1:
        raise ValueError(f"n-grams have at least one word, got order = {order}.")
    scores = torch.stack([ngram_f(texts, n, ignore) for n in range(1, order + 1)])
    return 1 - scores.mean(0)


def ngram_f(texts: Int[Tensor, "N L"], n: int, ignore: int | None) -> Float[Tensor, "N N"]:
    if texts.shape[1] < n:
        return torch.ones(len(texts), len(texts), dtype=torch.float64, device=texts.device)
    grams = texts.unfold(1, n, 1)  # (N, L - n + 1, n)
    kinds, kind = grams.flatten(0, 1).unique(dim=0, return_inverse=True)
    count = torch.zeros(len(texts), len(kinds), dtype=torch.float64, device=texts.device)
    count.scatter_add_(1, kind.view(len(texts), -1), torch.ones_like(grams[..., 0], dtype=count.dtype))
    if ignore is not None:
        count[:, (kinds == ignore).any(-1)] = 0
    common = torch.stack([torch.minimum(row, count).sum(-1) for row in count])
    total = count.sum(-1)
    total = total[:, None] + total
    return torch.where(total > 0, 2 * common / total.clamp_min(1), 1.0)
