"""Text that somebody types into a widget: read it, or say in one sentence what is wrong with it.

A widget never shows a traceback. `answered` draws what it can and shows the message of a ValueError in its place.
"""

from collections.abc import Callable, Sequence
from html import escape

import ipywidgets as controls
from jaxtyping import Int
from torch import Tensor

from difflm_core.oracle import HiddenMarkovLanguage

LONGEST = 400  # characters
NO_MODEL = "There is no model yet: run the cell that loads or trains it, then this one again."


def read_sentence(text: str, language: HiddenMarkovLanguage, most: int | None = None) -> Int[Tensor, "L"]:
    """Ids of a typed sentence of at most `most` words (default: the language's usual length), all clean.

    Capitals and a full stop at the end are forgiven. Raises ValueError for nothing, too much, or words that the
    language does not have (an emoji is one).
    """
    most = most or language.length
    if len(text) > LONGEST:
        raise ValueError(f"That is a text of {len(text):,} characters: type one sentence of at most {most} words.")
    words = text.lower().strip().rstrip(".!?").split()
    if not words:
        raise ValueError("There is no word yet: type a sentence, such as: the great brown fox hops over the lazy dog.")
    if len(words) > most:
        raise ValueError(f"The sentence has {len(words)} words, and at most {most} can be shown: leave some out.")
    ids = language.encode(" ".join(words))
    if bool((ids == language.mask_id).any()):
        raise ValueError("The sentence holds a mask, and only clean words can be read here: type a word in its place.")
    return ids


def problem(message: str) -> str:
    """The message where the picture would be; a screen reader says it at once."""
    return f'<p role="alert" style="border-left:4px solid #d55e00;padding-left:8px">{escape(message)}</p>'


def answered(inputs: Sequence[controls.Widget], html: Callable[[], str]) -> controls.VBox:
    """The inputs above a picture, drawn anew whenever one of them changes."""
    picture = controls.HTML()

    def draw(_=None) -> None:
        try:
            picture.value = html()
        except ValueError as error:
            picture.value = problem(str(error))

    for control in inputs:
        control.observe(draw, "value")
    draw()
    return controls.VBox([*inputs, picture])
