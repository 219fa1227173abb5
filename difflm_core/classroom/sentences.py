"""A sentence as a list of words, each with one mark that says what happened to it.

A mark is always shown twice: by a sign in the text (so that it survives without colour, in a terminal and in a screen
reader) and by a style. Signs:  ▢ masked · +new+ · [changed] · -taken back- · !broken! · right✓ · wrong✗
"""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import NamedTuple

KEPT, MASKED, NEW, CHANGED, BROKEN, RIGHT, WRONG = "kept", "masked", "new", "changed", "broken", "right", "wrong"
TAKEN = "taken"
MASK_SIGN = "▢"

# mark: (before the word, after the word, CSS, what the legend says)
MARKS = {
    KEPT: ("", "", "", ""),
    MASKED: ("", "", "background:#d9d9d9;color:#333", "masked"),
    NEW: ("+", "+", "font-weight:bold;border-bottom:2px solid #0072b2", "just revealed"),
    CHANGED: ("[", "]", "font-weight:bold;text-decoration:underline;background:#fbe3c8;color:#333", "changed"),
    TAKEN: ("-", "-", "text-decoration:line-through;background:#d9d9d9;color:#333", "taken back"),
    BROKEN: ("!", "!", "text-decoration:underline wavy #d55e00;font-style:italic", "breaks the sentence"),
    RIGHT: ("", "✓", "border-bottom:2px solid #009e73", "as in the original"),
    WRONG: ("", "✗", "border-bottom:2px dashed #d55e00;font-style:italic", "differs from the original"),
}


class Word(NamedTuple):
    """One token as shown: its text and its mark (one of the constants above)."""

    text: str
    mark: str = KEPT


Sentence = list[Word]


def sentence(ids: Iterable[int], decode: Callable[[int], str], mask_id: int) -> Sentence:
    """Token ids (L,) as words, masks marked. `decode(i)` is the text of one clean token, e.g. `words.__getitem__`."""
    return [Word(MASK_SIGN, MASKED) if int(i) == mask_id else Word(decode(int(i)).strip() or "␣") for i in ids]


def compared(ids: Iterable[int], before: Iterable[int], decode: Callable[[int], str], mask_id: int) -> Sentence:
    """`ids` as words, marked against an earlier state: NEW where a mask was filled, CHANGED where a word differs."""
    shown = []
    for word, i, old in zip(sentence(ids, decode, mask_id), ids, before, strict=True):
        if word.mark == KEPT and int(i) != int(old):
            word = word._replace(mark=NEW if int(old) == mask_id else CHANGED)
        shown.append(word)
    return shown


def graded(ids: Iterable[int], truth: Iterable[int], decode: Callable[[int], str], where: Iterable[bool]) -> Sentence:
    """`ids` as words, RIGHT or WRONG against `truth` at the positions `where`, unmarked elsewhere."""
    grades = [
        (RIGHT if int(i) == int(x) else WRONG) if ask else KEPT for i, x, ask in zip(ids, truth, where, strict=True)
    ]
    return [Word(decode(int(i)).strip() or "␣", mark) for i, mark in zip(ids, grades, strict=True)]


def marked(words: Sequence[Word], positions: Iterable[int], mark: str = BROKEN) -> Sentence:
    """The same words with `mark` put on the given positions (e.g. the two words whose agreement is broken)."""
    positions = set(positions)
    return [word._replace(mark=mark) if i in positions else word for i, word in enumerate(words)]


def trajectory(states: Iterable[Iterable[int]], decode: Callable[[int], str], mask_id: int) -> list[Sentence]:
    """Successive states (steps, L) of one sentence, each marked against the state before it."""
    states = [list(map(int, state)) for state in states]
    return [compared(now, old, decode, mask_id) for old, now in zip(states[:1] + states, states, strict=False)]


def signed(word: Word) -> str:
    """The word with the signs of its mark: `[fox]`, `fox✓`."""
    before, after, _, _ = MARKS[word.mark]
    return before + word.text + after


def to_text(words: Sequence[Word]) -> str:
    """The sentence as plain text, marks as signs."""
    return " ".join(map(signed, words))


def to_html(words: Sequence[Word]) -> str:
    """The sentence as HTML: the same signs, and a style on top of them."""
    return " ".join(
        f'<span style="{MARKS[word.mark][2]}">{escape(signed(word))}</span>' if word.mark != KEPT else escape(word.text)
        for word in words
    )


def legend(sentences: Iterable[Sequence[Word]]) -> str:
    """What the marks that occur mean, as plain text; empty if none occurs."""
    present = {word.mark for words in sentences for word in words}
    example = {MASKED: MASK_SIGN}
    return " · ".join(
        f"{signed(Word(example.get(mark, 'word'), mark))} {meaning}"
        for mark, (_, _, _, meaning) in MARKS.items()
        if mark in present and meaning
    )
