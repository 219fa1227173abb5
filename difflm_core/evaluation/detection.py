"""How well does a score find the wrong tokens? Ranking (AUROC), a decision at one half (precision, recall), calibration
(cross-entropy).

A sampler chooses among the positions of one text, so the ranking is also judged inside texts: pooled over texts, a
score can look good by knowing which texts are hopeless, which does not say which token to take back.
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Detection:
    """`auroc`: the probability that a wrong token outscores a right one, any two tokens; `auroc_within`: two tokens of
    one text (NaN where no text has both). `precision` and `recall` of "p(wrong) > 1/2" (precision is NaN if nothing is
    flagged); `bce` in nats per token; `share_wrong` of the `tokens` judged, whose entropy bce should beat.
    """

    auroc: float
    auroc_within: float
    precision: float
    recall: float
    bce: float
    share_wrong: float
    tokens: int

    def __str__(self) -> str:
        return (
            f"AUROC {self.auroc:.3f} (within a text {self.auroc_within:.3f}), precision {self.precision:.3f}, recall "
            f"{self.recall:.3f}, BCE {self.bce:.3f} nats ({self.share_wrong:.1%} of {self.tokens:,} tokens wrong)"
        )


def detection(
    logit: Float[Tensor, "B L"], wrong: Bool[Tensor, "B L"], where: Bool[Tensor, "B L"] | None = None
) -> Detection:
    """Judge log-odds of being wrong against the truth, at the positions `where` (default: all of them).

    Raises ValueError where there is nothing to tell apart.
    """
    where = wrong | ~wrong if where is None else where
    score, truth = logit.double()[where], wrong[where]
    pooled = auroc(score, truth)
    flagged = score > 0
    hits = (flagged & truth).sum().item()
    precision = hits / flagged.sum().item() if bool(flagged.any()) else math.nan
    bce = F.binary_cross_entropy_with_logits(score, truth.double()).item()
    share = truth.double().mean().item()
    inside = auroc_within(logit.double(), wrong & where, ~wrong & where)
    return Detection(pooled, inside, precision, hits / truth.sum().item(), bce, share, truth.numel())


def auroc(score: Float[Tensor, "N"], positive: Bool[Tensor, "N"]) -> float:
    """P(score of a positive > score of a negative) + P(equal) / 2, by the rank sum (Mann-Whitney U).

    Tied scores share their mean rank. Raises ValueError if all are positive or none is.
    """
    n_positive, n_negative = positive.sum().item(), (~positive).sum().item()
    if not n_positive or not n_negative:
        raise ValueError(
            f"AUROC compares wrong tokens with right ones, but there are {n_positive} wrong and {n_negative} right: "
            "judge more drafts."
        )
    _, place, counts = score.unique(return_inverse=True, return_counts=True)
    mean_rank = counts.cumsum(0) - (counts - 1) / 2  # ranks 1..N
    rank_sum = mean_rank[place][positive].double().sum().item()
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def auroc_within(score: Float[Tensor, "B L"], positive: Bool[Tensor, "B L"], negative: Bool[Tensor, "B L"]) -> float:
    """The same over pairs from one row, every pair counting once. Memory O(B L^2)."""
    pairs = positive[:, :, None] & negative[:, None, :]  # (B, L, L)
    first, second = score[:, :, None], score[:, None, :]
    won = ((first > second) & pairs).sum() + 0.5 * ((first == second) & pairs).sum()
    return (won / pairs.sum()).item()
