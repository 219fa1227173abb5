"""Where training batches come from: the toy language, which never runs out, or a corpus cut into rows with some texts
held out.

A source says its vocabulary `V` and its `length`, gives endless training batches and a fixed list of evaluation
batches, and turns ids back into text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from difflm_core import data
from difflm_core.data.origins import named_tokenizer
from difflm_core.data.padded import frequent_words_tokenizer, pad
from difflm_core.data.prepare import prepared_folder
from difflm_core.data.toy_language import toy_language


@dataclass(frozen=True)
class ToyLanguage:
    """Exact samples from the toy language; its entropy is known, so a bound has something to be compared with."""

    held_out: int = 4096

    @property
    def V(self) -> int:
        return toy_language().V

    @property
    def length(self) -> int:
        return toy_language().length

    def nats_per_token(self) -> float | None:
        """The entropy: the best that any model can do."""
        return toy_language().entropy() / self.length

    def train(self, batch_size: int, generator: torch.Generator) -> Iterator[Int[Tensor, "B L"]]:
        return data.language_batches(toy_language(), batch_size, generator)

    def evaluation(self) -> list[Int[Tensor, "B L"]]:
        return list(toy_language().sample(self.held_out, generator=torch.Generator().manual_seed(1234)).split(512))

    def tokenizer(self) -> Tokenizer:
        return data.word_tokenizer(toy_language().words)

    def decode(self, ids: Int[Tensor, "L"]) -> str:
        return toy_language().decode(ids)


class Corpus:
    """What every corpus source does with its `texts()`, `length` and `bpe` (tokens of a byte-level BPE; None:
    characters).
    """

    length: int
    bpe: int | None
    held_out: int

    @property
    def V(self) -> int:
        return self.tokenizer().get_vocab_size()

    def nats_per_token(self) -> float | None:
        """Nobody knows the entropy of real text."""
        return None

    def train(self, batch_size: int, generator: torch.Generator) -> Iterator[Int[Tensor, "B L"]]:
        return data.batches(prepared(self)[0], batch_size, generator)

    def evaluation(self) -> list[Int[Tensor, "B L"]]:
        return list(data.in_one_pass(prepared(self)[1], 128, self.held_out))

    def tokenizer(self) -> Tokenizer:
        return prepared(self)[2]

    def decode(self, ids: Int[Tensor, "L"]) -> str:
        return data.decode(self.tokenizer(), ids)

    def new_tokenizer(self, train: list[str], held_out: list[str]) -> Tokenizer:
        """Learned from training texts only (an alphabet is no secret: characters come from all texts)."""
        if self.bpe is None:
            return data.character_tokenizer("".join(train) + "".join(held_out))
        return data.bpe_tokenizer(train, self.bpe)

    def rows(self, texts, tokenizer: Tokenizer):
        """Token ids in rows of `length`: by default all texts joined and cut."""
        return data.pack(texts, tokenizer, self.length)

    def opened(self):
        """(training rows, held-out rows, tokenizer); see `prepared`, which keeps them."""
        train, held_out = self.texts()
        tokenizer = self.new_tokenizer(train["text"], held_out["text"])
        rows = self.rows(train, tokenizer)
        try:
            return rows, self.rows(held_out, tokenizer), tokenizer
        except ValueError as error:
            raise ValueError(
                f"The texts held out for evaluation are too short or cannot be encoded: {error}"
            ) from error


@dataclass(frozen=True)
class Shakespeare(Corpus):
    """38 plays as one stream, cut into rows of `length` tokens; whole plays are held out."""

    length: int = 64
    bpe: int | None = 1024
    held_out: int = 1024

    def texts(self):
        return data.split(data.shakespeare(), fraction=0.05, by="title")


@dataclass(frozen=True)
class WikipediaSentences(Corpus):
    """22,029 sentences of 8 to 24 words from English Wikipedia (CC BY-SA 4.0) as one stream; sentences of an article
    stay on one side.
    """

    length: int = 64
    bpe: int | None = 2048
    held_out: int = 1024

    def texts(self):
        return data.split(data.wikipedia_sentences(), fraction=0.05, by="title")


@dataclass(frozen=True)
class LocalText(Corpus):
    """Your own UTF-8 text: a file or a folder of .txt files, cut at blank lines, five per cent of the paragraphs held
    out.
    """

    path: Path = Path("my_text.txt")
    length: int = 64
    bpe: int | None = None
    held_out: int = 1024

    def texts(self):
        return data.split(data.local_text(self.path, paragraphs=True), fraction=0.05)


def from_hub(name: str, column: str, test: str, streaming: bool = False):
    """(training texts, held-out texts). Raises ConnectionError where the hub is out of reach."""
    more = {"streaming": True} if streaming else {}
    return data.hub(name, "train", column, **more), data.hub(name, test, column, **more)


@dataclass(frozen=True)
class HubText(Corpus):
    """Any text dataset of the Hugging Face hub with any tokenizer of it, packed in memory (4 bytes a token)."""

    name: str = "billion-word-benchmark/lm1b"
    tokenizer_name: str = "bert-base-uncased"
    column: str = "text"
    length: int = 128
    bpe: int | None = None
    held_out: int = 4096

    def texts(self):
        return from_hub(self.name, self.column, "test")

    def new_tokenizer(self, train: list[str], held_out: list[str]) -> Tokenizer:
        return named_tokenizer(self.tokenizer_name)


@dataclass(frozen=True)
class HubSentences(Corpus):
    """One text of a hub dataset per row: frequent words, END, PAD. The defaults are those of E2E in Diffusion-LM."""

    name: str = "tuetschek/e2e_nlg"
    column: str = "human_reference"
    test: str = "validation"
    length: int = 64
    at_least: int = 10
    bpe: int | None = None
    held_out: int = 1024

    def texts(self):
        return from_hub(self.name, self.column, self.test)

    def new_tokenizer(self, train: list[str], held_out: list[str]) -> Tokenizer:
        return frequent_words_tokenizer(train, self.at_least)

    def rows(self, texts, tokenizer: Tokenizer):
        return pad(texts, tokenizer, self.length)


@dataclass(frozen=True)
class PreparedText(Corpus):
    """Token files that `python -m difflm_core.data.prepare NAME` wrote: a corpus of any size, read where it lies.

    `name` is a folder, or that of a known or own corpus in the cache folder.
    """

    name: str = "owt-gpt2"
    length: int = 1024
    bpe: int | None = None  # settled when the text was prepared
    held_out: int = 1024

    can_be_lost = True  # in one process and not in another; see `State.next_batch`

    def evaluation(self) -> list[Int[Tensor, "B L"]]:
        return list(prepared(self)[1])

    def opened(self):
        """The held-out rows are read at once, as batches, so that no evaluation can fail for want of a file. Raises
        FileNotFoundError with the command where nothing was prepared.
        """
        folder = prepared_folder(self.name)
        if self.name in data.CORPORA and not folder.exists():
            raise FileNotFoundError(
                f"{self.name} has not been prepared: run python -m difflm_core.data.prepare {self.name} once (into "
                f"{folder}; DIFFLM_CACHE names another place)."
            )
        train, tokenizer = data.open_token_files(folder, self.length)
        held_out, _ = data.open_token_files(folder, self.length, "held_out")
        return train, tuple(data.in_one_pass(held_out, 128, self.held_out)), tokenizer


@dataclass(frozen=True)
class StreamedText(Corpus):
    """A dataset of the hub read as it comes, for text too large to keep: the main process reads and tokenises, the
    others get their batches from it. The split `test` must exist; its first rows are held out.
    """

    name: str = "allenai/c4:en"
    tokenizer_name: str = "gpt2"
    column: str = "text"
    test: str = "validation"
    length: int = 1024
    shuffled: int = 16_384
    """Rows that are shuffled together."""
    bpe: int | None = None
    held_out: int = 512

    read_once = True  # see `Team.shared`

    def train(self, batch_size: int, generator: torch.Generator) -> data.StreamedBatches:
        stream, _ = from_hub(self.name, self.column, self.test, streaming=True)  # one that nobody has begun to read
        seed = generator.initial_seed()
        return data.StreamedBatches(stream, self.tokenizer(), self.length, batch_size, seed, rows=self.shuffled)

    def evaluation(self) -> list[Int[Tensor, "B L"]]:
        return list(prepared(self)[1])

    def opened(self):
        """(nothing, held-out batches, tokenizer): the training texts are read as they come."""
        _, test = from_hub(self.name, self.column, self.test, streaming=True)
        tokenizer = named_tokenizer(self.tokenizer_name)
        held_out = next(data.StreamedBatches(test, tokenizer, self.length, self.held_out, rows=self.held_out))
        return None, held_out.split(128), tokenizer


@cache
def prepared(source: Corpus):
    """What the source opens, (training rows, held-out rows, tokenizer): once per process."""
    return source.opened()
