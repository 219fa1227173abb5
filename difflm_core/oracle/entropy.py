"""The exact entropy of a hidden Markov language.

What a reader knows after some words is a belief: a distribution over the hidden state. The chain rule gives

    H(x) = sum_i H(x_i | x_<i) = sum_i sum over beliefs b of  P(belief is b at i) * H(next word | b),

and many prefixes lead to the same belief ("the brown fox" and "the brown dog" leave a reader in the same place). So we
carry a list of distinct beliefs with their probabilities from word to word, and merge equal ones. A grammar has few; a
general hidden Markov model has one for every prefix, and then the sum is exponential and refused.
"""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

LIMIT = 20_000
DECIMALS = 11  # beliefs that agree this far count as equal: an error of about 1e-11 * S nats at most
ROWS_AT_ONCE = 32


def by_position(chain, L: int, limit: int = LIMIT) -> tuple[Float[Tensor, "L"], list[int]]:
    """H(x_i | x_<i) in nats for each position, and the number of distinct beliefs a reader can hold before each word.

    Raises RuntimeError if more than `limit` beliefs must be carried.
    """
    beliefs, weight = chain.initial[None], torch.ones(1, dtype=torch.float64)
    entropies, counts = [], []
    for i in range(L):
        counts.append(len(beliefs))
        entropies.append((weight * torch.special.entr(beliefs @ chain.emission).sum(-1)).sum())
        if i + 1 < L:
            beliefs, weight = merge(after_one_word(chain, beliefs, weight), limit)
    return torch.stack(entropies), counts


def after_one_word(chain, beliefs: Float[Tensor, "N S"], weight: Float[Tensor, "N"]) -> Iterator[tuple[Tensor, Tensor]]:
    """Every belief after every possible next word with its probability, a piece at a time."""
    for rows, row_weight in zip(beliefs.split(ROWS_AT_ONCE), weight.split(ROWS_AT_ONCE), strict=True):
        word_probability = rows @ chain.emission  # (n, V)
        which, word = (word_probability > 0).nonzero(as_tuple=True)
        probability = word_probability[which, word]
        filtered = rows[which] * chain.emission.T[word] / probability[:, None]  # Bayes: p(state | the word read)
        yield filtered @ chain.transition, row_weight[which] * probability


def merge(pieces: Iterable[tuple[Tensor, Tensor]],
          limit: int = LIMIT) -> tuple[Float[Tensor, "N S"], Float[Tensor, "N"]]:
    """Distinct beliefs with their probabilities added up. Raises RuntimeError if there are more than `limit`."""
    place, kept, groups, weights = {}, [], [], []
    for beliefs, weight in pieces:
        known = len(place)
        keys = (beliefs * 10**DECIMALS).round().long().numpy()
        group = torch.tensor([place.setdefault(key.tobytes(), len(place)) for key in keys])
        if len(place) > limit:
            raise RuntimeError(
                f"A reader of this language can hold more than {limit} different beliefs, so its entropy cannot be "
                "summed exactly; use fewer words, or average -log_prob over samples.")
        first_seen = torch.full((len(place),), len(group)).scatter_reduce_(0, group, torch.arange(len(group)), "amin")
        kept.append(beliefs[first_seen[known:]])
        groups.append(group)
        weights.append(weight)
    total = torch.zeros(len(place), dtype=torch.float64).index_add_(0, torch.cat(groups), torch.cat(weights))
    return torch.cat(kept), total
