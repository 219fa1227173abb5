"""The data room: text to token ids, and a toy language whose probabilities are known exactly."""

from difflm_core.data.batches import Batches, batches, in_one_pass, language_batches, pack
from difflm_core.data.code_corpus import infilling_rows, library_functions
from difflm_core.data.corpora import hub, local_text, shakespeare, split, wikipedia_sentences, wikipedia_summaries
from difflm_core.data.encodings import Encodings, encode_texts, open_encodings
from difflm_core.data.origins import CORPORA, Origin
from difflm_core.data.streams import StreamedBatches
from difflm_core.data.token_files import LostText, TokenRows, open_token_files
from difflm_core.data.tokenizers import bpe_tokenizer, character_tokenizer, decode, encode, word_tokenizer
from difflm_core.data.toy_language import toy_language
from difflm_core.data.variable_length import length_prompt, text_length, variable_length_language

__all__ = [
    "Batches",
    "CORPORA",
    "Encodings",
    "LostText",
    "Origin",
    "StreamedBatches",
    "TokenRows",
    "batches",
    "bpe_tokenizer",
    "character_tokenizer",
    "decode",
    "encode",
    "encode_texts",
    "hub",
    "in_one_pass",
    "infilling_rows",
    "language_batches",
    "length_prompt",
    "library_functions",
    "local_text",
    "open_encodings",
    "open_token_files",
    "pack",
    "shakespeare",
    "split",
    "text_length",
    "toy_language",
    "variable_length_language",
    "wikipedia_sentences",
    "wikipedia_summaries",
    "word_tokenizer",
]
