"""Diffusion-LM's training loss, term by term (Li et al. 2022, Appendix E).

    E [ |mu(x_T; x_0)|^2  +  sum_{t = 2..T} |x_0 - f(x_t, t)|^2  +  |Emb(w) - f(x_1, 1)|^2  -  log p(w | x_0) ]
         anchor                mse                                    start                      rounding

One t per row is drawn from the grid 1/T, 2/T, ..., 1, so that the sum over t costs one network call: rows that fall on
1/T give a `start`, all others an `mse`. x_0 is drawn around the embeddings, so the first three terms train embeddings
too, and pull them together, since embeddings that are all alike are easy to predict. `rounding` pushes them apart: it
is computed at x_0, the noised true embedding, not at the network's output, because that is where the bound has it.

How the terms are weighed against each other decides what is learned; see `DiffusionLMLoss`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models.diffusion_lm import DiffusionLM
from difflm_core.models.self_conditioning import self_conditioned
from difflm_core.processes.gaussian import spread
from difflm_core.processes.schedules import check_times


@dataclass(frozen=True)
class DiffusionLMLoss:
    """Squared errors as means over the D numbers of a vector, `rounding` in nats; each (B, L)."""

    mse: Float[Tensor, "B L"]
    start: Float[Tensor, "B L"]
    anchor: Float[Tensor, "B L"]
    rounding: Float[Tensor, "B L"]
    D: int
    T: int

    @property
    def as_code(self) -> Float[Tensor, "B L"]:
        """The released code's sum: errors averaged over D, one step of the T, rounding and anchor at full weight."""
        return self.mse + self.start + self.anchor + self.rounding

    @property
    def as_paper(self) -> Float[Tensor, "B L"]:
        """The formula above: errors summed over D and over the T steps, so that rounding weighs D T times less."""
        return self.D * (self.T * (self.mse + self.start) + self.anchor) + self.rounding


def diffusion_lm_loss(
    model: DiffusionLM,
    x: Int[Tensor, "B L"],
    t: Float[Tensor, "B"],
    generator: torch.Generator | None = None,
    T: int = 2000,
) -> DiffusionLMLoss:
    """All four terms from one network call (two in half of the batches, if the network self-conditions).

    `mse` is the error of what the network predicts: of the noise if kind is "eps". Raises ValueError for words or
    lengths that the model does not know.
    """
    t = on_grid(t, T)
    x_0 = model.start(x, generator)
    z_t = model.process.corrupt(x_0, t, generator)
    prediction = predict(model, z_t, t, generator)
    error = (prediction - model.process.from_x(z_t, x_0, t, model.kind)).square().mean(-1)
    from_start = (model.process.to_x(z_t, prediction, t, model.kind) - model.embed(x)).square().mean(-1)
    first: Bool[Tensor, "B 1"] = (t <= 1 / T)[:, None]
    alpha_T = spread(model.process.alpha(torch.ones_like(t)), x_0)
    return DiffusionLMLoss(
        mse=torch.where(first, 0, error),
        start=torch.where(first, from_start, 0),
        anchor=(alpha_T * x_0.square()).mean(-1),
        rounding=rounding(model, x, x_0),
        D=model.D,
        T=T,
    )


def rounding(model: DiffusionLM, x: Int[Tensor, "B L"], x_0: Float[Tensor, "B L D"]) -> Float[Tensor, "B L"]:
    """-log p(w | x_0), in float32 or better."""
    logits = model.logits(x_0).flatten(0, 1)
    logits = logits if logits.dtype.itemsize > 4 else logits.float()
    return F.cross_entropy(logits, x.flatten(), reduction="none").view(x.shape)


def predict(model: DiffusionLM, z_t, t, generator) -> Float[Tensor, "B L D"]:
    if not model.self_conditioning:
        return model.net(z_t, t, None)
    return self_conditioned(
        model.net, z_t, t, generator, to_x=lambda z, prediction, t: model.process.to_x(z, prediction, t, model.kind)
    )


def on_grid(t: Float[Tensor, "B"], T: int) -> Float[Tensor, "B"]:
    """t rounded up to 1/T, 2/T, ..., 1: a uniform t picks each step equally often."""
    check_times(t)
    if T < 1:
        raise ValueError(f"A chain needs at least one step, got T = {T}.")
    return (t * T).ceil().clamp(1, T) / T
