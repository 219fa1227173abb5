"""k-means in plain torch, for quantising features: spread-out starts, Lloyd's steps, best of several restarts."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def kmeans(
    x: Float[Tensor, "N D"],
    clusters: int,
    generator: torch.Generator | None = None,
    restarts: int = 5,
    iterations: int = 100,
) -> tuple[Int[Tensor, "N"], Float[Tensor, "K D"]]:
    """(cluster of each point, centres) with the smallest sum of squared distances found.

    Starts after Arthur and Vassilvitskii 2007 (k-means++). K is `clusters`, or the number of distinct points if that is
    smaller. `generator` lives on the CPU. Memory O(N K).
    """
    if not 1 <= clusters <= len(x) or restarts < 1:
        raise ValueError(f"{clusters} clusters of {len(x)} points, {restarts} restarts: take 1 to {len(x)} clusters.")
    best = (torch.inf, torch.empty(0), torch.empty(0))
    for _ in range(restarts):
        centres = _spread_out(x, clusters, generator)
        place = _nearest(x, centres)
        for _ in range(iterations):
            centres, before = _means(x, place, centres), place
            place = _nearest(x, centres)
            if bool((place == before).all()):
                break
        total = (x - centres[place]).square().sum().item()
        if total < best[0]:
            best = (total, place, centres)
    return best[1], best[2]


def _spread_out(x: Tensor, clusters: int, generator: torch.Generator | None) -> Float[Tensor, "K D"]:
    """Points of x, each drawn with probability proportional to its squared distance from those drawn before."""
    draws = torch.rand(clusters, generator=generator, dtype=torch.float64).tolist()
    chosen = [int(draws[0] * len(x))]
    distance = (x - x[chosen[0]]).square().sum(1)
    for u in draws[1:]:
        below = distance.double().cumsum(0)
        if below[-1] == 0:  # nothing is left but copies of chosen points
            break
        chosen.append(min(int(torch.searchsorted(below, u * below[-1], right=True)), len(x) - 1))
        distance = torch.minimum(distance, (x - x[chosen[-1]]).square().sum(1))
    return x[chosen]


def _nearest(x: Tensor, centres: Float[Tensor, "K D"]) -> Int[Tensor, "N"]:
    """|x - c|^2 up to the |x|^2 that all centres share."""
    return torch.addmm(centres.square().sum(1), x, centres.T, alpha=-2).argmin(1)


def _means(x: Tensor, place: Int[Tensor, "N"], centres: Float[Tensor, "K D"]) -> Float[Tensor, "K D"]:
    """Mean of each cluster's points; a centre without points stays where it is."""
    sums = torch.zeros_like(centres).index_add_(0, place, x)
    counts = torch.bincount(place, minlength=len(centres))[:, None]
    return torch.where(counts > 0, sums / counts.clamp(min=1), centres)
