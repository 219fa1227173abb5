"""Where a latent system's texts come from, and the frozen encoder that reads them.

A source says its vocabulary `V`, its canvas `length`, the width `dim` of the states and its classes, gives endless
batches (states, class) for training and a fixed one for evaluation, and turns ids back into text. `fingerprint` is the
hash of the encoder: a checkpoint knows by it whose states it was made for.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from difflm_core import data
from difflm_core.data.encodings import Encodings, encode_texts
from difflm_core.data.toy_language import GRAMMAR, toy_language
from difflm_core.models import MaskedEncoder
from difflm_core.models.frozen import Encoder
from difflm_core.oracle.grammar_labels import feature_value
from difflm_core.training.course import course_checkpoint
from difflm_core.training.sources import from_hub
from difflm_core.training.states import States, shuffled_rows

Labelled = tuple[States, Int[Tensor, "B"] | None]


@dataclass(frozen=True)
class ToyStates:
    """The toy language as a masked model of the course sees it, or with `embeddings` its word embeddings alone, scaled
    to mean square 1. A task that tunes the encoder reads the words only, and looks at neither. The class of a sentence
    is its value of `feature`.
    """

    encoder_name: str = "mdlm-tiny"
    embeddings: bool = False
    feature: str = "colour"
    held_out: int = 1024
    end = None  # all sentences fill the canvas

    @property
    def V(self) -> int:
        return toy_language().V

    @property
    def length(self) -> int:
        return toy_language().length

    @property
    def dim(self) -> int:
        return self.encoder().dim

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(map(str, GRAMMAR.features[self.feature]))

    @property
    def fingerprint(self) -> str:
        return weights_hash(self.encoder().model)

    @property
    def texts_hash(self) -> str:
        return hashlib.sha256(self._evaluation_ids().numpy().tobytes()).hexdigest()

    def encoder(self) -> MaskedEncoder:
        return masked_encoder(self.encoder_name)

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Labelled]:
        for ids in data.language_batches(toy_language(), batch_size, generator):
            yield self._seen(ids)

    def evaluation(self) -> Labelled:
        return self._seen(self._evaluation_ids())

    def tokenizer(self) -> Tokenizer:
        return data.word_tokenizer(toy_language().words)

    def decode(self, ids: Int[Tensor, "L"]) -> str:
        return toy_language().decode(ids)

    def _evaluation_ids(self) -> Int[Tensor, "B L"]:
        return toy_language().sample(self.held_out, generator=torch.Generator().manual_seed(1234))

    def _seen(self, ids: Int[Tensor, "B L"]) -> Labelled:
        encoder = self.encoder()
        h = F.rms_norm(encoder.embeddings, (encoder.dim,))[ids] if self.embeddings else encoder.states(ids)
        return States(h, torch.ones_like(ids, dtype=torch.bool), ids), feature_value(GRAMMAR, self.feature, ids)


class StoredStates:
    """What sources with encoded texts share: they have `texts() -> (train, held_out)`, each (texts, classes or None),
    and `whole_encoder()`. Texts longer than `length` pieces are left out, and the states are computed once and kept.
    """

    length: int
    pieces: int | None
    held_out: int

    @property
    def V(self) -> int:
        return len(self.encoder().embeddings)

    @property
    def dim(self) -> int:
        return self.encoder().dim

    @property
    def end(self) -> int:
        """The encoder's sign for the end of a text, after which a decoder is not asked."""
        return self.encoder().tokenizer.sep_token_id

    @property
    def fingerprint(self) -> str:
        return self.encoder().fingerprint

    @property
    def texts_hash(self) -> str:
        return prepared(self).train.texts

    def encoder(self) -> Encoder:
        return chosen_encoder(self)

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Labelled]:
        ready = prepared(self)
        for rows in shuffled_rows(len(ready.train), batch_size, generator):
            yield States(*ready.train[rows]), None if ready.classes is None else ready.classes[rows]

    def evaluation(self) -> Labelled:
        ready = prepared(self)
        return States(*ready.held_out[:]), ready.held_out_classes

    def tokenizer(self) -> Tokenizer:
        return self.encoder().tokenizer.backend_tokenizer

    def decode(self, ids: Int[Tensor, "L"]) -> str:
        """The text up to its end, without signs."""
        ids = ids.tolist()
        ids = ids[: ids.index(self.end)] if self.end in ids else ids
        return self.encoder().tokenizer.decode(ids, skip_special_tokens=True)

    def fitting(self, split: int) -> tuple[list[str], list[int] | None]:
        """Texts (and classes) of the training (0) or the held-out (1) side that the canvas takes, in order."""
        texts, classes = self.texts()[split]
        counts = self.encoder().token_counts(texts)
        kept = (counts <= self.length).nonzero()[:, 0].tolist()[: self.held_out if split else None]
        return [texts[i] for i in kept], None if classes is None else [classes[i] for i in kept]


@dataclass(frozen=True)
class WikipediaStates(StoredStates):
    """Sentences of Wikipedia (see `WikipediaSentences`) as MiniLM sees them, spelled in its `pieces` most frequent word
    pieces; the class is the article's topic.
    """

    length: int = 36
    pieces: int | None = 4096
    held_out: int = 1024

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted(data.wikipedia_sentences().unique("topic")))

    def texts(self):
        sides = data.split(data.wikipedia_sentences(), fraction=0.05, by="title")
        number = {topic: i for i, topic in enumerate(self.labels)}
        return [(list(side["text"]), [number[topic] for topic in side["topic"]]) for side in sides]

    def whole_encoder(self) -> Encoder:
        from difflm_core.models.pretrained import load_encoder

        return load_encoder()


@dataclass(frozen=True)
class HubStates(StoredStates):
    """Any text dataset of the hub with any encoder of it. For a network, a GPU and a disk: 2 bytes for each of
    texts x length x dim numbers.
    """

    name: str = "mintujupally/ROCStories"
    column: str = "text"
    test: str = "test"
    encoder_name: str = "bert-base-cased"
    length: int = 64
    pieces: int | None = None
    held_out: int = 1024
    labels = ()

    def texts(self):
        return [(list(side["text"]), None) for side in from_hub(self.name, self.column, self.test)]

    def whole_encoder(self) -> Encoder:
        from difflm_core.models.pretrained import load_encoder

        return load_encoder(self.encoder_name, "cuda" if torch.cuda.is_available() else None)


@dataclass(frozen=True)
class Prepared:
    train: Encodings
    held_out: Encodings
    classes: Int[Tensor, "N"] | None
    held_out_classes: Int[Tensor, "M"] | None


@cache
def prepared(source: StoredStates) -> Prepared:
    """The encoded texts of a source: made on the first call ever, opened on later ones."""
    (train, classes), (held_out, held_classes) = source.fitting(0), source.fitting(1)
    states = [encode_texts(side, source.encoder(), source.length) for side in (train, held_out)]
    labels = (None if side is None else torch.tensor(side) for side in (classes, held_classes))
    return Prepared(*states, *labels)


@cache
def chosen_encoder(source: StoredStates) -> Encoder:
    """The source's encoder, with fewer pieces where it asks for that; they are counted on training texts."""
    from difflm_core.models.fewer_pieces import frequent_pieces, with_pieces

    encoder = source.whole_encoder()
    if source.pieces is None:
        return encoder
    return with_pieces(encoder, frequent_pieces(encoder, source.texts()[0][0], source.pieces))


@cache
def masked_encoder(name: str) -> MaskedEncoder:
    return MaskedEncoder(name, course_checkpoint(name)[0])


def weights_hash(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
