"""Python functions as training rows: one function a row, the end token behind it up to the end of the canvas."""

from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from difflm_core import data
from difflm_core.data.code_corpus import library_functions
from difflm_core.data.tokenizers import END_OF_TEXT
from difflm_core.training.sources import Corpus


@dataclass(frozen=True)
class PythonFunctions(Corpus):
    """Functions of the standard library (PSF License Version 2) of at most `longest` characters; those of more than
    length - 1 tokens are left out. Whole modules are held out.
    """

    length: int = 128
    bpe: int | None = 1024
    longest: int = 300
    held_out: int = 512

    def __post_init__(self):
        if self.bpe is None:
            raise ValueError("Functions of different lengths need an end token: give bpe, a number of tokens.")

    def texts(self):
        return data.split(library_functions(60, self.longest), fraction=0.05, by="module")

    def rows(self, texts, tokenizer: Tokenizer):
        import pyarrow as pa
        from datasets import Dataset

        end = tokenizer.token_to_id(END_OF_TEXT)
        encoded = (e.ids for e in tokenizer.encode_batch_fast(list(texts["text"]), add_special_tokens=False))
        kept = [ids + [end] * (self.length - len(ids)) for ids in encoded if len(ids) < self.length]
        if not kept:
            raise ValueError(f"No function has fewer than {self.length} tokens: take a longer canvas.")
        flat = pa.array(np.array(kept, np.int32).ravel())
        return Dataset(pa.table({"ids": pa.FixedSizeListArray.from_arrays(flat, self.length)}))
