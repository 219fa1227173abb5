"""From a readable grammar to a hidden Markov language.

A sentence has one of a few shapes; a shape is a list of slots; a slot lists its words, and may say which feature they
agree with: a determiner with the subject's number, a colour with the colour said before. One rule does the rest:

    a feature is drawn at the first slot that agrees with it, and remembered until the last one that does.

A hidden state is then (what may still come, what is remembered). Shapes that begin alike share their states until they
differ, and shapes that end alike share them from there, which keeps the matrices small.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import torch

from difflm_core.oracle.hmm import HiddenMarkovLanguage


@dataclass(frozen=True, eq=False)
class Slot:
    """One place in a sentence. `words` maps each value of the feature to its words, the most frequent first.

    A slot that agrees with nothing has one entry under "".
    """

    words: dict[str, list[str]]
    agrees_with: str | None = None


@dataclass(frozen=True)
class Grammar:
    """`shapes`: (probability, slots) each, all of one length. `features`: feature -> value -> its probability."""

    shapes: list[tuple[float, list[Slot]]]
    features: dict[str, dict[str, float]]

    @property
    def words(self) -> list[str]:
        """Every word once, in the order of first mention."""
        slots = [slot for _, shape in self.shapes for slot in shape]
        return list(dict.fromkeys(word for slot in slots for words in slot.words.values() for word in words))


def zipf(items: list[str]) -> dict[str, float]:
    """Probabilities proportional to 1 / rank: the first item is twice as likely as the second."""
    weights = [1 / rank for rank in range(1, len(items) + 1)]
    return {item: weight / sum(weights) for item, weight in zip(items, weights, strict=True)}


class State(NamedTuple):
    paths: tuple[tuple[float, tuple[Slot, ...]], ...]  # (probability, slots from here on); all begin with the same slot
    memory: tuple[tuple[str, str], ...]  # (feature, value), for features that this or a later slot needs

    @property
    def words(self) -> dict[str, float]:
        slot = self.paths[0][1][0]
        return zipf(slot.words[dict(self.memory)[slot.agrees_with] if slot.agrees_with else ""])


def entered(paths, memory, features):
    """(probability, State) for every state that can come next, given the paths still open and what is remembered."""
    for first in dict.fromkeys(slots[0] for _, slots in paths):
        group = [(p, slots) for p, slots in paths if slots[0] is first]
        total = sum(p for p, _ in group)
        group = tuple((p / total, slots) for p, slots in group)
        needed = {slot.agrees_with for _, slots in group for slot in slots}
        feature = first.agrees_with
        drawn = features[feature] if feature and feature not in dict(memory) else {None: 1.0}
        for value, probability in drawn.items():
            known = dict(memory) if value is None else {**dict(memory), feature: value}
            yield total * probability, State(group, tuple(sorted((f, v) for f, v in known.items() if f in needed)))


def build_language(grammar: Grammar) -> HiddenMarkovLanguage:
    """The grammar as matrices; after the last word of a sentence the next one begins, so every length is defined.

    Raises ValueError if the shapes differ in length.
    """
    lengths = {len(slots) for _, slots in grammar.shapes}
    if len(lengths) != 1:
        raise ValueError(f"The shapes have {sorted(lengths)} slots, but all must have the same number: the length.")
    start = tuple((p, tuple(slots)) for p, slots in grammar.shapes)
    numbers, edges = {}, []  # state -> its row; (from, to, probability), where from = None is the beginning
    queue = deque([None])
    while queue:
        state = queue.popleft()
        rest = tuple((p, slots[1:]) for p, slots in state.paths if slots[1:]) if state else ()
        memory = state.memory if rest else ()
        for probability, following in entered(rest or start, memory, grammar.features):
            if following not in numbers:
                numbers[following] = len(numbers)
                queue.append(following)
            edges.append((state, following, probability))
    return _matrices(grammar, numbers, edges, lengths.pop())


def _matrices(grammar: Grammar, numbers: dict, edges: list, length: int) -> HiddenMarkovLanguage:
    words = grammar.words
    ids = {word: i for i, word in enumerate(words)}
    S = len(numbers)
    initial, transition = torch.zeros(S, dtype=torch.float64), torch.zeros(S, S, dtype=torch.float64)
    emission = torch.zeros(S, len(words), dtype=torch.float64)
    for state, following, probability in edges:
        row = initial if state is None else transition[numbers[state]]
        row[numbers[following]] += probability
    for state, row in numbers.items():
        for word, probability in state.words.items():
            emission[row, ids[word]] = probability
    return HiddenMarkovLanguage(initial, transition, emission, words, length)
