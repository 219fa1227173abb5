"""Exercise 11.2: block diffusion's three-part mask for [noisy copy, clean copy]."""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.models.block_attention import training_mask

SHAPES = [(6, 2), (4, 4), (5, 1), (9, 3)]


def parts(where: Tensor, L: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Who asks, who is seen: noisy-noisy, noisy-clean, clean-noisy, clean-clean."""
    return where[:L, :L], where[:L, L:], where[L:, :L], where[L:, L:]


NAMES = (
    "a noisy token sees the noisy tokens of its own block",
    "a noisy token sees the clean tokens of earlier blocks",
    "a clean token sees no noisy one",
    "a clean token sees the clean ones of its own and of earlier blocks",
)


def test(who_sees_whom):
    for L, size in SHAPES:
        where = who_sees_whom(L, size)
        assert isinstance(where, Tensor) and where.shape == (2 * L, 2 * L) and where.dtype == torch.bool, (
            f"Return booleans shaped {(2 * L, 2 * L)} for L = {L}: rows ask, columns are seen, noisy copy first."
        )
        for name, mine, truth in zip(NAMES, parts(where, L), parts(training_mask(L, size), L)):
            assert torch.equal(mine, truth), f"L = {L}, blocks of {size}: one quarter is not right. There {name}."


def like(*quarters):
    """A probe by example; each quarter is a function of the two block numbers and the two positions."""

    def probe(who_sees_whom):
        for L, size in SHAPES:
            b, i = torch.arange(L) // size, torch.arange(L)
            a = (b[:, None], b[None], i[:, None], i[None])
            wrong = [quarter(*a) for quarter in quarters]
            wrong = torch.cat([torch.cat(wrong[:2], 1), torch.cat(wrong[2:], 1)])
            if not torch.equal(who_sees_whom(L, size).bool(), wrong):
                return False
        return True

    return probe


def same(q, k, i, j):
    return q == k


def before(q, k, i, j):
    return q > k


def upto(q, k, i, j):
    return q >= k


def never(q, k, i, j):
    return torch.zeros_like(q == k)


def causal(q, k, i, j):
    return i >= j


MISTAKES = [
    (
        like(same, upto, never, upto),
        "A noisy token sees the clean tokens of its *own* block: the answer leaks into the question. Earlier blocks"
        " only (b_q > b_k, not >=).",
    ),
    (
        like(upto, before, never, upto),
        "Noisy tokens see the noise of earlier blocks. In sampling those are finished: show the clean copy instead.",
    ),
    (
        like(upto, never, never, upto),
        "The noisy half reads earlier blocks as they are in the noise, and never the clean copy, which is there for"
        " that.",
    ),
    (
        like(same, never, never, upto),
        "The noisy blocks see nothing of what came before: each is written as if it were alone.",
    ),
    (
        like(same, before, before, upto),
        "Clean tokens look at noisy ones. Their keys and values are what the cache will hold, and there is no noise"
        " then.",
    ),
    (
        like(same, before, never, same),
        "A clean token sees its own block only. It must also see the clean blocks before, or the cache is another one.",
    ),
    (
        like(same, before, never, causal),
        "Inside a clean block you are causal. A finished block is read as a whole: every token sees all of its block.",
    ),
    (
        like(causal, before, never, upto),
        "Inside a noisy block you are causal: that gives up what diffusion is for. All tokens of a block see each"
        " other.",
    ),
    (
        like(upto, never, before, same),
        "The clean copy stands first in your mask. Put the noisy one first, in rows and in columns.",
    ),
    (
        lambda f: all(torch.equal(f(L, size).bool().T, training_mask(L, size)) for L, size in SHAPES),
        "Transposed: the row is who asks, the column who is seen.",
    ),
]


def reference(L: int, size: int) -> Tensor:
    b, noisy = (torch.arange(L) // size).repeat(2), torch.arange(2 * L) < L
    q, k, q_noisy, k_noisy = b[:, None], b[None], noisy[:, None], noisy[None]
    return torch.where(q_noisy, torch.where(k_noisy, q == k, q > k), ~k_noisy & (q >= k))


ex11_2 = Check(
    "11.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "block = torch.arange(L) // size gives each position its block. Four quarters of (L, L): who asks, who is"
        " seen.",
        "noisy-noisy: same block. noisy-clean: earlier block. clean-noisy: never. clean-clean: same or earlier.",
        "same, earlier = block[:, None] == block, block[:, None] > block; torch.cat puts the quarters together.",
    ],
    reference=reference,
    praise="One pass trains all blocks at once, each as if it were the one being written.",
)
