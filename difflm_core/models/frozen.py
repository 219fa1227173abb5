"""What a frozen network is asked: an encoder for the states of a text, a judge for its surprise.

Both wrap a transformers model with its tokenizer (see `pretrained` for where they come from). Padding stands on the
right and never reaches a real token.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class Encoder:
    """A frozen network from token ids to contextual states of `dim` numbers each, and its tokenizer."""

    name: str
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"

    @property
    def dim(self) -> int:
        return self.embeddings.shape[1]

    @property
    def embeddings(self) -> Float[Tensor, "V D"]:
        """The word embeddings: what the states are before context comes in."""
        return self.model.get_input_embeddings().weight

    @property
    def special_ids(self) -> Int[Tensor, "S"]:
        """Ids that stand for no word: begin, end, padding and their kind."""
        return torch.tensor(sorted(set(self.tokenizer.all_special_ids)))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of weights and vocabulary: states of encoders with different fingerprints do not mix."""
        digest = hashlib.sha256(json.dumps(sorted(self.tokenizer.get_vocab().items())).encode())
        for name, value in sorted(self.model.state_dict().items()):
            if not name.startswith("pooler."):  # not on the way to the states, and newly drawn where a file lacks it
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def token_counts(self, texts: Sequence[str]) -> Int[Tensor, "N"]:
        """Tokens of each text with the encoder's begin and end signs: the shortest canvas that takes it."""
        return torch.tensor([len(row) for row in self._ids(texts)], dtype=torch.long)

    def tokenise(self, texts: Sequence[str], length: int) -> tuple[Int[Tensor, "N L"], Bool[Tensor, "N L"]]:
        """(ids, mask) on a canvas of `length`, padded on the right; mask is True at tokens, False at padding.

        Raises ValueError for a text longer than the canvas, with its row, and a canvas longer than the encoder reads.
        """
        limit = getattr(self.model.config, "max_position_embeddings", None) or length
        limit = min(limit, self.tokenizer.model_max_length)
        if not 1 <= length <= limit:
            raise ValueError(f"A canvas of {length} tokens: {self.name} reads 1 to {limit}.")
        rows = self._ids(texts)
        for i, row in enumerate(rows):
            if len(row) > length:
                raise ValueError(
                    f"Text {i} has {len(row)} tokens for {self.name}, the canvas takes {length}: cut or drop longer "
                    "texts (`encoder.token_counts(texts)` counts them), or take a longer canvas."
                )
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        return _on_canvas(rows, length, pad or 0)

    @torch.no_grad()
    def states(self, ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """Last-layer states; 0 at padding, where the network's output means nothing. No gradient."""
        device = self.model.device
        ids, mask = ids.to(device), mask.to(device)
        h = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return h.masked_fill(~mask[..., None], 0.0)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(list(texts), verbose=False)["input_ids"] if len(texts) else []


@dataclass(frozen=True, eq=False)
class Judge:
    """A frozen autoregressive language model. Each text is judged after the token `start`, which ends a document."""

    name: str
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    start: int

    def tokenise(
        self, texts: Sequence[str], length: int | None = None
    ) -> tuple[Int[Tensor, "N L"], Bool[Tensor, "N L"]]:
        """(ids, mask) without signs of begin or end, each text cut after `length` tokens (default: never cut).

        L is that of the longest. Raises ValueError for a text, or a length, beyond what the judge can read.
        """
        limit = (getattr(self.model.config, "max_position_embeddings", None) or 1_000_000) - 1  # `start` takes one
        if length is not None and not 1 <= length <= limit:
            raise ValueError(f"length = {length}: {self.name} reads 1 to {limit} tokens of a text.")
        options = {"add_special_tokens": False, "verbose": False}
        rows = [row[:length] for row in (self.tokenizer(list(texts), **options)["input_ids"] if len(texts) else [])]
        for i, row in enumerate(rows):
            if len(row) > limit:
                raise ValueError(
                    f"Text {i} has {len(row)} tokens, {self.name} reads {limit}: give a length, after which texts are "
                    "cut."
                )
        return _on_canvas(rows, max(map(len, rows), default=0), self.start)

    @torch.no_grad()
    def nll(self, ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        """-log p(token | start and the tokens before it), nats; 0 at padding, which must stand on the right."""
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        logits = self.model(**self._inputs(ids, mask)).logits[:, :-1]
        nll = F.cross_entropy(logits.float().flatten(0, 1), ids.flatten(), reduction="none")
        return nll.view(ids.shape).masked_fill(~mask, 0.0)

    @torch.no_grad()
    def last_state(self, ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B D"]:
        """The last-layer state at the last token: what the judge makes of the whole text (MAUVE's features)."""
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        h = self.model(**self._inputs(ids, mask), output_hidden_states=True).hidden_states[-1]
        return h[torch.arange(len(h), device=h.device), mask.sum(1)]

    def _inputs(self, ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"]) -> dict[str, Tensor]:
        return {
            "input_ids": F.pad(ids, (1, 0), value=self.start),
            "attention_mask": F.pad(mask.long(), (1, 0), value=1),
        }


def _on_canvas(rows: list[list[int]], length: int, pad: int) -> tuple[Int[Tensor, "N L"], Bool[Tensor, "N L"]]:
    counts = torch.tensor([len(row) for row in rows], dtype=torch.long)
    mask = torch.arange(length) < counts[:, None]
    ids = torch.full((len(rows), length), pad)
    ids[mask] = torch.tensor([token for row in rows for token in row], dtype=torch.long)
    return ids, mask
