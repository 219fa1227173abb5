"""`--engine.fixed-rows`: when training takes a fixed number of rows for the masks (objectives/fixed_rows.py), and what
it does in the rare batch that has more masks than rows.

Then the loss is NaN. Training reads the loss once a step anyhow, so noticing costs nothing: the batch is computed again
with all its masks counted, from the same noise. No batch is left out and none is changed.
"""

from contextlib import contextmanager

from jaxtyping import Int
from torch import Tensor, nn

from difflm_core.objectives.fixed_rows import number_of_masks, rows_for
from difflm_core.processes import Schedule
from difflm_core.training.parts import Part

FILLED = 1.1  # rows per expected mask above which the filling would cost more than the wait; an assumption


def choose(model: nn.Module, asked: bool | None) -> None:
    """What the engine asks for, written onto the model: always, never, or None, on a GPU where little is filled up."""
    on_gpu = next(model.parameters()).device.type == "cuda"
    model.fixed_rows = False if asked is None and not on_gpu else asked


def rows_of(model: nn.Module, schedule: Schedule, x: Int[Tensor, "b L"]) -> int | None:
    """The number of rows for the masks of x, which may be a part of the batch; None: count them."""
    asked, (b, L) = getattr(model, "fixed_rows", False), x.shape
    if asked is False:
        return None
    B = b if Part.current is None else Part.current.of
    R = rows_for(schedule, b, L, B)
    return R if asked or R <= FILLED * number_of_masks(schedule, b, L, B)[0] else None


@contextmanager
def counted(model: nn.Module):
    """Inside, the model's masks are counted."""
    before, model.fixed_rows = model.fixed_rows, False
    try:
        yield
    finally:
        model.fixed_rows = before
