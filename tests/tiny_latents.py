"""Stand-ins for sentences with a pretrained encoder: a BERT of random weights that knows a few word pieces."""

from dataclasses import dataclass

import torch
from tiny_pretrained import SIZES, _wake
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from difflm_core.models.frozen import Encoder
from difflm_core.training.latent_sources import StoredStates

WORDS = "the a fox dog cat hops sleeps sees over under quick lazy brown and".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def wordpiece_encoder() -> Encoder:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = dict.fromkeys([*special, "zebra", *LETTERS, *(f"##{c}" for c in LETTERS), ".", *WORDS])
    big = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    big.normalizer, big.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = _wake(BertModel(BertConfig(**SIZES | sizes | {"vocab_size": len(pieces)})))
    return Encoder("tiny-wordpieces", model, PreTrainedTokenizerFast(tokenizer_object=big, **names))


def sentences(count: int, seed: int) -> list[str]:
    picks = torch.randint(6, (count, 5), generator=torch.Generator().manual_seed(seed))  # only the first six words
    return [" ".join(WORDS[i] for i in row) + "." for row in picks.tolist()]


@dataclass(frozen=True)
class TinyStates(StoredStates):
    length: int = 20
    pieces: int | None = 62
    held_out: int = 8
    labels = ("first", "second")

    def texts(self):
        return [(sentences(40, seed), [i % 2 for i in range(40)]) for seed in (0, 1)]

    def whole_encoder(self):
        return wordpiece_encoder()
