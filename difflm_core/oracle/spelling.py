"""Ids to words and back, for a language whose words are a short list."""

from difflib import get_close_matches

import torch
from jaxtyping import Int
from torch import Tensor

MASK = "▢"


def encode(text: str, words: list[str]) -> Int[Tensor, "L"]:
    """Ids of space-separated words, "▢" for mask id V. Raises ValueError naming an unknown word and its neighbours."""
    ids = {word: i for i, word in enumerate([*words, MASK])}
    for word in text.split():
        if word not in ids:
            near = get_close_matches(word.lower(), words, n=3, cutoff=0.5)
            hint = f"the nearest are {', '.join(near)}" if near else "see language.words for all of them"
            raise ValueError(f"{word!r} is not a word of this language; {hint}.")
    return torch.tensor([ids[word] for word in text.split()], dtype=torch.long)


def decode(ids: Int[Tensor, "L"], words: list[str]) -> str:
    """Space-joined words of one row of ids in [0, V]; V is shown as "▢". Raises ValueError for other ids or shapes."""
    if ids.ndim != 1:
        raise ValueError(f"ids has shape {tuple(ids.shape)} but decode takes one row (L,); loop over the batch.")
    shown = [*words, MASK]
    for i in ids.tolist():
        if not 0 <= i <= len(words):
            raise ValueError(f"{i} is not an id of this language; ids lie in [0, {len(words)}], the last is the mask.")
    return " ".join(shown[i] for i in ids.tolist())
