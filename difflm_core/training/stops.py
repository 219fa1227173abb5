"""Training stops at a number that must be finite and is not, before it touches the weights, and says where it was."""

import math

from jaxtyping import Float, Int
from torch import Tensor


class TrainingStopped(RuntimeError):
    """Training met a number that is not finite; the message names step, batch row and the last good checkpoint."""


def check_loss(state, loss: float, nats: Float[Tensor, "B L"], x: Int[Tensor, "B L"]) -> None:
    """`state` is the `State` before the step, `loss` the mean of `nats`."""
    if not math.isfinite(loss):
        raise TrainingStopped(
            f"The loss of step {state.step + 1} is {loss} (batch {row_of(state, nats, x)}); training stops before it "
            f"changes the weights, and {state.kept()}. Try a lower learning rate."
        )


def check_gradient(state, norm: float, nats: Float[Tensor, "B L"], x: Int[Tensor, "B L"]) -> None:
    """A finite loss may have a gradient that is not; clipping by such a norm would make every weight NaN."""
    if not math.isfinite(norm):
        raise TrainingStopped(
            f"The gradient of step {state.step + 1} has norm {norm}, though the loss is {nats.mean().item():.4g} "
            f"(largest in batch {row_of(state, nats, x)}); training stops before it changes the weights, and "
            f"{state.kept()}. Try a lower learning rate, and look for a division by zero or a logarithm of zero in the "
            "loss."
        )


def check_bound(state, bound: float) -> None:
    """Weights that give no bound must not push good ones out of the checkpoints."""
    if not math.isfinite(bound):
        raise TrainingStopped(
            f"After step {state.step} the bound on held-out text is {bound}; training stops before these weights are "
            f"saved, and {state.kept()}. Try a lower learning rate."
        )


def row_of(state, nats: Float[Tensor, "B L"], x: Int[Tensor, "B L"]) -> str:
    """The first row whose nats are not finite, else the row with the most nats, and its text."""
    rows = nats.detach().float().sum(1)
    bad = ~rows.isfinite()
    row = int((bad.long() if bool(bad.any()) else rows).argmax())
    return f"row {row}: {state.recipe.data.decode(x[row].cpu())[:80]!r}"
