"""How well does a score find the wrong tokens? Ranking (AUROC), a decision at one half (precision, recall), and
calibration (cross-entropy).
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Detection:
    """`auroc`: the probability that a wrong token outscores a right one; `precision`, `recall` of "p(wrong) > 1/2"
    (precision is NaN if nothing is flagged); `bce` in nats per token; `share_wrong`, the base rate, and `tokens`, how
    many were judged. The base rate's own entropy is what bce should beat.
    """

    auroc: float
    precision: float
    recall: float
    bce: float
    share_wrong: float
    tokens: int

    def __str__(self) -> str:
        return (
            f"AUROC {self.auroc:.3f}, precision {self.precision:.3f}, recall {self.recall:.3f}, BCE {self.bce:.3f} "
            f"nats ({self.share_wrong:.1%} of {self.tokens:,} tokens wrong)"
        )


def detection(logit: Float[Tensor, "N"], wrong: Bool[Tensor, "N"]) -> Detection:
    """Judge log-odds of being wrong against the truth. Raises ValueError where there is nothing to tell apart."""
    logit = logit.double()
    flagged = logit > 0
    hits = (flagged & wrong).sum().item()
    precision = hits / flagged.sum().item() if bool(flagged.any()) else math.nan
    bce = F.binary_cross_entropy_with_logits(logit, wrong.double()).item()
    return Detection(
        auroc(logit, wrong), precision, hits / wrong.sum().item(), bce, wrong.double().mean().item(), wrong.numel()
    )


def auroc(score: Float[Tensor, "N"], positive: Bool[Tensor, "N"]) -> float:
    """P(score of a positive > score of a negative) + P(equal) / 2, by the rank sum (Mann-Whitney U); tied scores
    share their mean rank.
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
