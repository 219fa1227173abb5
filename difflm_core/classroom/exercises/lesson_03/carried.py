"""Exercise 3.3: a sampler that carries its estimate along, watched by a network that keeps every question."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded
from difflm_core.processes import GaussianProcess, ShiftedCosine

SHAPE = (2, 3, 4)
PROCESS = GaussianProcess(ShiftedCosine(1.0))
TIMES = [1.0, 0.7, 0.4, 0.2]


@dataclass
class Net:
    """Predicts v; answers by its input, and keeps (z_t, t, previous, answer) of every call."""

    asked: list[tuple] = field(default_factory=list)

    def __call__(self, z_t: Tensor, t: Tensor, previous: Tensor | None = None) -> Tensor:
        answer = torch.sin(z_t + t.reshape(-1, 1, 1)) + (0 if previous is None else 0.3 * previous)
        kept = None if previous is None else previous.clone()
        self.asked.append((z_t.clone(), t.clone(), kept, answer.clone()))
        return answer


def at(time: float) -> Tensor:
    return torch.full(SHAPE[:1], time)


def estimate(call) -> Tensor:
    """The x_hat that this call's answer stands for."""
    z_t, t, _, answer = call
    return PROCESS.to_x(z_t, answer, t, "v")


def reference(process, net, step, times, z, generator=None):
    x_hat = None
    for now, following in zip(times, [*times[1:], None]):
        t = torch.full((len(z),), now)
        x_hat = process.to_x(z, net(z, t, x_hat), t, "v")
        if following is not None:
            z = step(process, z, x_hat, torch.full((len(z),), following), t, generator)
    return x_hat


def step(process, z_t, x_hat, s, t, generator=None):
    return process.step(z_t, x_hat, s, t, generator)


def watched(attempt) -> tuple[list[tuple], Tensor]:
    net = Net()
    z = torch.randn(SHAPE, generator=seeded(1))
    out = attempt(PROCESS, net, step, list(TIMES), z, seeded(2))
    return net.asked, out


def test(attempt):
    asked, out = watched(attempt)
    assert isinstance(out, Tensor) and out.shape == SHAPE, f"Return the last estimate, a tensor shaped {SHAPE}."
    assert len(asked) == len(TIMES), f"{len(TIMES)} times ask the network {len(TIMES)} times, not {len(asked)}."
    assert all(torch.allclose(call[1].float(), at(time)) for call, time in zip(asked, TIMES)), (
        "Each call must get its own time t, one per row, in the order of `times`."
    )
    assert nothing(asked[0][2]), "In the first call there is no estimate yet: previous = None."
    for before, call in zip(asked, asked[1:]):
        assert call[2] is not None, "From the second call on the network reads an estimate, but it got None."
        assert torch.allclose(call[2], estimate(before), atol=1e-5), (
            "What is handed on must be the x_hat of the call just before."
        )
    truth = watched(reference)
    assert all(torch.allclose(mine[0], right[0], atol=1e-5) for mine, right in zip(asked, truth[0])), (
        "The walk is not right: z_s comes from step(process, z, x_hat, s, t, generator), with s the next time."
    )
    assert torch.allclose(out, estimate(asked[-1]), atol=1e-5), (
        "The sample is the last x_hat: after the last call nothing is stepped and no noise is added."
    )


def nothing(previous: Tensor | None) -> bool:
    """None counts as zeros, so zeros are no estimate either."""
    return previous is None or not bool(previous.any())


def previous_is(answer):
    """A probe: from the second call on, `previous` is what answer(calls before) gives."""

    def probe(attempt):
        asked = watched(attempt)[0]
        pairs = [(asked[:i], call[2]) for i, call in enumerate(asked)][1:]
        return bool(pairs) and all(
            given is not None and torch.allclose(given, answer(before), atol=1e-6) for before, given in pairs
        )

    return probe


def never_told(attempt) -> bool:
    asked = watched(attempt)[0]
    return len(asked) > 1 and all(nothing(call[2]) for call in asked)


def asked_twice(attempt) -> bool:
    return len(watched(attempt)[0]) == 2 * len(TIMES)


def returns(value):
    def probe(attempt):
        asked, out = watched(attempt)
        return out.shape == SHAPE and torch.allclose(out, value(asked), atol=1e-5)

    return probe


MISTAKES = [
    (never_told, "The network is never told its estimate: hand x_hat on as `previous`."),
    (
        asked_twice,
        "Two calls per step: that is the training recipe, which has no step before. In sampling the estimate of the"
        " last step is there already, and costs nothing.",
    ),
    (
        previous_is(lambda before: before[-1][3]),
        "You hand on the network's answer, which is v. In training it was shown an estimate of *x*: use process.to_x.",
    ),
    (
        previous_is(lambda before: estimate(before[0])),
        "Every call gets the first estimate. Hand on the newest one.",
    ),
    (
        returns(lambda asked: asked[-1][0]),
        "You return z, which still has the noise of the last time in it. The sample is the last x_hat.",
    ),
    (returns(lambda asked: asked[-1][3]), "You return v. The sample is the x_hat that it stands for."),
    (
        lambda f: not nothing(watched(f)[0][0][2]),
        "In the first call nothing is known: previous is None, which counts as zeros.",
    ),
    (
        lambda f: not torch.equal(watched(f)[1], watched(f)[1]),
        "Two walks with the same generator differ. Hand `generator` to every step.",
    ),
]

ex3_3 = Check(
    "3.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Keep x_hat in a variable that is None at first.",
        "x_hat = process.to_x(z, net(z, t, x_hat), t, 'v'), then step to the next time, except after the last.",
        "for now, following in zip(times, [*times[1:], None]): ...; t = torch.full((len(z),), now)",
    ],
    reference=reference,
    praise="No call more than without it: what was thrown away before is now read.",
)
