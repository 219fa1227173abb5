"""Exercise 6.5, open: tell rough latent spaces from smooth ones by asking the decoder alone.

All spaces hold the same texts and give every one of them back; they are one space stirred more and more. One decoder
is louder than the others (its logits are larger), which changes no word and must not count as roughness.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

TEXTS, N, E, L, V = 256, 2, 8, 6, 12
STRENGTHS = (0.0, 0.25, 0.5, 1.0)
LOUD = 0.25  # the strength of the space whose decoder is louder
SEEDS = (1, 2, 3)


def space(strength: float, seed: int, loud: float = 1.0) -> tuple[Callable, Float[Tensor, "B N E"]]:
    """A decoder (B, N, E) -> (B, L, V), and standardised latents of texts that it reads."""
    draws, half = seeded(seed), N * E // 2
    A, B = (torch.linalg.qr(torch.randn(half, half, generator=draws)).Q for _ in range(2))
    words = torch.randn(N * E, L * V, generator=draws)
    a, b = torch.randn(TEXTS, N * E, generator=draws).chunk(2, dim=1)
    b = b + strength * (4 * a @ A).sin()
    a = a + strength * (4 * b @ B).sin()
    z = torch.cat([a, b], dim=1)
    mean, deviation = z.mean(0), z.std(0)

    def decode(latents: Float[Tensor, "B N E"]) -> Float[Tensor, "B L V"]:
        a, b = (latents.flatten(1) * deviation + mean).chunk(2, dim=1)
        a = a - strength * (4 * b @ B).sin()
        b = b - strength * (4 * a @ A).sin()
        return loud * (torch.cat([a, b], dim=1) @ words).view(-1, L, V)

    return decode, ((z - mean) / deviation).view(TEXTS, N, E)


def measured(roughness, strength: float, seed: int, loud: float = 1.0) -> float:
    value = torch.as_tensor(roughness(*space(strength, seed, loud), seeded(seed)), dtype=torch.float64)
    assert value.shape == () and bool(value.isfinite()), "Return one finite number per space."
    return value.item()


def test(roughness):
    for seed in SEEDS:
        found = [measured(roughness, strength, seed) for strength in STRENGTHS]
        said = ", ".join(f"{value:.4g}" for value in found)
        assert all(a < b for a, b in zip(found, found[1:])), (
            f"Four spaces, from smooth to rough, get {said}: the numbers must rise. All of them read their own latents"
            " alike: look at what happens beside these."
        )
        loud = measured(roughness, LOUD, seed, loud=4.0)
        assert found[0] < loud < found[2], (
            f"A decoder whose logits are 4 times larger reads the same words, but gets {loud:.4g}, outside"
            f" {found[0]:.4g} to {found[2]:.4g}: your number measures confidence as well. Compare words, or divide."
        )


def reference(decode, z, generator=None):
    words = decode(z).argmax(-1)
    moved = [decode(z + 0.2 * torch.randn(z.shape, generator=generator)).argmax(-1) for _ in range(4)]
    return torch.stack([(words != now).double().mean() for now in moved]).mean()


def grows_with_confidence(roughness) -> bool:
    """On spaces of one roughness it changes with the size of the logits."""
    quiet, loud = (measured(roughness, LOUD, 1, size) for size in (1.0, 4.0))
    return abs(loud - quiet) > 0.3 * abs(quiet)


def falls(roughness) -> bool:
    found = [measured(roughness, strength, 1) for strength in STRENGTHS]
    return all(a > b for a, b in zip(found, found[1:]))


def blind(roughness) -> bool:
    """The same answer for all spaces: it asked for reconstruction only."""
    found = [measured(roughness, strength, 1) for strength in STRENGTHS]
    return max(found) - min(found) < 1e-3 * (1 + abs(found[0]))


MISTAKES = [
    (
        blind,
        "Your number is the same for all spaces. At the latents themselves they cannot be told apart: decode points"
        " *near* them, or between two of them.",
    ),
    (falls, "Your number falls from smooth to rough: that is smoothness. Turn it round."),
    (
        grows_with_confidence,
        "Your number changes with the size of the logits alone. A louder decoder reads the same words: compare words"
        " (argmax), or divide by how much the logits differ between texts.",
    ),
]

ex6_5 = Check(
    "6.5",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Two probes from the lesson: add a little noise to z, or walk from one text to another.",
        "Decode z and z + 0.2 * noise: how many words differ? Average over some draws of the noise.",
        "The words are decode(...).argmax(-1). With too much noise all spaces look equally rough: keep it small.",
    ],
    reference=reference,
    praise="It needs no denoiser, only seconds, and sees what no reconstruction figure can see.",
)
