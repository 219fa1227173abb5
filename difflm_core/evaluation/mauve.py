"""MAUVE, written from the paper (Pillutla et al. 2021, arXiv 2102.01454): two sets of texts as two distributions.

Features of all texts are quantised together; P and Q are the shares of human and of generated texts in each cluster.
No single divergence sees both kinds of error, texts no human writes and human texts the model never writes, so all
mixtures R = lambda P + (1 - lambda) Q are asked, and the area under

    ( exp(-c KL(Q | R)),  exp(-c KL(P | R)) ),   lambda in (0, 1),

is the score: 1 for equal P and Q, 1 / binomial(2c, c) for disjoint ones. Few texts, another number of clusters or other
features give another scale: compare within one table only, and beside human text against human text.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.evaluation.kmeans import kmeans


@dataclass(frozen=True, eq=False)
class Mauve:
    """The score in (0, 1], its curve, and the two histograms behind it."""

    score: float
    curve: Float[Tensor, "points 2"]
    p: Float[Tensor, "K"]
    q: Float[Tensor, "K"]


def mauve(
    human: Float[Tensor, "N D"],
    generated: Float[Tensor, "M D"],
    generator: torch.Generator | None = None,
    clusters: int | None = None,
    scale: float = 5.0,
    restarts: int = 5,
) -> Mauve:
    """MAUVE of two sets of features (see `judge.judge_features`).

    Features are brought to unit length; then follow the settings of the authors' package: principal components for
    90 % of the variance, min(N, M) / 10 clusters, best of 5 restarts, 25 mixtures, c = 5. They advise thousands of
    texts. `generator` lives on the CPU. Raises ValueError for sets that do not fit together.
    """
    if human.ndim != 2 or generated.ndim != 2 or human.shape[1] != generated.shape[1]:
        raise ValueError(
            f"Features of shapes {tuple(human.shape)} and {tuple(generated.shape)}: give two sets from one network."
        )
    fewest = min(len(human), len(generated))
    clusters = max(2, round(fewest / 10)) if clusters is None else clusters
    if not 2 <= clusters <= fewest:
        raise ValueError(f"{clusters} clusters for {len(human)} and {len(generated)} texts: take 2 to {fewest}.")
    x = torch.cat([human, generated]).float().cpu()
    if not bool(x.isfinite().all()):
        raise ValueError("Some features are not finite: look at the texts, or at the network's precision.")
    x = x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
    place, _ = kmeans(principal_components(x), clusters, generator, restarts)
    p, q = (torch.bincount(some, minlength=clusters).double() for some in place.split([len(human), len(generated)]))
    curve = divergence_curve(p / p.sum(), q / q.sum(), scale)
    return Mauve(area_under(curve), curve, p / p.sum(), q / q.sum())


def divergence_curve(
    p: Float[Tensor, "K"], q: Float[Tensor, "K"], scale: float = 5.0, points: int = 25
) -> Float[Tensor, "points 2"]:
    """(exp(-c KL(q | r)), exp(-c KL(p | r))) for `points` mixtures r, lambda from 0 to 1, between (1, 0) and (0, 1).

    p, q: probabilities of K clusters. Raises ValueError for what is no pair of distributions.
    """
    for some in (p, q):
        if some.shape != p.shape or bool((some < 0).any()) or abs(float(some.sum()) - 1) > 1e-6:
            raise ValueError("p and q must be two distributions over the same clusters.")
    if scale <= 0 or points < 2:
        raise ValueError(f"scale = {scale} and points = {points}: take a positive scale and 2 points or more.")
    p, q = p.double(), q.double()
    mix = torch.linspace(1e-6, 1 - 1e-6, points, dtype=torch.float64)[:, None]
    r = mix * p + (1 - mix) * q
    divergences = torch.stack([_kl(q, r), _kl(p, r)], 1)
    ends = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    return torch.cat([ends[:1], (-scale * divergences).exp(), ends[1:]])


def area_under(curve: Float[Tensor, "points 2"]) -> float:
    """Area between the curve and the axes by trapezoids; the first coordinate falls along the curve."""
    x, y = curve.unbind(1)
    return torch.trapezoid(y.flip(0), x.flip(0)).item()


def principal_components(x: Float[Tensor, "N D"], keep: float = 0.9) -> Float[Tensor, "N d"]:
    """x without its mean, in the fewest principal directions that hold the share `keep` of its variance."""
    if not 0 < keep <= 1:
        raise ValueError(f"keep = {keep}: the share of variance lies in (0, 1].")
    centred = (x - x.mean(0)).double()
    variance, directions = torch.linalg.eigh(centred.T @ centred)  # ascending
    held = variance.flip(0).clamp(min=0).cumsum(0)
    d = min(int((held < keep * held[-1] * (1 - 1e-12)).sum()) + 1, x.shape[1])
    return (centred @ directions.flip(1)[:, :d]).to(x.dtype)


def _kl(p: Float[Tensor, "K"], r: Float[Tensor, "points K"]) -> Float[Tensor, "points"]:
    """KL(p | r) in nats for each row of r, which is positive wherever p is."""
    return torch.where(p > 0, p * (p / r).log(), 0.0).sum(1)
