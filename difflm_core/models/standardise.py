"""Latents with mean 0 and deviation 1 in every coordinate, and back: the scale on which a noise schedule is written.

An encoder's coordinates differ in mean and size, a few of them wildly. Noise of variance 1 - alpha_t would drown some
at a time when it leaves others whole, so diffusion runs on (z - mean) / deviation, with statistics of the *training*
set: one pair per coordinate for token states (TEncDM, Shabalin et al. 2024, section 5.1), one per slot and coordinate
for N latents of a text (COSMOS, Meshchaninov et al. 2025).
"""

import hashlib
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

CONSTANT = 1e-6  # a deviation below this share of the mean, or of the median deviation, is rounding: no change


class Standardise(nn.Module):
    """`standardise(z)` and `standardise.inverse(z)` for z (..., *shape): shape (D,) gives one mean and deviation per
    coordinate, (N, D) one per slot and coordinate.

    `encoder` names the network that the latents come from. It is stored as a hash beside the statistics, so that a
    `load_state_dict` of another encoder's statistics is refused.
    """

    def __init__(self, shape: tuple[int, ...], encoder: str):
        super().__init__()
        if not shape or min(shape) < 1:
            raise ValueError(f"Latents have a shape such as (D,) or (N, D), got {tuple(shape)}.")
        self.shape, self.encoder = tuple(shape), encoder
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))  # latents measured; 0: no statistics yet
        digest = hashlib.sha256(encoder.encode()).digest()
        self.register_buffer("origin", torch.tensor(list(digest), dtype=torch.uint8))

    @torch.no_grad()
    def measure(self, latents: Iterable[Float[Tensor, "n *shape"]]) -> "Standardise":
        """Take the statistics of batches of latents, in float64, as they stream by; returns self. The deviation divides
        by n. A coordinate that never changes keeps deviation 1 (MiniLM has three: two are 0, one is rounding).

        Raises ValueError for latents of another shape, fewer than two of them, or numbers that are not finite.
        """
        count, mean, squares = 0, torch.zeros(self.shape, dtype=torch.float64), 0.0
        for batch in latents:
            self._check(batch)
            batch = batch.detach().cpu().double().reshape(-1, *self.shape)
            if not len(batch):
                continue
            # two sets of numbers become one: Chan et al. 1979
            own, total = batch.mean(0), count + len(batch)
            off = own - mean
            squares = squares + (batch - own).square().sum(0) + off.square() * (count * len(batch) / total)
            mean, count = mean + off * (len(batch) / total), total
        if count < 2:
            raise ValueError(f"Statistics need at least two latents, got {count}: give more batches.")
        if not bool((mean + squares).isfinite().all()):
            raise ValueError("Some latents are not finite numbers: look at the encoder's states.")
        deviation = (squares / count).sqrt()
        rounding = CONSTANT * torch.maximum(mean.abs(), deviation.median())
        deviation = torch.where(deviation > rounding, deviation, 1.0)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        self.count.fill_(count)
        return self

    def forward(self, z: Float[Tensor, "*B shape"]) -> Float[Tensor, "*B shape"]:
        """(z - mean) / deviation. Raises ValueError without statistics and for latents of another shape."""
        self._check(z, measured=True)
        return (z - self.mean.to(z.dtype)) / self.deviation.to(z.dtype)

    def inverse(self, z: Float[Tensor, "*B shape"]) -> Float[Tensor, "*B shape"]:
        """Back to the encoder's scale; the same errors."""
        self._check(z, measured=True)
        return z * self.deviation.to(z.dtype) + self.mean.to(z.dtype)

    def check_encoder(self, name: str) -> None:
        """Raises ValueError if states of the encoder `name` do not belong to these statistics."""
        if name != self.encoder:
            raise ValueError(
                f"These are statistics of {self.encoder}, but the states come from {name}: measure them anew with "
                "`measure`, or take that encoder."
            )

    def _check(self, z: Tensor, measured: bool = False) -> None:
        if z.shape[z.ndim - len(self.shape) :] != self.shape or z.ndim <= len(self.shape):
            raise ValueError(
                f"These are statistics of {self.encoder}'s latents (..., {', '.join(map(str, self.shape))}), got "
                f"shape {tuple(z.shape)}."
            )
        if measured and not int(self.count):
            raise ValueError(
                f"There are no statistics of {self.encoder}'s latents yet: call `measure` with batches of the training "
                "set first, or load them."
            )

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        origin = state_dict.get(prefix + "origin")
        if origin is not None and not torch.equal(origin.cpu(), self.origin.cpu()):
            raise ValueError(
                f"The stored statistics belong to another encoder than {self.encoder}: build the model with the "
                "encoder that they were measured on."
            )
        deviation = state_dict.get(prefix + "deviation")
        if deviation is not None and not bool((deviation > 0).all()):
            raise ValueError(
                f"The stored statistics of {self.encoder} have a deviation of 0, by which nothing can be divided (too "
                "small for half precision?): measure them anew."
            )
        super()._load_from_state_dict(state_dict, prefix, *rest)
