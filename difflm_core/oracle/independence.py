"""The language as a reader sees it who looks at each position alone: what one-step parallel sampling draws from."""

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.oracle.entropy import merge


def marginals(chain, L: int) -> Float[Tensor, "L V"]:
    """p(x_i = v) for each position."""
    state, rows = chain.initial, []
    for _ in range(L):
        rows.append(state @ chain.emission)
        state = state @ chain.transition
    return torch.stack(rows)


def grammatical_chance(chain, words: Float[Tensor, "L V"]) -> float:
    """Exact probability that a text with word i drawn from words[i], independently, is one the language can produce.

    As the entropy sums over beliefs, this sums over the sets of states that a prefix may have reached; a set that is
    empty is a broken sentence and its probability is dropped. Raises RuntimeError if there are too many sets.
    """
    emits, steps = (chain.emission.T > 0).double(), (chain.transition > 0).double()
    reached, weight = (chain.initial > 0).double()[None], torch.ones(1, dtype=torch.float64)
    for word_probability in words:
        likely = word_probability.nonzero().flatten()
        showing = reached[:, None] * emits[likely]  # (N, words, S)
        which, word = showing.any(-1).nonzero(as_tuple=True)
        if len(which) == 0:
            return 0.0
        after = (showing[which, word] @ steps > 0).double()
        reached, weight = merge([(after, weight[which] * word_probability[likely[word]])])
    return weight.sum().item()
