"""Several tokens in one call: rules that stop where the network's separate answers stop being trustworthy together.

Tokens revealed in one call are drawn independently of each other. Their joint law lies sum H_i - H(joint) nats away in
KL divergence, which is at most the sum of their entropies without the largest, since H(joint) is at least that one.
`entropy_bound` spends a budget of this (arXiv 2505.24857). `sure_enough` looks at each token alone (Fast-dLLM, Wu et
al. 2025): where n likeliest tokens are each wrong with probability below 1 / (2n), all are right with more than 1/2,
and so they are the likeliest text.

Both rules follow from the page alone, as those of orders.py do, so `evaluation.order_nll` gives the likelihood of the
texts they write. `at_random` does not, and is here because it is exact one token at a time.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from difflm_core.samplers.orders import OrderRule, check_count, largest


def at_random(count: int = 1, generator: torch.Generator | None = None) -> OrderRule:
    """`count` positions, all equally likely. With one per call this is `first_hitting` for a network without a time
    input: exact. (Not a deterministic order: `order_nll` is not its likelihood.)
    """
    check_count(count)
    return lambda masked, log_p: largest(
        torch.rand(masked.shape, generator=generator, device=masked.device), masked, count
    )


def sure_enough(p: float = 0.9) -> OrderRule:
    """Every position whose likeliest token has probability above p, and at least the surest. `plans.threshold` judges
    the drawn token instead.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"The threshold is a probability in [0, 1], got {p}.")

    def rule(masked, log_p):
        best = log_p.amax(-1)
        return masked & (best.exp() > p) | largest(best, masked, 1)

    return rule


def entropy_bound(bound: float = 0.1) -> OrderRule:
    """The k positions of lowest entropy, k as large as the sum of the k - 1 lowest entropies stays within `bound`
    nats. At bound 0 one position, unless some tokens are certain.
    """
    check_bound(bound)
    return lambda masked, log_p: within_bound(torch.special.entr(log_p.exp()).sum(-1), masked, bound)


def within_bound(entropy: Float[Tensor, "B L"], open: Bool[Tensor, "B L"], bound: float) -> Bool[Tensor, "B L"]:
    """Which of the `open` positions are taken: from the lowest entropy up, as long as those before it sum to at most
    `bound`. Of equal ones the leftmost first; at least one, where there is one.
    """
    ordered, order = entropy.masked_fill(~open, torch.inf).sort(dim=1, stable=True)
    before = torch.cat([torch.zeros_like(ordered[:, :1]), ordered[:, :-1].cumsum(1)], dim=1)
    return open & torch.zeros_like(open).scatter(1, order, before <= bound)


def check_bound(bound: float) -> None:
    if not bound >= 0:
        raise ValueError(f"The entropy bound is a number of nats, at least 0, got {bound}.")
