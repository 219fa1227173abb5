"""An encoder with a smaller vocabulary: the same network, which knows only the word pieces that a corpus uses often.

A decoder over all 30,522 pieces of a BERT spends most of its time and memory in its last matrix. Of the pieces only the
frequent ones are kept, and every ASCII character, so that a rare word is spelled in more pieces and no ASCII text is
lost (an uncased encoder forgets capitals, as before). The network is not touched: for the same pieces it has the same
states. Pieces are numbered anew from 0, and everything that asks the encoder, or decodes its ids, sees these numbers.
"""

import copy
import string
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import torch
from tokenizers import Tokenizer, decoders, models, processors
from torch import nn

from difflm_core.models.frozen import Encoder

CHARACTERS = string.ascii_letters + string.digits + string.punctuation


def frequent_pieces(encoder: Encoder, texts: Sequence[str], V: int) -> Tokenizer:
    """A WordPiece tokenizer of V of the encoder's pieces: its special tokens, ASCII characters (alone and inside a
    word), then what is most frequent in `texts`. It adds the signs of begin and end; its ids are 0..V - 1.

    Raises ValueError for an encoder that does not read word pieces and where V is below the characters, or above the
    pieces in use.
    """
    big = encoder.tokenizer.backend_tokenizer
    if not isinstance(big.model, models.WordPiece):
        raise ValueError(f"{encoder.name} does not read word pieces: use it with its whole vocabulary (pieces=None).")
    known, special = big.get_vocab(), _special(encoder)
    signs = [sign for c in CHARACTERS for sign in (c, f"##{c}") if sign in known]
    counts = Counter(chain.from_iterable(encoder.tokenizer(list(texts), add_special_tokens=False)["input_ids"]))
    ranked = sorted(counts, key=lambda i: (-counts[i], i))
    pieces = list(dict.fromkeys([*special.values(), *signs, *encoder.tokenizer.convert_ids_to_tokens(ranked)]))
    if not len(special) + len(signs) <= V <= len(pieces):
        raise ValueError(
            f"V = {V}: the texts use {len(pieces)} pieces of {encoder.name}, {len(special) + len(signs)} of them "
            "special tokens and characters: take a number between."
        )
    small = Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate(pieces[:V])}, unk_token=special["unk_token"])
    )
    small.normalizer, small.pre_tokenizer = big.normalizer, big.pre_tokenizer
    small.decoder = decoders.WordPiece()
    ends = [(special[name], small.token_to_id(special[name])) for name in ("cls_token", "sep_token")]
    small.post_processor = processors.TemplateProcessing(f"{ends[0][0]} $A {ends[1][0]}", special_tokens=ends)
    small.add_special_tokens(list(special.values()))
    return small


def with_pieces(encoder: Encoder, tokenizer: Tokenizer) -> Encoder:
    """The encoder behind the tokenizer of `frequent_pieces`. Raises ValueError where that has pieces which the encoder
    does not know.
    """
    from transformers import PreTrainedTokenizerFast

    known = encoder.tokenizer.get_vocab()
    pieces = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    if missing := [piece for piece in pieces if piece not in known]:
        raise ValueError(
            f"{encoder.name} does not know the piece {missing[0]!r}: this vocabulary was made for another encoder."
        )
    model = copy.deepcopy(encoder.model)
    kept = torch.tensor([known[piece] for piece in pieces])
    model.set_input_embeddings(nn.Embedding.from_pretrained(encoder.embeddings.detach()[kept], freeze=True))
    model.config.vocab_size = len(pieces)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=encoder.tokenizer.model_max_length, **_special(encoder)
    )
    return Encoder(f"{encoder.name} with {len(pieces)} pieces", model.eval(), fast)


def _special(encoder: Encoder) -> dict[str, str]:
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return {name: getattr(encoder.tokenizer, name) for name in names}
