"""Text that is too large to keep: read as it comes, tokenised on the way, shuffled in blocks, and still resumable.

A block is the rows of so many whole documents that they make at least `rows` of them; it is shuffled and dealt out in
batches before the next one is read. What is left over at the end of a block is dropped. To go on after a cut, the
stream is taken up at the beginning of the block, which is read and shuffled again.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from difflm_core.data.batches import AT_ONCE, encoded

if TYPE_CHECKING:
    from datasets import IterableDataset


class StreamedBatches:
    """Endless (B, L) LongTensors from a streaming dataset with a column "text"; at its end it begins again.

    `state_dict` is where the stream stood at the beginning of the block (the dataset's own account), and the place in
    the block. Raises ValueError for a stream too short for one batch.
    """

    def __init__(
        self, stream: "IterableDataset", tokenizer: Tokenizer, length: int, batch_size: int, seed: int = 0,
        rows: int = 16_384,
    ):  # fmt: skip
        self.stream, self.tokenizer, self.length, self.batch_size = stream, tokenizer, length, batch_size
        self.seed, self.rows = seed, max(rows, batch_size)
        self.fresh: dict = stream.state_dict()
        self._go_to(self.fresh, 0)

    def __iter__(self) -> "StreamedBatches":
        return self

    def __next__(self) -> Int[Tensor, "B L"]:
        while self.block is None or self.position + self.batch_size > len(self.block):
            if self.block is not None:
                self._go_to(self.fresh if self.ended else self.stream.state_dict(), self.blocks + 1)
            self.block = self._read()
        rows = self.block[self.position : self.position + self.batch_size]
        self.position += self.batch_size
        return rows

    def state_dict(self) -> dict[str, Any]:
        """A few numbers, fit for JSON."""
        return {"stream": self.begin, "blocks": self.blocks, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the batch that would have come next, of the same stream, tokenizer, sizes and seed."""
        if self.block is None or (state["stream"], state["blocks"]) != (self.begin, self.blocks):
            self._go_to(state["stream"], state["blocks"])
        self.position = state["position"]

    def _go_to(self, begin: dict, blocks: int) -> None:
        """To the beginning of a block, which is read when it is asked for."""
        self.stream.load_state_dict(begin)
        self.documents = iter(self.stream)
        self.begin, self.blocks, self.position, self.ended = begin, blocks, 0, False
        self.block: Int[Tensor, "N L"] | None = None

    def _read(self) -> Int[Tensor, "N L"]:
        """The next block, shuffled: whole groups of documents, at most up to the end of the stream."""
        pieces, count = [np.empty(0, np.int32)], 0
        while count < self.rows * self.length and not self.ended:
            pieces += encoded([self._texts()], self.tokenizer)
            count = sum(map(len, pieces))
        found = count // self.length
        if found < self.batch_size and self.begin == self.fresh:
            raise ValueError(
                f"The streamed text gives {found} rows of {self.length} tokens, one batch needs {self.batch_size}: "
                "stream a longer text, or take smaller batches."
            )
        order = torch.randperm(found, generator=torch.Generator().manual_seed(self.seed + self.blocks))
        rows = np.concatenate(pieces)[: found * self.length].reshape(found, self.length).astype(np.int64)
        return torch.from_numpy(rows)[order]

    def _texts(self) -> list[str]:
        """So many that tokenising them together is worth while, or the last ones of the stream."""
        texts, size = [], 0
        for row in self.documents:
            texts.append(row["text"])
            size += len(row["text"])
            if size >= AT_ONCE:
                return texts
        self.ended = True
        return texts
