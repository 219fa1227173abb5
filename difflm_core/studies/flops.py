"""What training costs, counted: two FLOPs for each multiplication in the matrix products that PyTorch really computes.

Forward and backward passes, attention, frozen parts and encoding are all in it, as they happen: a frozen part costs a
third of a trained one, a network on N latents less than one on L words. Look-ups, norms, noise and the optimiser are
left out, and causal attention is counted whole. `training.plan` estimates the same by a formula.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

ATEN = torch.ops.aten
FORMULAS = dict(flop_registry) | {  # PyTorch's own list knows the GPU's attention only
    ATEN._scaled_dot_product_flash_attention_for_cpu: flop_registry[ATEN._scaled_dot_product_flash_attention],
    ATEN._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        ATEN._scaled_dot_product_flash_attention_backward
    ],
}

Train = Callable[[nn.Module, int], object]  # (network, steps): trains it in place


@dataclass(frozen=True)
class Spent:
    """What a training took: steps, FLOPs (what is not repeated in every step included), seconds."""

    steps: int
    flops: float
    seconds: float


class Counter(TorchDispatchMode):
    """Adds up the FLOPs of everything that is computed inside. (`FlopCounterMode` also says in which module, and cannot
    follow a trainable one that runs without gradients.)
    """

    flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in FORMULAS:
            self.flops += FORMULAS[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def flops_of(work: Callable[[], object]) -> int:
    """FLOPs of the matrix products while `work()` runs."""
    with Counter() as counter:
        work()
    return counter.flops


def cost(net: nn.Module, train: Train) -> tuple[float, float]:
    """(FLOPs of one more step, FLOPs that are there once), counted on copies of `net`."""
    one, two = (flops_of(partial(train, copy.deepcopy(net), steps)) for steps in (1, 2))
    return two - one, 2 * one - two


def spend(budget: float, net: nn.Module, train: Train, counted: Sequence[Train] = ()) -> Spent:
    """Train `net` in place for as many whole steps as the budget of FLOPs allows. Where a coin decides what a step
    costs, `counted` are the trainings of its equally likely sides. Raises ValueError where not one step fits.
    """
    costs = [cost(net, way) for way in counted or (train,)]
    step, once = (sum(numbers) / len(costs) for numbers in zip(*costs))
    steps = steps_within(budget - once, step)
    began = time.perf_counter()
    train(net, steps)
    return Spent(steps, once + steps * step, time.perf_counter() - began)


def steps_within(budget: float, step: float) -> int:
    if budget < step:
        raise ValueError(f"A step costs {step:.3g} FLOPs and {max(budget, 0):.3g} are left: raise the budget.")
    return int(budget // step)
