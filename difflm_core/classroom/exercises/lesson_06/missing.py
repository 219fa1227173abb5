"""Exercise 6.2: masked latents, each number set to 0 with its own coin, the others left as they are."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

B, N, D = 2000, 4, 6
Z = 1 + torch.rand(B, N, D, generator=seeded(1))  # no zeros of its own
DROP = 0.4


def reference(z, drop, generator=None):
    return torch.where(torch.rand(z.shape, generator=generator) < drop, 0.0, z)


def ask(attempt, drop: float = DROP, seed: int = 0) -> torch.Tensor:
    return torch.as_tensor(attempt(Z.clone(), drop, seeded(seed)))


def gone(attempt) -> torch.Tensor:
    return ask(attempt) == 0


def kept_share(attempt) -> float:
    """The size of what is left, relative to what it was."""
    out = ask(attempt)
    return float((out / Z)[out != 0].mean())


def together(dims: tuple[int, ...]):
    """A probe: along these dimensions all numbers stand or fall together."""

    def probe(attempt) -> bool:
        share = gone(attempt).double().mean(dims)
        return bool(((share == 0) | (share == 1)).all())

    return probe


def writes(attempt) -> bool:
    given = Z.clone()
    attempt(given, DROP, seeded(0))
    return not torch.equal(given, Z)


def test(attempt):
    out = ask(attempt)
    assert out.shape == Z.shape, f"Return latents shaped like z, {tuple(Z.shape)}, not {tuple(out.shape)}."
    for drop in (DROP, 0.1):
        share = float((ask(attempt, drop) == 0).double().mean())
        assert abs(share - drop) < 0.02, f"With drop = {drop} the share of zeros is {share:.2f}."
    assert not any(together(dims)(attempt) for dims in ((2,), (1, 2), (0,))), "Every number needs a coin of its own."
    assert torch.equal(out[out != 0], Z[out != 0]), "What is not dropped must stay exactly as it was."
    assert not writes(attempt), "z must stay as it was."
    assert torch.equal(ask(attempt), ask(attempt)), "Same generator, same draws."
    assert torch.equal(ask(attempt, 0.0), Z), "With drop = 0 nothing changes."


MISTAKES = [
    (
        lambda f: 0 < float((ask(f) != Z).double().mean()) and not bool((ask(f) == 0).any()),
        "You add noise, or change all numbers alike. Dropped numbers become exactly 0, the others stay.",
    ),
    (
        lambda f: abs(kept_share(f) - 1 / (1 - DROP)) < 0.01,
        "What is left is scaled up by 1/(1 - drop), as torch's dropout does. Here it is not: the missing numbers are to"
        " be missed.",
    ),
    (
        lambda f: abs(float(gone(f).double().mean()) - (1 - DROP)) < 0.02,
        "Kept and dropped are swapped: `drop` is the probability of 0.",
    ),
    (together((1, 2)), "One coin for a whole text. Every number needs its own: torch.rand(z.shape)."),
    (together((2,)), "One coin for a whole latent vector. Every number needs its own: torch.rand(z.shape)."),
    (together((0,)), "All texts of the batch lose the same numbers. Draw coins for every text: torch.rand(z.shape)."),
    (
        lambda f: not torch.equal(ask(f), ask(f)),
        "Two runs with the same generator differ. Pass the generator to torch.rand.",
    ),
    (writes, "Your function writes into z, the caller's tensor: return a new one."),
]

ex6_2 = Check(
    "6.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "torch.rand(z.shape, generator=generator) gives every number its own coin.",
        "A coin below `drop` means 0. Nothing is divided by 1 - drop.",
        "torch.where(torch.rand(z.shape, generator=generator) < drop, 0.0, z)",
    ],
    reference=reference,
    praise="No number may be the only one that knows something.",
)
