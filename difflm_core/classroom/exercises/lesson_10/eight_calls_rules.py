"""Exercise 10.5, its rules: what a sampler claims, what it costs, how various and how right its sentences must be."""

import torch

CALLS = 8
BROKEN, SPREAD, GAP = 0.4, 0.95, 1.0  # most broken and least spread, both relative; most nats above true sentences


def check_calls(sample, asked: float):
    """`asked` is how often a row really was given to either network, on average."""
    claimed = torch.as_tensor(sample.network_calls).double()
    assert asked <= float(claimed.mean()) + 1e-6, (
        f"network_calls says {float(claimed.mean()):.2f} a row, but the networks were asked {asked:.2f} times a row."
        " Count the calls of the error predictor as well."
    )
    assert float(claimed.max()) <= CALLS, (
        f"Too many network calls: {float(claimed.max()):.0f} for one row, at most {CALLS}, the error predictor's"
        " included (steps_for_calls gives the number of steps)."
    )


def check_variety(found, spread: float):
    assert found.gap <= GAP, (
        f"Your right sentences are {found.gap:.2f} nats likelier than true ones, and at most {GAP:.1f} is allowed: the"
        " sampler prefers the usual. Taking back what is *rare* instead of what is wrong does that (confidence), and so"
        " does a low temperature, and too much revision."
    )
    assert found.spread >= SPREAD * spread, (
        f"Your sampler has become narrow: the words at a position have {found.spread:.2f} nats of entropy, in true"
        f" sentences {spread:.2f}, and at least {SPREAD * spread:.2f} are asked."
    )


def check_broken(broken: float, plain: float):
    said = f"{broken:.1%} of your sentences are broken, {plain:.1%} with ancestral({CALLS})"
    assert broken < plain, f"{said}: no better yet. Which words are drawn together, and when is the predictor asked?"
    assert broken <= BROKEN * plain, (
        f"{said}. Better, but ask for at most {BROKEN:.0%} as many: is every call spent where it helps?"
    )
