"""Exercise 5.5: a schedule made from the curve of readable words, so that each step hides as many as any other."""

import torch

from difflm_core.classroom.checks import Check

LOG_SNR = torch.linspace(-9, 6, 61, dtype=torch.float64)
CURVES = {  # shares of words that can be read, rising with the log-SNR: two different languages
    "smooth": 0.12 + 0.88 * torch.sigmoid(1.3 * (LOG_SNR + 2)),
    "two steps": 0.2 + 0.5 * torch.sigmoid(2 * (LOG_SNR + 5)) + 0.3 * torch.sigmoid(2 * (LOG_SNR - 1)),
}
TIMES = torch.linspace(0, 1, 21, dtype=torch.float64)
ALLOWED = 0.1  # of the mean fall per step


def interpolate(x, y, at):
    """Piecewise linear through (x, y), x rising."""
    i = torch.searchsorted(x.contiguous(), at.contiguous()).clamp(1, len(x) - 1)
    part = (at - x[i - 1]) / (x[i] - x[i - 1]).clamp_min(1e-300)
    return torch.lerp(y[i - 1], y[i], part.clamp(0, 1))


def reference(log_snr, share, t):
    wanted = share[-1] + (share[0] - share[-1]) * t
    return interpolate(share, log_snr, wanted)


def falls(attempt, name):
    """Share of words at each of the times, by the curve itself."""
    share = CURVES[name]
    answer = attempt(LOG_SNR.clone(), share.clone(), TIMES.clone())
    assert hasattr(answer, "shape"), "Return a tensor (or an array): one log-SNR per time."
    answer = torch.as_tensor(answer).double()
    assert answer.shape == TIMES.shape, f"Return one log-SNR per time, {tuple(TIMES.shape)}, not {tuple(answer.shape)}."
    assert bool(torch.isfinite(answer).all()), "Some log-SNRs are not finite."
    return answer, interpolate(LOG_SNR, share, answer)


def test(attempt):
    for name, share in CURVES.items():
        answer, left = falls(attempt, name)
        assert bool((answer.diff() <= 1e-9).all()), "The log-SNR must fall as t grows: t = 1 is the noise."
        ideal = (share[-1] - share[0]) / (len(TIMES) - 1)
        worst = ((left[:-1] - left[1:]) / ideal - 1).abs().max().item()
        assert worst < ALLOWED, (
            f"On the curve '{name}' one of twenty steps hides {worst:.0%} more or less than an even step would; allowed"
            f" are {ALLOWED:.0%}."
        )


def like(wrong):
    def probe(attempt):
        return all(
            torch.allclose(falls(attempt, name)[0], wrong(LOG_SNR, share, TIMES).double(), atol=1e-3)
            for name, share in CURVES.items()
        )

    return probe


def straight(log_snr, share, t):
    return log_snr[-1] + (log_snr[0] - log_snr[-1]) * t


def from_one_to_zero(log_snr, share, t):
    return interpolate(share, log_snr, 1 - t)


ex5_5 = Check(
    "5.5",
    test=test,
    mistakes=[
        (
            like(straight),
            "The log-SNR falls in a straight line, the words do not. Begin with the *share* that you want at t, and"
            " look up at which log-SNR the curve has it.",
        ),
        (
            like(lambda x, y, t: reference(x, y, 1 - t)),
            "t runs the wrong way: at t = 0 everything can be read.",
        ),
        (
            like(from_one_to_zero),
            "Even in pure noise some words are guessed right. The line ends at the curve's lowest value, share[0].",
        ),
        (
            like(lambda x, y, t: interpolate(y, x, y[-1] * (1 - t))),
            "Your line falls to 0, but even in pure noise some words are guessed right. It ends at the curve's lowest"
            " value, share[0].",
        ),
        (
            like(lambda x, y, t: interpolate(x, y, y[-1] + (y[0] - y[-1]) * t)),
            "The roles of the two axes are exchanged. You know a share and want its log-SNR:"
            " np.interp(wanted, share, log_snr).",
        ),
        (
            like(lambda x, y, t: x[(y[None] - (y[-1] + (y[0] - y[-1]) * t)[:, None]).abs().argmin(1)]),
            "You take the nearest point of the curve. Where the curve is steep that is too coarse: interpolate between"
            " its points.",
        ),
        (
            like(lambda x, y, t: interpolate(x, y, straight(x, y, t))),
            "You return shares. Wanted is the log-SNR at which the curve has them: look it up the other way round.",
        ),
        (
            like(lambda x, y, t: torch.sigmoid(reference(x, y, t))),
            "That is alpha = sigmoid(log-SNR). Return the log-SNR itself.",
        ),
    ],
    hints=[
        "What share should be readable at time t? A straight line from share[-1] at t = 0 to share[0] at t = 1.",
        "The curve answers 'which share at this log-SNR'. You ask the other way round: interpolate with x and y"
        " exchanged. np.interp(wanted, share, log_snr) does it, since share rises.",
    ],
    reference=reference,
    praise=f"Each of twenty steps hides the same, up to {ALLOWED:.0%}. No d: the language writes its own schedule.",
)  # fmt: skip
