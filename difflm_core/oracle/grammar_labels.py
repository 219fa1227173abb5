"""The value of a feature in a sentence (is the subject one or many? which colour?), read by a grammar's rules."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from difflm_core.oracle.checks import check_ids
from difflm_core.oracle.grammar_rules import is_one_of
from difflm_core.oracle.slot_grammar import Grammar, Slot


def feature_value(grammar: Grammar, feature: str, x: Int[Tensor, "B L"]) -> Int[Tensor, "B"]:
    """Which of `grammar.features[feature]` each sentence has, by its place in that list, or -1.

    As in `broken_rules`, a sentence is held against the shape that most of its words fit (the first of equals), and
    only words that fit count. -1 means that they contradict each other, or that they leave the value open. Raises
    ValueError for an unknown feature or another length.
    """
    if feature not in grammar.features:
        raise ValueError(f"This grammar has no feature {feature!r}; it has {', '.join(grammar.features)}.")
    words, L = grammar.words, len(grammar.shapes[0][1])
    x = check_ids(x, len(words))
    if x.shape[1] != L:
        raise ValueError(f"x has {x.shape[1]} words a row but the rules are about sentences of exactly {L}.")
    verdicts = [
        possible_values(slots, words, feature, list(grammar.features[feature]), x) for _, slots in grammar.shapes
    ]
    best = torch.stack([misfits for misfits, _ in verdicts]).argmin(0)  # (B,)
    possible = torch.stack([allowed for _, allowed in verdicts])[best, torch.arange(len(x))]  # (B, values)
    return torch.where(possible.sum(-1) == 1, possible.long().argmax(-1), -1)


def possible_values(
    slots: list[Slot], words: list[str], feature: str, values: list[str], x: Int[Tensor, "B L"]
) -> tuple[Int[Tensor, "B"], Bool[Tensor, "B values"]]:
    """How many words do not fit their slot, and which values the words that fit allow; none if no such word speaks of
    the feature.
    """
    fits = torch.stack([is_one_of(sum(slot.words.values(), []), words)[column] for slot, column in zip(slots, x.T)])
    allowed = torch.ones(len(x), len(values), dtype=torch.bool)
    for slot, column, fit in zip(slots, x.T, fits):
        if slot.agrees_with == feature:
            agrees = torch.stack([is_one_of(slot.words[value], words)[column] for value in values], -1)
            allowed &= agrees | ~fit[:, None]
    return (~fits).sum(0), allowed
