"""One text per row on a canvas of fixed length, as Diffusion-LM wants it: the words, END, and PAD to the end.

END and PAD are words like any other, and so the only place where a model learns how long a text is. Words that are rare
in the training texts become UNKNOWN, in Diffusion-LM's data as here: this is the one tokenizer of the course that
changes a text, and it is for comparing with that paper.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

if TYPE_CHECKING:
    from datasets import Dataset

END, PAD, UNKNOWN = "<end>", "<pad>", "<unk>"


def frequent_words_tokenizer(texts: Iterable[str], at_least: int = 10) -> Tokenizer:
    """Words and punctuation marks that occur `at_least` times, most frequent first, after END, PAD and UNKNOWN."""
    cut = pre_tokenizers.BertPreTokenizer()
    counts = Counter(word for text in texts for word, _ in cut.pre_tokenize_str(text))
    words = [END, PAD, UNKNOWN, *(word for word, count in counts.most_common() if count >= at_least)]
    if len(words) == 3:
        raise ValueError(f"No word occurs {at_least} times in the texts: give more text, or ask for fewer.")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = cut
    return tokenizer


def pad(dataset: "Dataset", tokenizer: Tokenizer, length: int) -> "Dataset":
    """Rows of `length` ids (column "ids", int32): each text of column "text", END, PAD. Raises ValueError for a text
    longer than length - 1 words, with its row.
    """
    import pyarrow as pa
    from datasets import Dataset

    end, filler = tokenizer.token_to_id(END), tokenizer.token_to_id(PAD)
    if end is None or filler is None:
        raise ValueError(f"The tokenizer lacks {END} or {PAD}: take frequent_words_tokenizer, or add them.")
    rows = np.full((len(dataset), length), filler, np.int32)
    for i, encoding in enumerate(tokenizer.encode_batch_fast(list(dataset["text"]), add_special_tokens=False)):
        if len(encoding.ids) >= length:
            raise ValueError(
                f"Row {i} has {len(encoding.ids)} words, a canvas of {length} takes {length - 1} and {END}: cut or "
                "drop longer texts, or take a longer canvas."
            )
        rows[i, : len(encoding.ids) + 1] = [*encoding.ids, end]
    if not len(rows):
        raise ValueError("There is no text to put into rows.")
    return Dataset(pa.table({"ids": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), length)}))
