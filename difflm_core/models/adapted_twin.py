"""The autoregressive twin of this course, turned into a masked diffusion model: `Adapted` for small.

What changes is the same as there (adapted.py says why): the causal mask is opened, a mask token gets a row of its own,
the shift stays. The twin reads its start symbol, then the text: one position more than the text has, for which the last
learned position is copied.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from difflm_core.models.adapted import annealed_mask
from difflm_core.models.block_attention import BlockAttention, Sight
from difflm_core.models.transformer import Transformer


class AdaptedTwin(nn.Module):
    """A `Denoiser` that starts from a causal `Transformer`, whose weights are copied; it takes no time.

    `opened` may be set at any time. While training, every call draws its own opening from `draws`; otherwise the
    opening is the same in every call. `training.adapt.adapt` trains it. Raises ValueError for a network that is not
    causal.
    """

    uses_time = False

    def __init__(self, twin: Transformer, opened: float = 1.0):
        super().__init__()
        if not twin.config.causal or twin.config.time_conditioning:
            raise ValueError("Only a causal network without a time input can be adapted: pass an autoregressive twin.")
        weights = twin.state_dict()
        places = weights["position.weight"]
        weights["position.weight"] = torch.cat([places, places[-1:]])
        self.network = Transformer(replace(twin.config, length=twin.length + 1, causal=False))
        self.network.load_state_dict(weights)
        for block in self.network.blocks:
            block.attention = BlockAttention(block.attention)
        self.mask_row = nn.Parameter(weights["embedding.weight"][: twin.V].mean(0))
        self.opened, self.draws = opened, torch.Generator().manual_seed(0)

    @property
    def V(self) -> int:
        return self.network.V

    @property
    def mask_id(self) -> int:
        return self.V

    @property
    def length(self) -> int:
        return self.network.length - 1

    def hidden(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L D"]:
        """The twin's last states, each one position before the token that it speaks of."""
        if z_t.ndim != 2 or z_t.shape[1] > self.length:
            raise ValueError(f"This model reads (batch, length <= {self.length}) token ids, got {tuple(z_t.shape)}.")
        n, table = z_t.shape[1] + 1, self.network.embedding
        is_mask = (z_t == self.V)[..., None]
        words = torch.where(is_mask, self.mask_row, table(z_t))
        start = table(torch.full_like(z_t[:, :1], self.V))  # row V, the mask elsewhere, is the twin's start symbol
        h = torch.cat([start, words], dim=1) + self.network.position.weight[:n]  # (B, L + 1, D)
        draws = self.draws if self.training else torch.Generator().manual_seed(0)
        sight = Sight(annealed_mask(n, self.opened, draws).to(h.device))
        for block in self.network.blocks:
            h = block(h, self.network.angles[:n], None, sight)
        return self.network.norm(h)[:, :-1]

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        return self.network.logits(h)

    def forward(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        return self.logits(self.hidden(z_t, t))

    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())
