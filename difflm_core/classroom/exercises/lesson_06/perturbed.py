"""Exercise 6.3: what the compressor reads, half of the batch with hidden tokens and half with noise."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

B, L, D = 2000, 5, 3
HALF = B // 2
FEATURES = torch.randn(B, L, D, generator=seeded(1))
MASK = torch.arange(L) < torch.randint(1, L + 1, (B, 1), generator=seeded(2))  # texts of a single token, too
HIDE, KEEP = 0.3, 0.7


def reference(features, mask, hide, keep, generator=None):
    first = (torch.arange(len(features)) < len(features) // 2)[:, None]
    visible = mask & ~(first & (torch.rand(mask.shape, generator=generator) < hide))
    visible = torch.where(visible.any(1, keepdim=True), visible, mask)
    noise = torch.randn(features.shape, generator=generator)
    noisy = keep * features + (1 - keep**2) ** 0.5 * noise
    return torch.where(first[..., None], features, noisy), visible


def ask(attempt, hide: float = HIDE, keep: float = KEEP, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    out = attempt(FEATURES.clone(), MASK.clone(), hide, keep, seeded(seed))
    assert isinstance(out, tuple) and len(out) == 2, "Return two tensors: what is read, and which tokens are visible."
    return tuple(torch.as_tensor(part) for part in out)


def hidden_share(visible, rows) -> float:
    """Of the tokens in texts of several, so that the rule about empty texts hardly shows."""
    rows = torch.zeros(B, dtype=torch.bool).index_fill(0, torch.arange(B)[rows], True) & (MASK.sum(1) == L)
    return float(1 - visible[rows].double().mean())


def noise_of(seen, rows) -> tuple[float, float]:
    """The factor of the clean states, and the deviation of what was added."""
    x, y = FEATURES[rows].flatten().double(), seen[rows].flatten().double()
    factor = float((x * y).sum() / x.square().sum())
    return factor, float((y - factor * x).std())


FIRST, LAST = slice(None, HALF), slice(HALF, None)
DEVIATION = (1 - KEEP**2) ** 0.5


def test(attempt):
    seen, visible = ask(attempt)
    assert seen.shape == FEATURES.shape, f"What is read has the shape of the states, {tuple(FEATURES.shape)}."
    assert visible.shape == MASK.shape and visible.dtype == torch.bool, "`visible` is boolean, one value per token."
    assert not bool((visible & ~MASK).any()), "Padding must not become visible."
    assert torch.equal(visible[LAST], MASK[LAST]), "In the second half of the batch every token is visible."
    assert torch.equal(seen[FIRST], FEATURES[FIRST]), "In the first half the states stay as they were."
    share = hidden_share(visible, FIRST)
    assert abs(share - HIDE) < 0.03, f"In the first half {HIDE:.0%} of the tokens are hidden; in yours {share:.0%}."
    assert bool(visible.any(1).all()), "A text of which nothing would be left stays whole."
    factor, deviation = noise_of(seen, LAST)
    assert abs(factor - KEEP) < 0.02 and abs(deviation - DEVIATION) < 0.02, (
        f"In the second half the states come with factor {KEEP} and noise of deviation {DEVIATION:.2f}; yours:"
        f" {factor:.2f} and {deviation:.2f}."
    )
    assert all(map(torch.equal, ask(attempt), ask(attempt))), "Same generator, same draws."


def finds(look):
    """A probe that looks at (seen, visible)."""
    return lambda attempt: look(*ask(attempt))


def is_noise(expected: float):
    return finds(lambda seen, visible: abs(noise_of(seen, LAST)[1] - expected) < 0.02)


MISTAKES = [
    (
        finds(lambda seen, visible: seen.shape == MASK.shape and visible.shape == FEATURES.shape),
        "The order: first what is read, then which tokens are visible.",
    ),
    (
        finds(lambda seen, visible: torch.equal(visible[LAST], ~MASK[LAST])),
        "You return which tokens are hidden. `visible` is True where the compressor may look.",
    ),
    (
        finds(lambda seen, visible: torch.equal(seen[FIRST], FEATURES[FIRST] * visible[FIRST][..., None])),
        "The states of hidden tokens are set to 0 as well. Leave them: `visible` alone keeps the compressor from"
        " looking.",
    ),
    (
        finds(lambda seen, visible: hidden_share(visible, LAST) > 0.1 and hidden_share(visible, FIRST) > 0.1),
        "Tokens are hidden in the whole batch. Half of it is hidden, the other half gets noise.",
    ),
    (
        finds(lambda seen, visible: noise_of(seen, FIRST)[1] > 0.1 and noise_of(seen, LAST)[1] > 0.1),
        "All texts get noise. The first half keeps its states and only hides tokens.",
    ),
    (
        finds(lambda seen, visible: noise_of(seen, FIRST)[1] > 0.1),
        "The halves are swapped: the first one is hidden, the second one noisy.",
    ),
    (
        finds(lambda seen, visible: abs(noise_of(seen, LAST)[0] - KEEP**0.5) < 0.02),
        "You take keep for a share of the variance. It multiplies the states themselves: keep * features.",
    ),
    (
        is_noise(1 - KEEP),
        "The noise has deviation 1 - keep. Variances add, so that keep² + its square must be 1: sqrt(1 - keep²).",
    ),
    (
        is_noise(1 - KEEP**2),
        "1 - keep² is the variance of the noise. What multiplies eps is its root.",
    ),
    (
        finds(lambda seen, visible: abs(noise_of(seen, LAST)[0] - 1) < 0.02),
        "The states keep their full size and noise comes on top: the compressor would learn to be loud. They are"
        " multiplied by keep.",
    ),
    (
        finds(lambda seen, visible: hidden_share(visible, FIRST) > 0.45),
        "Hidden and visible are swapped: `hide` is the probability of being hidden.",
    ),
    (
        finds(lambda seen, visible: bool((visible & ~MASK).any())),
        "Padding becomes visible: start from `mask` and take tokens away.",
    ),
    (
        finds(lambda seen, visible: not bool(visible.any(1).all())),
        "Some texts lose all their tokens, and nothing can be learned from them. Give those their `mask` back.",
    ),
    (
        lambda f: not all(map(torch.equal, ask(f), ask(f))),
        "Two runs with the same generator differ. Pass the generator to every draw.",
    ),
]

ex6_3 = Check(
    "6.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "first = (torch.arange(B) < B // 2)[:, None] tells the halves apart; hidden tokens are taken out of `mask`.",
        "Noise that keeps the variance: keep * features + (1 - keep**2) ** 0.5 * torch.randn(features.shape, ...).",
        "visible.any(1, keepdim=True) is False for a text that lost everything: torch.where gives it its mask back.",
    ],
    reference=reference,
    praise="Two ways to know less than the whole text, and the decompressor must name every word all the same.",
)
