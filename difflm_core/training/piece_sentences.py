"""The sentences that the latent systems are trained on, as rows of tokens for the other methods: the same texts, the
same vocabulary, the same canvas.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from difflm_core import data
from difflm_core.training.sources import Corpus


@dataclass(frozen=True)
class PieceSentences(Corpus):
    """Wikipedia sentences one a row, in the `bpe` most frequent of MiniLM's word pieces (`models.fewer_pieces`), with
    its signs of begin and end and padding, which are tokens like any other. Longer ones are left out.
    """

    length: int = 36
    bpe: int | None = 4096
    held_out: int = 1024

    def texts(self):
        return data.split(data.wikipedia_sentences(), fraction=0.05, by="title")

    def new_tokenizer(self, train: list[str], held_out: list[str]) -> Tokenizer:
        from difflm_core.models.fewer_pieces import frequent_pieces
        from difflm_core.models.pretrained import load_encoder

        return frequent_pieces(load_encoder(), train, self.bpe)

    def rows(self, texts, tokenizer: Tokenizer):
        import pyarrow as pa
        from datasets import Dataset

        encoded = [row.ids for row in tokenizer.encode_batch_fast(list(texts["text"]))]
        encoded = [row for row in encoded if len(row) <= self.length]
        ids = np.full((len(encoded), self.length), tokenizer.token_to_id("[PAD]"), np.int32)
        for row, tokens in zip(ids, encoded):
            row[: len(tokens)] = tokens
        return Dataset(pa.table({"ids": pa.FixedSizeListArray.from_arrays(pa.array(ids.ravel()), self.length)}))

    def decode(self, ids: Int[Tensor, "L"]) -> str:
        return until_sign(self.tokenizer(), ids)


def until_sign(tokenizer: Tokenizer, ids: Int[Tensor, "L"]) -> str:
    """The text up to its sign of the end, without signs."""
    ids, end = ids.tolist(), tokenizer.token_to_id("[SEP]")
    known = [i for i in (ids[: ids.index(end)] if end in ids else ids) if i < tokenizer.get_vocab_size()]
    return tokenizer.decode(known, skip_special_tokens=True)
