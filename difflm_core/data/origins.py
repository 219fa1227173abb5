"""Where a corpus comes from: a hub dataset or the user's own files, its tokenizer, and which texts are held out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from tokenizers import Tokenizer

from difflm_core.data.corpora import hub, local_text
from difflm_core.data.tokenizers import bpe_tokenizer, character_tokenizer

HELD_OUT = 0.05  # share of one's own text, its end
LEARNED_FROM = 200_000  # documents that a tokenizer is learned from


@dataclass(frozen=True)
class Origin:
    """Exactly one of `hub` and `text`; tokens are those of `tokenizer` (a name of the hub, or a tokenizer.json), of a
    byte-level BPE learned from the text (`bpe` tokens), or else characters.
    """

    hub: str = ""
    """A dataset of the Hugging Face hub, NAME or NAME:CONFIGURATION."""
    text: Path | None = None
    """Your own UTF-8 text, a file or a folder of .txt files."""
    column: str = "text"
    """The hub dataset's column with the words."""
    train: str = "train"
    """The hub dataset's training texts: a split, or part of one, as train[:-100000]."""
    held_out: str = "test"
    """The hub dataset's texts that are kept for evaluation."""
    streaming: bool = False
    """Read the hub dataset as it comes, without a copy on this disk; splits must then be whole ones."""
    piece: int | None = None
    """Cut one's own text into documents of so many characters; otherwise a blank line ends a document."""
    tokenizer: str | None = None
    bpe: int | None = None
    alphabet: str | None = None
    """All characters of a character tokenizer, where they are known before the text is read."""

    def check(self) -> None:
        """ValueError for settings that contradict each other."""
        if bool(self.hub) == (self.text is not None):
            raise ValueError(
                "Name one source: a dataset of the hub (--hub NAME) or your own text (--text PATH), or a known corpus: "
                f"{', '.join(CORPORA)}."
            )
        if self.text is not None and not self.text.exists():
            raise ValueError(f"There is no file or folder {self.text}: name your text with --text PATH.")
        if sum(value is not None for value in (self.tokenizer, self.bpe, self.alphabet)) > 1:
            raise ValueError("Choose one of tokenizer, bpe and alphabet.")
        if self.piece is not None and self.piece < 1:
            raise ValueError(f"A piece has at least one character, got piece = {self.piece}.")

    def documents(self, part: str) -> Iterator[str]:
        """The texts of the part "train" or "held_out", in an order that never changes."""
        if self.hub:
            split = self.train if part == "train" else self.held_out
            yield from from_hub(hub(self.hub, split, self.column, self.streaming))
            return
        texts = self._own_texts()
        border = len(texts) - max(1, round(HELD_OUT * len(texts)))
        if border < 1:
            raise ValueError(
                f"{self.text} holds one document only: none would be left to train on. Give a piece length."
            )
        yield from texts[:border] if part == "train" else texts[border:]

    def _own_texts(self) -> list[str]:
        texts = local_text(self.text, paragraphs=self.piece is None)["text"]
        if self.piece is None:
            return list(texts)
        return [text[i : i + self.piece] for text in texts for i in range(0, len(text), self.piece)]

    def make_tokenizer(self) -> Tokenizer:
        """Characters come from all texts (an alphabet is no secret), a BPE from the first training texts."""
        if self.tokenizer is not None:
            return named_tokenizer(self.tokenizer)
        if self.bpe is not None:
            return bpe_tokenizer(islice(self.documents("train"), LEARNED_FROM), self.bpe)
        everything: Iterable[str] = chain(self.documents("train"), self.documents("held_out"))
        return character_tokenizer(self.alphabet or everything)


def from_hub(dataset) -> Iterator[str]:
    """The texts of a dataset. Raises ConnectionError where a stream breaks off."""
    try:
        for rows in dataset.iter(batch_size=1000):
            yield from rows["text"]
    except OSError as error:  # so are all that a network raises here
        raise ConnectionError(f"The hub's texts broke off ({error}): the same command goes on.") from error


def named_tokenizer(name: str) -> Tokenizer:
    """A tokenizer.json on this disk, or one of the hub. Raises ConnectionError where it cannot be had."""
    try:
        return Tokenizer.from_file(name) if Path(name).is_file() else Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises a bare Exception here
        raise ConnectionError(f"Tokenizer {name!r} could not be had from the hub: {error}") from error


CORPORA = {
    "owt-gpt2": Origin(
        hub="Skylion007/openwebtext", train="train[:-100000]", held_out="train[-100000:]", tokenizer="gpt2"
    ),
    "lm1b-bert": Origin(hub="billion-word-benchmark/lm1b", tokenizer="bert-base-uncased"),
    "text8": Origin(text=Path("text8"), piece=100_000, alphabet=" abcdefghijklmnopqrstuvwxyz"),
}
"""What the recipes of the papers train on. OpenWebText: the last 100,000 documents are held out, as in MDLM's code.
text8: the unpacked file of that name (100 million characters); its last 5 per cent are the test set of the papers,
whose validation part (the 5 per cent before) is trained on here.
"""
