"""The short loop that small networks beside the main one are trained with: AdamW, warm-up and cosine, clipped."""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import trange

from difflm_core.training.stops import TrainingStopped

Batch = TypeVar("Batch")


def descend(
    model: nn.Module,
    loss_of: Callable[[Batch], Float[Tensor, ""]],
    batches: Iterable[Batch],
    steps: int,
    learning_rate: float,
    name: str,
    progress: bool = True,
    ema: float = 0.0,
) -> list[float]:
    """Train what is not frozen of `model`, in place; returns the loss of every step. The model ends as the moving
    average of its weights, of which each step keeps the share `ema` (0: as it is).

    Raises ValueError for an ema outside [0, 1) and if the batches run out, `TrainingStopped` before a loss or gradient
    that is not finite touches the weights.
    """
    if not 0 <= ema < 1:
        raise ValueError(f"ema is the share of the average that a step keeps, in [0, 1), got {ema}.")
    weights = [p for p in model.parameters() if p.requires_grad]
    device = weights[0].device
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_then_cosine(step, steps))
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema)) if ema else None
    if averaged:
        averaged.update_parameters(model)  # the average starts from the first weights
    model.train()
    losses, source = [], iter(batches)
    for step in trange(steps, desc=name, disable=not progress, mininterval=1.0):
        batch = next(source, None)
        if batch is None:
            raise ValueError(f"The batches ran out after {step} of {steps} steps: give an endless iterator of them.")
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):  # as in the main loop
            loss = loss_of(batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for what, value in (("loss", loss.item()), ("gradient's norm", norm.item())):
            if not math.isfinite(value):
                raise TrainingStopped(
                    f"{name}: the {what} at step {step + 1} is {value}; try a lower learning rate than {learning_rate}."
                )
        optimizer.step()
        rate.step()
        if averaged:
            averaged.update_parameters(model)
        losses.append(loss.item())
    if averaged:
        model.load_state_dict(averaged.module.state_dict())
    model.eval()
    return losses


def warm_then_cosine(step: int, steps: int) -> float:
    """A tenth of the steps up, half a cosine down to a tenth."""
    return min(1.0, 10 * (step + 1) / steps) * (0.55 + 0.45 * math.cos(math.pi * step / steps))
