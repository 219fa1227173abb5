"""From documents to endless batches of token ids, the same way for a class corpus and a large one.

Documents are joined into one stream of tokens and cut into rows of equal length, so no position is wasted on padding.
Batches come from shuffled passes over those rows; after a cut, `state_dict` lets a run go on with the very next batch.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from difflm_core.data.token_files import TokenRows
from difflm_core.data.tokenizers import explain_unknown, separator_id

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    from difflm_core.oracle.hmm import HiddenMarkovLanguage

AT_ONCE = 500_000  # characters tokenised together: the tokenizers library needs some 250 bytes a token while it works


def pack(dataset: "Dataset | IterableDataset", tokenizer: Tokenizer, length: int) -> "Dataset":
    """Rows of `length` token ids (column "ids", int32) cut out of the joined documents of column "text".

    Each document ends with the tokenizer's separator where it has one (`tokenizers.separator_id`); an incomplete last
    row is dropped. The result is held in memory, 4 bytes per token. Raises ValueError for too little text and for text
    outside the tokenizer's vocabulary.
    """
    import pyarrow as pa
    from datasets import Dataset

    if length < 1:
        raise ValueError(f"length = {length}: a row needs at least one token.")
    if dataset.column_names and "text" not in dataset.column_names:
        raise ValueError(f"The dataset has columns {', '.join(dataset.column_names)} but no 'text': rename one to it.")
    stream = np.concatenate([np.empty(0, np.int32), *encoded(portions(dataset), tokenizer)])
    rows = len(stream) // length
    if rows == 0:
        raise ValueError(f"The text has {len(stream)} tokens, a row needs {length}: give more text or shorter rows.")
    flat = pa.array(stream[: rows * length])
    return Dataset(pa.table({"ids": pa.FixedSizeListArray.from_arrays(flat, length)}))


def encoded(portions: Iterable[list[str]], tokenizer: Tokenizer, row: int = 0) -> Iterator[Int[np.ndarray, "tokens"]]:
    """The ids of each document and of its end, int32. Raises ValueError for text outside the vocabulary, with the
    number of its document, counted from `row`.
    """
    separator = separator_id(tokenizer)
    end = np.array([] if separator is None else [separator], np.int32)
    for texts in portions:
        try:
            encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        except Exception as error:  # the library raises a bare Exception here
            explained = ((i, explain_unknown(tokenizer, text)) for i, text in enumerate(texts, row))
            reasons = (f"Row {i}: {reason}" for i, reason in explained if reason)
            raise ValueError(next(reasons, f"Text cannot be encoded: {error}")) from error
        row += len(texts)
        for encoding in encodings:
            yield np.array(encoding.ids, np.int32)
            yield end


def portions(dataset: "Dataset | IterableDataset") -> Iterator[list[str]]:
    """The documents of a dataset in groups that are tokenised together."""
    return grouped(text for rows in dataset.iter(batch_size=1000) for text in rows["text"])


def grouped(texts: Iterable[str], characters: int = AT_ONCE) -> Iterator[list[str]]:
    """Texts in order, as many together as have that many characters; the last group may be smaller or empty."""
    group: list[str] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= characters:
            yield group
            group, size = [], 0
    yield group


class Batches:
    """Endless iterator over shuffled passes through a packed dataset; made by `batches`, resumable by `state_dict`."""

    def __init__(self, dataset: "Dataset | TokenRows", batch_size: int, generator: torch.Generator | None = None):
        if not 1 <= batch_size <= len(dataset):
            raise ValueError(f"batch_size = {batch_size}: it must lie in 1 to {len(dataset)}, the rows of the dataset.")
        self.dataset, self.batch_size = dataset, batch_size
        # None: a generator of its own, seeded from the global one, so that torch.manual_seed governs it.
        self.generator = generator or torch.Generator().manual_seed(_draw_seed(torch.default_generator))
        self._start_pass(_draw_seed(self.generator))

    def _start_pass(self, seed: int) -> None:
        # One draw per pass: the order is rebuilt from it, and the caller's generator may serve others meanwhile.
        self.seed, self.position = seed, 0
        self.order = torch.randperm(len(self.dataset), generator=torch.Generator().manual_seed(seed))

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Int[Tensor, "B L"]:
        if self.position + self.batch_size > len(self.order):  # the few rows left over sit this pass out
            self._start_pass(_draw_seed(self.generator))
        rows = self.order[self.position : self.position + self.batch_size]
        self.position += self.batch_size
        return _rows(self.dataset, rows.numpy())

    def state_dict(self) -> dict[str, Any]:
        """Where the iterator stands: a few numbers and the generator's state (it can be saved with the model)."""
        digest = {"digest": self.dataset.digest} if isinstance(self.dataset, TokenRows) else {}
        return digest | {
            "rows": len(self.dataset),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "position": self.position,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the batch that would have come next, bit for bit. The data and batch size must be the same."""
        for name, here in (("rows", len(self.dataset)), ("batch_size", self.batch_size)):
            if state[name] != here:
                raise ValueError(f"The saved state has {name} = {state[name]}, here it is {here}: they must be equal.")
        self._start_pass(state["seed"])
        self.position = state["position"]
        self.generator.set_state(state["generator"])


def batches(dataset: "Dataset | TokenRows", batch_size: int, generator: torch.Generator | None = None) -> Batches:
    """Endless (B, L) LongTensors from a packed dataset or from token files: every pass visits each row at most once,
    in a new order.

    Equal generators give equal batches. Raises ValueError where the dataset has fewer rows than one batch.
    """
    return Batches(dataset, batch_size, generator)


def in_one_pass(
    dataset: "Dataset | TokenRows", batch_size: int, rows: int | None = None
) -> Iterator[Int[Tensor, "B L"]]:
    """Every row once and in order, or the first `rows` of them, for evaluation; the last batch may be smaller."""
    count = len(dataset) if rows is None else min(rows, len(dataset))
    for start in range(0, count, batch_size):
        yield _rows(dataset, np.arange(start, min(start + batch_size, count)))


def language_batches(
    language: "HiddenMarkovLanguage", batch_size: int, generator: torch.Generator | None = None
) -> Iterator[Int[Tensor, "B L"]]:
    """Endless exact samples (B, L) of a language; the state of `generator` is all there is to resume."""
    while True:
        yield language.sample(batch_size, generator=generator)


def _rows(dataset: "Dataset | TokenRows", rows: np.ndarray) -> Int[Tensor, "B L"]:
    if isinstance(dataset, TokenRows):
        return torch.from_numpy(dataset[rows])
    return torch.from_numpy(dataset.with_format("numpy")[rows]["ids"].astype(np.int64))


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
