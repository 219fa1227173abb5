"""A masked language model of the course as frozen encoder: the states of its last layer, one per token.

What a masked model learned by filling holes is in these states as in BERT's, so that the toy language has contextual
encodings of its own, made in minutes. `MaskedEncoder("mdlm-tiny", course_checkpoint("mdlm-tiny")[0])` answers the same
calls as `load_encoder()`. The loss of such a model looks at holes only; the state of a word that is there is trained
through the attention of others.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models.transformer import Transformer


class FrozenEncoder(Protocol):
    """What the latent methods ask of an encoder. `states` has no gradient and is 0 at padding."""

    name: str

    @property
    def dim(self) -> int: ...

    @property
    def embeddings(self) -> Float[Tensor, "V D"]: ...

    @property
    def special_ids(self) -> Int[Tensor, "S"]: ...

    def states(self, ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L D"]: ...


@dataclass(frozen=True, eq=False)
class MaskedEncoder:
    """`model` is bidirectional, reads no time, and knows neither padding nor special tokens."""

    name: str
    model: Transformer

    def __post_init__(self):
        if self.model.config.causal or self.model.uses_time:
            raise ValueError("An encoder looks both ways and reads no time: take a masked model without them.")
        self.model.requires_grad_(False).eval()

    @property
    def dim(self) -> int:
        return self.model.config.width

    @property
    def embeddings(self) -> Float[Tensor, "V D"]:
        """The word embeddings: what the states are before place and context come in."""
        return self.model.embedding.weight[: self.model.V]

    @property
    def special_ids(self) -> Int[Tensor, "S"]:
        return torch.empty(0, dtype=torch.long)

    @torch.no_grad()
    def states(self, ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        """Last-layer states. Raises ValueError for padding: this network would read it as words."""
        if mask is not None and not bool(mask.all()):
            raise ValueError(f"{self.name} was trained on texts without padding: give texts of one length.")
        return self.model.hidden(ids, None)
