"""What several kinds of noise make of one sentence, as rows of a table and as HTML.

A kind of noise is a function `corrupt(ids (1, L), t, generator) -> ids (1, L)`. It is called with a fresh generator of
one seed each time: if it draws the same numbers at every t, as the processes of the course do, a larger t only destroys
more of the same picture.
"""

from collections.abc import Callable
from html import escape

import torch
from jaxtyping import Int
from torch import Tensor

from difflm_core.classroom.fills import PER_LINE, STYLE, Decode, cell
from difflm_core.classroom.sentences import CHANGED, MASKED, Sentence, compared, signed

Corrupt = Callable[[Int[Tensor, "1 L"], float, torch.Generator], Int[Tensor, "1 L"]]


def corrupted(corrupt: Corrupt, x: Int[Tensor, "L"], t: float, decode: Decode, mask_id: int, seed: int = 0) -> Sentence:
    """The sentence at noise level t as words, masked and changed ones marked."""
    z_t = corrupt(x[None], t, torch.Generator().manual_seed(seed))
    if tuple(z_t.shape) != (1, len(x)):
        raise ValueError(
            f"A kind of noise turns ids (1, {len(x)}) into ids of the same shape, this one returned "
            f"{tuple(z_t.shape)}: round vectors to token ids first."
        )
    return compared(z_t[0], x, decode, mask_id)


def left_over(words: Sentence) -> str:
    """How much survived: `8 of 12 kept, 3 masked, 1 replaced`."""
    masked, replaced = (sum(word.mark == mark for word in words) for mark in (MASKED, CHANGED))
    parts = [f"{len(words) - masked - replaced} of {len(words)} kept"]
    return ", ".join(parts + [f"{n} {what}" for n, what in ((masked, "masked"), (replaced, "replaced")) if n])


def static_rows(
    kinds: dict[str, Corrupt], x: Int[Tensor, "L"], times, decode: Decode, mask_id: int, seed: int = 0
) -> list[tuple[str, Sentence, str]]:
    """The static twin: one row of `samples_table` for each kind and each t."""
    states = {
        (kind, t): corrupted(corrupt, x, t, decode, mask_id, seed) for kind, corrupt in kinds.items() for t in times
    }
    return [(f"{kind}, t = {t:.2f}", words, left_over(words)) for (kind, t), words in states.items()]


def corruption_html(kind: str, t: float, clean: Sentence, noisy: Sentence) -> str:
    """The live picture: the sentence above what is left of it, in tables of at most PER_LINE positions."""
    parts = []
    for start in range(0, len(clean), PER_LINE):
        place = slice(start, start + PER_LINE)
        above = "".join(cell(word.text, "") for word in clean[place])
        below = "".join(
            cell(signed(word), {MASKED: "mask", CHANGED: "wrong"}.get(word.mark, "")) for word in noisy[place]
        )
        parts.append(
            f'<table><tr><th scope="row">sentence</th>{above}</tr><tr><th scope="row">noisy</th>{below}</tr></table>'
        )
    line = f"{escape(kind)}, t = {t:.2f}: {left_over(noisy)}"
    return f'{STYLE}<div class="difflm-fill"><p role="status">{line}</p>{"".join(parts)}</div>'
