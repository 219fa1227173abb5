"""Which rule of a slot grammar a sentence breaks, so that a lesson can count what goes wrong, not only how often."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from difflm_core.oracle.checks import check_ids
from difflm_core.oracle.slot_grammar import Grammar


def broken_rules(grammar: Grammar, x: Int[Tensor, "B L"]) -> dict[str, Bool[Tensor, "B"]]:
    """Which rules each sentence breaks: "word order", and one entry per feature ("subject number", "colour", ...).

    A sentence is held against the shape that most of its words fit (the first of equals). Order is broken if a word
    does not fit its slot there; a feature is broken if the words that do fit cannot all agree on one value of it.
    """
    words, L = grammar.words, len(grammar.shapes[0][1])
    x = check_ids(x, len(words))
    if x.shape[1] != L:
        raise ValueError(f"x has {x.shape[1]} words a row but the rules are about sentences of exactly {L}.")
    verdicts = [_against_shape(slots, words, grammar.features, x) for _, slots in grammar.shapes]
    misfits = torch.stack([verdict[0] for verdict in verdicts])  # (shapes, B)
    best = misfits.argmin(0, keepdim=True)
    broken = torch.stack([verdict[1] for verdict in verdicts])  # (shapes, features, B)
    broken = broken.gather(0, best[:, None].expand(1, *broken.shape[1:]))[0]
    return {"word order": misfits.amin(0) > 0, **dict(zip(grammar.features, broken, strict=True))}


def _against_shape(slots, words, features, x) -> tuple[Int[Tensor, "B"], Bool[Tensor, "F B"]]:
    """How many words do not fit their slot, and which features are broken among those that do."""
    columns = list(zip(slots, x.T))
    fits = [is_one_of(sum(slot.words.values(), []), words)[column] for slot, column in columns]  # L times (B,)
    broken = []
    for feature, values in features.items():
        possible = torch.zeros(len(x), dtype=torch.bool)
        for value in values:
            agrees = torch.ones(len(x), dtype=torch.bool)
            for (slot, column), fit in zip(columns, fits):
                if slot.agrees_with == feature:
                    agrees &= is_one_of(slot.words[value], words)[column] | ~fit
            possible |= agrees
        broken.append(~possible)
    return (~torch.stack(fits)).sum(0), torch.stack(broken)


def is_one_of(some: list[str], words: list[str]) -> Bool[Tensor, "V"]:
    return torch.tensor([word in some for word in words])
