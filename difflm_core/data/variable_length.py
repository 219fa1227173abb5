"""Sentences of different lengths on one canvas: the toy language with parts that may be missing, END and PAD.

    the foxes hop . _ _ _ _ _ _ _ _ _ _
    a great brown fox hops over the lazy dog with its brown cub .

A model with a fixed canvas knows length only through these two tokens, which are words like any other. That is what
makes length controllable without a classifier: hold END at the wanted place and PAD behind it, and let the model write
the rest, as in infilling (Li et al. 2022, section 5). The language is a hidden Markov language like its parent, so all
its probabilities are exact.
"""

from functools import cache
from itertools import product

import torch
from jaxtyping import Int
from torch import Tensor

from difflm_core.data.toy_language import (
    ADJ,
    COLOUR,
    COMPANION,
    DET,
    FEATURES,
    LINK,
    NOUN,
    ODET,
    ONOUN,
    POSS,
    PREP,
    VERB,
)
from difflm_core.oracle.hmm import HiddenMarkovLanguage
from difflm_core.oracle.slot_grammar import Grammar, Slot, build_language

END, PAD = ".", "_"
LENGTH = 14  # 13 words and END

# Parts of a sentence, in order; for each the ways to say it, with their probabilities.
PARTS = [
    [(1.0, [DET])],
    [(0.5, []), (0.5, [ADJ])],
    [(0.5, []), (0.5, [COLOUR])],
    [(1.0, [NOUN, VERB])],
    [(0.3, []), (0.4, [PREP, ODET, ONOUN]), (0.3, [PREP, ODET, ADJ, ONOUN])],
    [(0.5, []), (0.5, [LINK, POSS, COLOUR, COMPANION])],
]


@cache
def variable_length_grammar() -> Grammar:
    """24 shapes of 3 to 13 words, each with END behind it and PAD to the end of the canvas."""
    end, pad = Slot({"": [END]}), Slot({"": [PAD]})
    shapes = []
    for parts in product(*PARTS):
        slots = [slot for _, part in parts for slot in part] + [end]
        probability = torch.tensor([p for p, _ in parts]).double().prod().item()
        shapes.append((probability, slots + [pad] * (LENGTH - len(slots))))
    return Grammar(shapes, FEATURES)


@cache
def variable_length_language() -> HiddenMarkovLanguage:
    """The exact language of these sentences: canvas of 14, built once and shared."""
    return build_language(variable_length_grammar())


def text_length(language: HiddenMarkovLanguage, x: Int[Tensor, "B L"]) -> Int[Tensor, "B"]:
    """Words before the first END; L where there is none."""
    ends = x == language.encode(END)
    return torch.where(ends.any(-1), ends.long().argmax(-1), x.shape[1])


def length_prompt(language: HiddenMarkovLanguage, lengths: Int[Tensor, "B"]) -> Int[Tensor, "B L"]:
    """A canvas for each wanted number of words: masks (V) to be written, END, PAD. Any sampler takes it as a prompt.

    Raises ValueError for a length that leaves no place for a word or for END.
    """
    L = language.length
    if len(lengths) and not 1 <= int(lengths.min()) <= int(lengths.max()) <= L - 1:
        raise ValueError(
            f"A canvas of {L} holds 1 to {L - 1} words and END, got lengths from {int(lengths.min())} to "
            f"{int(lengths.max())}."
        )
    place, lengths = torch.arange(L, device=lengths.device), lengths[:, None]
    end, pad = language.encode(f"{END} {PAD}").tolist()
    canvas = torch.where(place < lengths, language.V, pad)
    return canvas.masked_fill(place == lengths, end)
