"""The network of MDLM (Sahoo et al. 2024) and GIDD (von Ruette et al. 2025): a diffusion transformer with adaLN, with
the parameter names of their released weights.

Unlike the course's own transformer it has LayerNorm without bias, biases in its MLP and head, tanh-GELU, no absolute
positions, and gates that multiply a branch (not `1 + gate`). Both heads were trained with a row for the mask, and
GIDD's with rows that only fill up a multiple of 128: they are left out here, so that V is the number of words.
MDLM's released model was trained without a time input and is always shown 0; GIDD's is shown t.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from difflm_core.models.attention import rotary_angles, rotate

HEAD_WIDTH = 64  # of every model here: it cannot be read off the weights
FREQUENCIES = 256


class ReleasedDiT(nn.Module):
    """A `Denoiser`. `rows` are the rows of the released embedding: V words, the mask, and perhaps filling."""

    def __init__(
        self, V: int, rows: int, length: int, width: int, layers: int, condition: int = 128, uses_time: bool = False
    ):
        super().__init__()
        if rows <= V or width % HEAD_WIDTH:
            raise ValueError(
                f"The embedding needs more rows than words (V = {V}, rows = {rows}) and a width that is a multiple of "
                f"{HEAD_WIDTH}, got {width}."
            )
        self.V, self.length, self.uses_time = V, length, uses_time
        self.vocab_embed = Table(rows, width)
        self.sigma_map = TimeMap(condition)
        self.blocks = nn.ModuleList(Block(width, condition) for _ in range(layers))
        self.output_layer = Output(width, rows, condition)
        self.register_buffer("angles", rotary_angles(length, HEAD_WIDTH), persistent=False)

    @property
    def mask_id(self) -> int:
        return self.V

    def hidden(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L D"]:
        """The trunk, up to the last modulation."""
        if z_t.ndim != 2 or z_t.shape[1] > self.length:
            raise ValueError(f"This model reads (batch, length <= {self.length}) token ids, got {tuple(z_t.shape)}.")
        if self.uses_time and t is None:
            raise ValueError("This model is conditioned on time: pass t, one number in [0, 1] per row.")
        shown = t if self.uses_time else torch.zeros(len(z_t), device=z_t.device)
        h = self.vocab_embed.embedding[z_t]
        c = F.silu(self.sigma_map(shown))
        angles = self.angles[: z_t.shape[1]]
        for block in self.blocks:
            h = block(h, angles, c)
        return self.output_layer.modulated(h, c)

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        head = self.output_layer.linear
        return F.linear(h, head.weight[: self.V], head.bias[: self.V])

    def forward(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        return self.logits(self.hidden(z_t, t))


class Table(nn.Module):
    def __init__(self, rows: int, width: int):
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(rows, width) / math.sqrt(width))


class TimeMap(nn.Module):
    """Cosines, then sines, of t at frequencies from 1 down to nearly 1/10,000, and a small MLP."""

    def __init__(self, condition: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(FREQUENCIES, condition), nn.SiLU(), nn.Linear(condition, condition))
        half = FREQUENCIES // 2
        rates = torch.exp(-math.log(10_000) * torch.arange(half).float() / half)
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, t: Float[Tensor, "B"]) -> Float[Tensor, "B C"]:
        phase = t[:, None].to(self.rates.dtype) * self.rates
        return self.mlp(torch.cat([phase.cos(), phase.sin()], dim=-1))


class Norm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, h: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        return F.layer_norm(h, self.weight.shape) * self.weight


class Block(nn.Module):
    def __init__(self, width: int, condition: int):
        super().__init__()
        self.norm1, self.norm2 = Norm(width), Norm(width)
        self.attn_qkv, self.attn_out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.adaLN_modulation = nn.Linear(condition, 6 * width)

    def forward(self, h, angles, c):
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(c)[:, None].chunk(6, dim=-1)
        h = h + gate_a * self.attention(self.norm1(h) * (1 + scale_a) + shift_a, angles)
        return h + gate_m * self.mlp(self.norm2(h) * (1 + scale_m) + shift_m)

    def attention(self, h: Float[Tensor, "B L D"], angles: Float[Tensor, "L half"]) -> Float[Tensor, "B L D"]:
        B, L, D = h.shape
        q, k, v = self.attn_qkv(h).view(B, L, 3, D // HEAD_WIDTH, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(rotate(q, angles), rotate(k, angles), v)
        return self.attn_out(mixed.transpose(1, 2).reshape(B, L, D))


class Output(nn.Module):
    def __init__(self, width: int, rows: int, condition: int):
        super().__init__()
        self.norm_final = Norm(width)
        self.linear = nn.Linear(width, rows)
        self.adaLN_modulation = nn.Linear(condition, 2 * width)

    def modulated(self, h: Float[Tensor, "B L D"], c: Float[Tensor, "B C"]) -> Float[Tensor, "B L D"]:
        shift, scale = self.adaLN_modulation(c)[:, None].chunk(2, dim=-1)
        return self.norm_final(h) * (1 + scale) + shift


def dit_from(weights: Mapping[str, Tensor], V: int, length: int, uses_time: bool) -> ReleasedDiT:
    """The network that these weights belong to; sizes are read off them. Whatever stands before "vocab_embed" in a name
    is left out, and so are tables of cosines. Raises ValueError where names or shapes are others.
    """
    anchor = next((name for name in weights if name.endswith("vocab_embed.embedding")), None)
    if anchor is None:
        raise ValueError(f"No weight is named vocab_embed.embedding: this is no DiT of MDLM or GIDD ({len(weights)}).")
    before = anchor[: -len("vocab_embed.embedding")]
    own = {name.removeprefix(before): value.float() for name, value in weights.items() if name.startswith(before)}
    bias = own.pop("logit_bias", torch.zeros(1))  # GIDD adds it to the token that stands there; released as 0
    if bool(bias.any()):
        raise ValueError(f"These weights have a logit_bias of {bias.flatten().tolist()}, which is left out here.")
    own = {name: value for name, value in own.items() if not name.startswith("rotary_emb.")}
    rows, width = own["vocab_embed.embedding"].shape
    layers = len({name.split(".")[1] for name in own if name.startswith("blocks.")})
    condition = own["sigma_map.mlp.0.weight"].shape[0]
    with torch.device("meta"):
        model = ReleasedDiT(V, rows, length, width, layers, condition, uses_time)
    try:
        model.load_state_dict(own, assign=True)
    except RuntimeError as error:
        raise ValueError(f"These weights do not fit: {error}") from error
    model.angles = rotary_angles(length, HEAD_WIDTH)
    model.sigma_map.rates = TimeMap(1).rates
    return model.requires_grad_(False).eval()
