"""The error predictor of G-Star: for a finished draft, which tokens are wrong? One logit per position.

It begins as a copy of the trained denoiser, whose states already know what fits where. The vocabulary head is
replaced by a norm and a single output, zero at first, so that training starts from "as likely wrong as right"
everywhere. It reads complete texts without masks and takes no time (Meshchaninov, Shibaev et al. 2025; a
time-conditioned trunk is shown t = 0). How much of the copy is trained is the question of an ablation: nothing but
the new head, the last block, or all of it.
"""

import copy
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from difflm_core.models.transformer import Transformer, TransformerConfig


class ErrorPredictor(nn.Module):
    """`error_logits(x_hat) -> (B, L)`: log-odds that a token is wrong. Use `head_only`, `last_block` or `whole`.

    `trained` picks, from the copied trunk, the modules to train beside the new head; the rest is frozen. The denoiser
    itself is not touched.
    """

    def __init__(self, denoiser: Transformer, trained: Callable[[Transformer], Iterable[nn.Module]] = lambda trunk: ()):
        super().__init__()
        check_denoiser(denoiser)
        self.trunk = copy.deepcopy(denoiser).requires_grad_(False)
        del self.trunk.head
        width, like = denoiser.config.width, denoiser.embedding.weight
        self.norm = nn.RMSNorm(width, device=like.device, dtype=like.dtype)
        self.output = nn.Linear(width, 1, device=like.device, dtype=like.dtype)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self._trained = list(trained(self.trunk))
        for module in self._trained:
            module.requires_grad_(True)

    @classmethod
    def head_only(cls, denoiser: Transformer) -> "ErrorPredictor":
        """A new head on a frozen trunk (the paper's headline setting): width + width + 1 trained numbers."""
        return cls(denoiser)

    @classmethod
    def last_block(cls, denoiser: Transformer) -> "ErrorPredictor":
        """The last block, the final norm and the head."""
        return cls(denoiser, lambda trunk: (trunk.blocks[-1], trunk.norm))

    @classmethod
    def whole(cls, denoiser: Transformer) -> "ErrorPredictor":
        """Everything."""
        return cls(denoiser, lambda trunk: (trunk,))

    @property
    def config(self) -> TransformerConfig:
        return self.trunk.config

    @property
    def V(self) -> int:
        return self.config.V

    @property
    def length(self) -> int:
        return self.config.length

    def error_logits(self, x_hat: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        """log p(wrong) / p(right) for each token of complete drafts. Raises ValueError for a draft with masks or
        foreign ids.
        """
        if x_hat.device.type == "cpu" and x_hat.numel() and not 0 <= int(x_hat.min()) <= int(x_hat.max()) < self.V:
            raise ValueError(
                f"The error predictor reads finished drafts, ids 0..{self.V - 1} and no mask, got "
                f"{int(x_hat.min())}..{int(x_hat.max())}."
            )
        t = torch.zeros(len(x_hat), device=x_hat.device) if self.trunk.uses_time else None
        return self.output(self.norm(self.trunk.hidden(x_hat, t))).squeeze(-1)

    forward = error_logits

    def train(self, mode: bool = True) -> "ErrorPredictor":
        """Only what is trained goes into training mode: a frozen trunk keeps its dropout off."""
        super().train(False)
        self.training = mode
        for module in (self.norm, self.output, *self._trained):
            module.train(mode)
        return self


def check_denoiser(denoiser: Transformer) -> None:
    if not isinstance(denoiser, Transformer):
        raise ValueError(
            "An error predictor is built from a trained Transformer denoiser, whose trunk it copies, not from "
            f"{type(denoiser).__name__}."
        )
    if denoiser.config.causal:
        raise ValueError(
            "An error predictor must see both sides of a token: build it from a bidirectional denoiser, not from a "
            "causal model."
        )


def check_fits(predictor: ErrorPredictor, V: int, length: int) -> None:
    """Refuse a predictor that was made for another vocabulary or a shorter canvas."""
    if predictor.V != V:
        raise ValueError(
            f"The error predictor reads a vocabulary of {predictor.V} tokens, but the denoiser writes {V}: build it "
            "from this denoiser."
        )
    if predictor.length < length:
        raise ValueError(
            f"The error predictor reads at most {predictor.length} positions, but the canvas has {length}: build it "
            "from a longer denoiser."
        )
