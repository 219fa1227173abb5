"""Forward-backward: exact likelihoods and posteriors of a hidden Markov model, many rows at once.

With seen[i, s] = sum_v emission[s, v] q(z_i | v), the probability that state s shows what is seen at position i,

    left[i]  = (left[i-1] * seen[i-1]) @ transition          past:    p(z_1..z_{i-1}, s_i)
    right[i] = transition @ (right[i+1] * seen[i+1])         future:  p(z_{i+1}..z_L | s_i)
    p(x_i = v | z)  proportional to  q(z_i | v) * sum_s left[i, s] right[i, s] emission[s, v].

(Rabiner 1989, Eqs. 18-27.) Both sweeps are matrix products in float64, rescaled at every step so that the largest
entry is 1. That is exact unless numbers below 1e-308 matter; such rows are noticed and done again with logarithms
(log_chain.py).
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.oracle import log_chain

ROWS_AT_ONCE = 4096
# left, seen and right have maximum 1 each. While sum_s left * seen * right stays above this, everything that rounding
# to zero can have lost (< 1e-200 after rescaling) is less than 1e-100 of the answer.
SAFE = 1e-100


class Chain(NamedTuple):
    initial: Float[Tensor, "S"]
    transition: Float[Tensor, "S S"]
    emission: Float[Tensor, "S V"]


def rescale(rows: Tensor) -> Tensor:
    return rows / rows.amax(-1, keepdim=True).clamp_min(1e-300)


def log_likelihood(chain: Chain, x: Int[Tensor, "B L"]) -> Float[Tensor, "B"]:
    """log p(x) in nats; -inf where no path of states emits x."""
    return torch.cat([_log_likelihood(chain, rows) for rows in x.split(ROWS_AT_ONCE)])


def _log_likelihood(chain: Chain, x: Int[Tensor, "B L"]) -> Float[Tensor, "B"]:
    word_rows = chain.emission.T.contiguous()  # (V, S)
    belief, total = chain.initial.expand(len(x), -1), 0.0
    doubtful = torch.zeros(len(x), dtype=torch.bool)
    for i in range(x.shape[1]):
        joint = belief * word_rows[x[:, i]]  # (B, S)
        probability = joint.sum(-1, keepdim=True)  # p(x_i | x_<i)
        total = total + probability.squeeze(1).log()
        filtered = joint / probability.clamp_min(1e-300)
        doubtful |= (probability.squeeze(1) < SAFE) | ((filtered > 0) & (filtered < 1e-200)).any(-1)
        belief = filtered @ chain.transition
    again = doubtful.nonzero().flatten()
    again = again[possible(chain, x[again])]
    total[doubtful] = -torch.inf
    if len(again):
        total[again] = log_chain.log_likelihood(chain, log_one_hot(x[again], chain.emission.shape[1]))
    return total


def log_one_hot(x: Int[Tensor, "B L"], V: int) -> Float[Tensor, "B L V"]:
    return torch.full((*x.shape, V), -torch.inf, dtype=torch.float64).scatter_(2, x[..., None], 0.0)


def possible(chain: Chain, x: Int[Tensor, "B L"]) -> Bool[Tensor, "B"]:
    """True where some path of states emits x."""
    can_emit = (chain.emission.T > 0).float()  # (V, S)
    return torch.cat([_reachable(chain, (can_emit[word] for word in rows.T)) for rows in x.split(ROWS_AT_ONCE)])


def _reachable(chain: Chain, shows: Iterable[Float[Tensor, "B S"]]) -> Bool[Tensor, "B"]:
    """True where a path leads through states that show what is seen: arithmetic on 0 and 1, so nothing underflows."""
    steps, ahead = (chain.transition > 0).float(), (chain.initial > 0).float()
    for shown in shows:  # one (B, S) table of 0 and 1 per position
        reached = ahead * shown
        ahead = (reached @ steps > 0).float()
    return reached.any(-1)


def posterior(chain: Chain, log_evidence: Float[Tensor, "B L V"],
              typo_rate: float = 0.0) -> tuple[Float[Tensor, "B L V"], Bool[Tensor, "B"]]:
    """p(x_i = v | z) and which rows no text can explain (their answer is meaningless).

    With typo_rate > 0 those rows are answered under evidence mixed with that much uniform noise; none is impossible.
    """
    answer, safe = scaled_posterior(chain, log_evidence)
    doubtful = (~safe).nonzero().flatten()
    evidence = log_evidence[doubtful]
    shows = ((evidence > -torch.inf).float() @ (chain.emission.T > 0).float() > 0).float()
    explained = _reachable(chain, shows.unbind(1))
    if explained.any():
        answer[doubtful[explained]] = log_chain.posterior(chain, evidence[explained])
    impossible = torch.zeros(len(answer), dtype=torch.bool)
    impossible[doubtful[~explained]] = True
    if typo_rate > 0 and impossible.any():
        answer[impossible] = posterior(chain, with_typos(log_evidence[impossible], typo_rate))[0]
        impossible[:] = False
    return answer, impossible


def with_typos(log_evidence: Float[Tensor, "B L V"], rate: float) -> Float[Tensor, "B L V"]:
    """Evidence as if what is seen were a random symbol with probability `rate`."""
    V = log_evidence.shape[-1]
    best = log_evidence.amax(-1, keepdim=True).nan_to_num(neginf=0.0)
    floor = torch.tensor(rate / V, dtype=torch.float64).log()
    return torch.logaddexp(log_evidence, best + floor)


def scaled_posterior(chain: Chain,
                     log_evidence: Float[Tensor, "B L V"]) -> tuple[Float[Tensor, "B L V"], Bool[Tensor, "B"]]:
    """The posterior by rescaled matrix products, and which rows are safe from underflow."""
    best = log_evidence.amax(-1, keepdim=True).nan_to_num(neginf=0.0)
    evidence = (log_evidence - best).exp()
    seen = rescale(evidence @ chain.emission.T)  # (B, L, S)
    left, right = torch.empty_like(seen), torch.empty_like(seen)
    left[:, 0], right[:, -1] = rescale(chain.initial), 1.0
    for i in range(1, seen.shape[1]):
        left[:, i] = rescale((left[:, i - 1] * seen[:, i - 1]) @ chain.transition)
        right[:, -1 - i] = rescale((right[:, -i] * seen[:, -i]) @ chain.transition.T)
    around = left.mul_(right)  # what the other positions say of the state here
    safe = ((around * seen).sum(-1) > SAFE).all(-1)
    answer = (around @ chain.emission).mul_(evidence)
    return answer.div_(answer.sum(-1, keepdim=True).clamp_min(1e-300)), safe
