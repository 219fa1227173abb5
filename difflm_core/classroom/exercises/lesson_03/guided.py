"""Exercise 3.4: classifier-free guidance for a network that predicts v and reads its last estimate."""

from dataclasses import dataclass

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded
from difflm_core.processes import GaussianProcess, ShiftedCosine

SHAPE = (4, 2, 3)
PROCESS = GaussianProcess(ShiftedCosine(1.0))
Z, PREVIOUS = (torch.randn(SHAPE, generator=seeded(seed), dtype=torch.float64) for seed in (1, 2))
T = torch.tensor([0.2, 0.5, 0.8, 0.95], dtype=torch.float64)
LABEL, NULL = torch.tensor([0, 2, 1, 0]), 3
WEIGHTS = (0.0, 1.0, 2.5)


@dataclass
class Net:
    """Predicts v; label 3 is "no class". Counts the rows that it is asked about."""

    null_label: int = NULL
    rows: int = 0

    def __call__(self, z_t: Tensor, t: Tensor, previous: Tensor | None, label: Tensor) -> Tensor:
        assert isinstance(label, Tensor) and label.ndim == 1, (
            "The network wants a label for each row, also for 'no class': torch.full_like(label, net.null_label)."
        )
        self.rows += len(z_t)
        told = 0 if previous is None else 0.5 * previous
        return torch.cos(z_t * (1 + label.double().reshape(-1, 1, 1))) + told + t.reshape(-1, 1, 1)


def x_of(label, previous=PREVIOUS) -> Tensor:
    return PROCESS.to_x(Z, Net()(Z, T, previous, label), T, "v")


CLASS, NONE = x_of(LABEL), x_of(torch.full_like(LABEL, NULL))


def reference(process, net, z_t, t, previous, label, weight):
    def x_hat(label):
        return process.to_x(z_t, net(z_t, t, previous, label), t, "v")

    none = x_hat(torch.full_like(label, net.null_label))
    return (1 - weight) * none + weight * x_hat(label)


def ask(attempt, weight):
    return torch.as_tensor(attempt(PROCESS, Net(), Z.clone(), T.clone(), PREVIOUS.clone(), LABEL.clone(), weight))


def test(attempt):
    for weight in WEIGHTS:
        value, truth = ask(attempt, weight), (1 - weight) * NONE + weight * CLASS
        assert value.shape == SHAPE, f"Return estimates shaped {SHAPE}, not {tuple(value.shape)}."
        says = {0.0: "the answer without a class", 1.0: "the answer with the class"}.get(weight, "beyond the class")
        assert torch.allclose(value.double(), truth, atol=1e-6), (
            f"At w = {weight:g} the estimate is {says}; yours is off by up to {(value - truth).abs().max():.2f}."
        )
    net = Net()
    attempt(PROCESS, net, Z.clone(), T.clone(), PREVIOUS.clone(), LABEL.clone(), 2.5)
    calls = net.rows / len(Z)  # both questions in one batch are two calls
    assert calls == 2, f"Guidance asks the network twice per step, yours {calls:g} times."


def gives(wrong):
    return lambda attempt: all(torch.allclose(ask(attempt, w).double(), wrong(w), atol=1e-6) for w in WEIGHTS)


def as_v(w):
    """The two answers mixed, but not turned into x."""
    net = Net()
    none, told = (net(Z, T, PREVIOUS, label) for label in (torch.full_like(LABEL, NULL), LABEL))
    return (1 - w) * none + w * told


BLIND, BLIND_CLASS = x_of(torch.full_like(LABEL, NULL), None), x_of(LABEL, None)

MISTAKES = [
    (gives(lambda w: w * NONE + (1 - w) * CLASS), "The two are swapped: w = 1 must be the answer *with* the class."),
    (
        gives(lambda w: CLASS + w * (CLASS - NONE)),
        "That is another convention, (1 + w) x_class - w x_none, whose 0 is our 1. LD4LG writes w x_class + (1 - w)"
        " x_none.",
    ),
    (gives(as_v), "The mix is right, but it is still v: turn it into x with process.to_x."),
    (
        gives(lambda w: (1 - w) * BLIND + w * CLASS),
        "The branch without a class does not read `previous`. Both must, or their difference is not that of the class"
        " alone.",
    ),
    (
        gives(lambda w: (1 - w) * BLIND + w * BLIND_CLASS),
        "Neither answer reads `previous`. Hand it to both calls.",
    ),
    (
        gives(lambda w: (1 - w) * x_of(0 * LABEL) + w * CLASS),
        "Label 0 is a class like any other. 'No class' is net.null_label.",
    ),
    (gives(lambda w: NONE + CLASS * w), "The weights must sum to 1: (1 - w) x_none + w x_class."),
    (gives(lambda w: CLASS), "The weight is not used: this is the conditional model, w = 1."),
]

ex3_4 = Check(
    "3.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Ask twice, at the same z_t, t and previous: with `label`, and with net.null_label in every row.",
        "torch.full_like(label, net.null_label); process.to_x(z_t, answer, t, 'v').",
        "(1 - weight) * x_none + weight * x_class",
    ],
    reference=reference,
    praise="Two calls per step. Beyond w = 1 it walks away from what the network would say of any text.",
)
