"""A text written word by word, of which all that is not yet written is known through a few vectors.

    LatentDecoder   looks at the vectors by cross-attention in every layer, as BART and T5 do (LD4LG's decoder)
    PrefixDecoder   reads them first, as if they were the first words of the text (PLANNER's GPT-2)

Both are causal and answer `hidden(ids, vectors, cache=None) -> (B, n, width)` and `logits(h)`; ids are what stands
before each word, so that a text is read as V (the start symbol, one row of the embedding), x_1, ..., x_{L-1}. No other
way leads from the text to the decoder: what the vectors do not say, it has to guess from the words before.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from difflm_core.models.attention import Attention, KeyValueCache, rotary_angles
from difflm_core.models.cross_attention import CrossAttention, check_heads, check_states, plain_mlp, start_weights
from difflm_core.models.perceiver import check_latents
from difflm_core.models.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class DecoderConfig:
    """Texts of at most `length` of V tokens, given vectors of D numbers (for a `PrefixDecoder`: N of them). `end` is
    the token after which a text is over, None if all texts fill the canvas.
    """

    V: int
    length: int
    D: int
    N: int = 1
    width: int = 96
    layers: int = 2
    heads: int = 4
    end: int | None = None

    def __post_init__(self):
        if self.V < 2 or min(self.length, self.D, self.N, self.layers) < 1:
            raise ValueError(
                f"A decoder needs 2 tokens and 1 of the rest, got V = {self.V}, length = {self.length}, D = {self.D}, "
                f"N = {self.N}, layers = {self.layers}."
            )
        if self.end is not None and not 0 <= self.end < self.V:
            raise ValueError(f"The end of a text is a token in 0..{self.V - 1}, got end = {self.end}.")
        check_heads(self.width, self.heads)


class LatentDecoder(nn.Module):
    """Cross-attention to vectors (B, M, D), up to `length` of them; `mask` (B, M) is False at padding among them.

    Vector i is told its place by the table that tells it to word i, and keys start as queries do. So a word can
    look at the vector with its own number from the start.
    """

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.V + 1, config.width)  # row V: the start
        self.position = nn.Embedding(config.length, config.width)
        self.inward, self.norm_vectors = nn.Linear(config.D, config.width), nn.RMSNorm(config.width)
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        self.head = nn.Linear(config.width, config.V, bias=False)
        self.register_buffer("angles", rotary_angles(config.length, config.width // config.heads), persistent=False)
        branches = [end for b in self.blocks for end in (b.attention.out, b.look.out, b.mlp[-1])]
        start_weights(self, config.width, config.layers, branches)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.normal_(self.inward.weight, std=(config.D * config.width) ** -0.5)  # of length 1, as words and places
        for block in self.blocks:
            block.look.kv.weight.data[: config.width] = block.look.q.weight.data

    @property
    def V(self) -> int:
        return self.config.V

    def hidden(
        self,
        ids: Int[Tensor, "B n"],
        vectors: Float[Tensor, "B M D"],
        cache: KeyValueCache | None = None,
        mask: Bool[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, "B n W"]:
        """With a `cache`, ids holds only the words that the cache has not seen."""
        check_states(vectors, mask, self.config.D, self.config.length)
        vectors = self.inward(F.rms_norm(vectors, vectors.shape[2:]))
        vectors = self.norm_vectors(vectors + self.position.weight[: vectors.shape[1]])
        start, layers = 0 if cache is None else cache.length, len(self.blocks)
        check_words(ids, start, self.config)
        places = slice(start, start + ids.shape[1])
        h = self.embedding(ids) + self.position.weight[places]
        for i, block in enumerate(self.blocks):
            caches = (None, None) if cache is None else (cache.layer(i), cache.layer(layers + i))
            h = block(h, self.angles[places], vectors, mask, *caches)
        return self.norm(h)

    def logits(self, h: Float[Tensor, "*N W"]) -> Float[Tensor, "*N V"]:
        return self.head(h)


class DecoderBlock(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        width = config.width
        self.norm, self.norm_look, self.norm_mlp = nn.RMSNorm(width), nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width, config.heads, causal=True)
        self.look = CrossAttention(width, config.heads)
        self.mlp = plain_mlp(width)

    def forward(self, h, angles, vectors, mask=None, cache=None, look_cache=None):
        h = h + self.attention(self.norm(h), angles, cache)
        h = h + self.look(self.norm_look(h), vectors, mask, look_cache)
        return h + self.mlp(self.norm_mlp(h))


class PrefixDecoder(nn.Module):
    """A causal `Transformer` whose first N inputs are a linear map of the vectors (B, N, D), and then come the words.

    With a cache, the vectors are read once; their keys and values are the prefix of the text.
    """

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        inner = TransformerConfig(
            config.V, config.N + config.length, config.width, config.layers, config.heads, causal=True
        )
        self.language = Transformer(inner)
        self.inward = nn.Linear(config.D, config.width)
        nn.init.normal_(self.inward.weight, std=config.D**-0.5)
        nn.init.zeros_(self.inward.bias)

    @property
    def V(self) -> int:
        return self.config.V

    def hidden(
        self, ids: Int[Tensor, "B n"], vectors: Float[Tensor, "B N D"], cache: KeyValueCache | None = None
    ) -> Float[Tensor, "B n W"]:
        """With a `cache`, ids holds only the words that the cache has not seen."""
        check_latents(vectors, self.config.N, self.config.D)
        language, read = self.language, 0 if cache is None else cache.length
        check_words(ids, max(0, read - self.config.N), self.config)
        h = language.embedding(ids)
        if not read:
            h = torch.cat([self.inward(vectors), h], dim=1)  # (B, N + n, W)
        places = slice(read, read + h.shape[1])
        h = h + language.position.weight[places]
        for i, block in enumerate(language.blocks):
            h = block(h, language.angles[places], None, None if cache is None else cache.layer(i))
        return language.norm(h)[:, -ids.shape[1] :]

    def logits(self, h: Float[Tensor, "*N W"]) -> Float[Tensor, "*N V"]:
        return self.language.logits(h)


def check_words(ids: Int[Tensor, "B n"], start: int, config: DecoderConfig) -> None:
    if ids.ndim != 2 or start + ids.shape[1] > config.length:
        raise ValueError(
            f"This decoder reads (batch, length <= {config.length}) token ids, got shape {tuple(ids.shape)} at "
            f"position {start}."
        )
    if ids.device.type == "cpu" and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) <= config.V:
        raise ValueError(
            f"Token ids must lie in 0..{config.V} ({config.V}: the start), got {int(ids.min())}..{int(ids.max())}."
        )
