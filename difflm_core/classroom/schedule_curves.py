"""What a schedule does, as four curves over t: signal, signal to noise, what can still be read, and the loss weight.

The third needs a language: how many words an ideal reader could recover depends on alpha only, so one curve over alpha
serves all schedules. For vectors it comes from the stored study `recoverable_tokens`; for masks it is computed here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.oracle import HiddenMarkovLanguage
from difflm_core.oracle.recoverable import guessed_blind, useless_steps
from difflm_core.processes import Cosine, Linear, LinearBeta, Schedule, ShiftedCosine, Sqrt, masked

TIMES = torch.linspace(0, 1, 101, dtype=torch.float64)
EDGE = 1e-9  # keeps alpha off 0 and 1, where SNR and weights are 0 or infinite


@dataclass(frozen=True)
class Noise:
    """What kind of noise the schedule drives: `readable(alpha)`, the share of words that can be recovered; `weight(
    alpha, dalpha)`, that of the loss in the bound; `unit`, what is weighted; `blind`, the share guessed with nothing.
    """

    readable: Callable[[Float[Tensor, "T"]], Float[Tensor, "T"]]
    weight: Callable[[Float[Tensor, "T"], Float[Tensor, "T"]], Float[Tensor, "T"]]
    unit: str
    blind: float


@dataclass(frozen=True)
class Curves:
    """Over TIMES: alpha, log10 SNR, share of words readable, log10 of the loss weight."""

    alpha: Float[Tensor, "T"]
    log_snr: Float[Tensor, "T"]
    readable: Float[Tensor, "T"]
    log_weight: Float[Tensor, "T"]


def usual_schedules() -> dict[str, Schedule]:
    """The schedules of the papers. Linear in alpha is MDLM's log-linear noise; tan-1 is the cosine of improved DDPM."""
    return {
        "linear (log-linear noise)": Linear(),
        "cosine (MD4)": Cosine(),
        "sqrt": Sqrt(),
        "tan-1": ShiftedCosine(1.0),
        "tan-9": ShiftedCosine(9.0),
        "linear beta": LinearBeta(),
    }


def curves(schedule: Schedule, noise: Noise) -> Curves:
    alpha = schedule.alpha(TIMES).clamp(EDGE, 1 - EDGE)
    inside = TIMES.clamp(1e-3, 1 - 1e-3)  # at the ends some derivatives are 0 and some weights infinite
    weight = noise.weight(schedule.alpha(inside).clamp(EDGE, 1 - EDGE), schedule.dalpha(inside)).clamp_min(EDGE)
    return Curves(schedule.alpha(TIMES), (alpha / (1 - alpha)).log10(), noise.readable(alpha), weight.log10())


def useless(found: Curves, noise: Noise) -> tuple[float, float]:
    """Shares of [0, 1] where everything can be read, and where nothing can (within two points of a hundred)."""
    easy, noisy = useless_steps(TIMES[1:], found.readable[1:], noise.blind)
    return easy, max(noisy, 0.0)


def mask_noise(language: HiddenMarkovLanguage, texts: int = 48, levels: int = 13, seed: int = 0) -> Noise:
    """Masks: readable by the exact posterior on `texts` sentences (each with one draw of noise for all levels); the
    weight of the cross-entropy of a masked word is -alpha' / (1 - alpha), MDLM Eq. 11.
    """
    x = language.sample(texts, generator=torch.Generator().manual_seed(seed))
    u = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed + 1))
    alpha = torch.linspace(0, 1, levels, dtype=torch.float64)
    process = masked(language.V)
    share = [language.posterior(torch.where(u < a, x, language.mask_id), None, process).amax(-1).mean() for a in alpha]
    readable = straight(alpha, torch.stack(share))
    return Noise(readable, lambda a, d: -d / (1 - a), "cross-entropy of a masked word", guessed_blind(language))


def vector_noise(study: dict, D: int, scale: str = "unit variance") -> Noise:
    """Gaussian noise on random vectors of D numbers, from the stored study; the weight of the squared error of x is
    -SNR' / 2 (Kingma et al. 2021, VDM), with SNR' = alpha' / (1 - alpha)^2.
    """
    runs = [run for run in study["runs"] if run["D"] == D and run["scale"] == scale]
    if not runs:
        known = sorted({run["D"] for run in study["runs"] if run["scale"] == scale})
        raise ValueError(f"The study has no vectors of {D} numbers: choose one of {', '.join(map(str, known))}.")
    alpha = torch.tensor([a for run in runs for a in run["alpha"]], dtype=torch.float64).clamp(EDGE, 1 - EDGE)
    share = torch.tensor([s for run in runs for s in run["context"]], dtype=torch.float64)
    order = alpha.logit().argsort()
    by_log_snr = straight(*binned(alpha.logit()[order], share[order]))
    blind = study["settings"]["guessed_blind"]
    return Noise(lambda a: by_log_snr(a.logit()), lambda a, d: -d / (2 * (1 - a) ** 2), "squared error of x", blind)


def binned(x: Float[Tensor, "N"], y: Float[Tensor, "N"], width: float = 0.1) -> tuple[Tensor, Tensor]:
    """Means of neighbours: the study's schedules and seeds meet the same level more than once."""
    group = ((x - x[0]) / width).floor().long()
    groups = group.unique()
    mean = [(x[group == g].mean(), y[group == g].mean()) for g in groups]
    return torch.stack([m[0] for m in mean]), torch.stack([m[1] for m in mean])


def straight(x: Float[Tensor, "N"], y: Float[Tensor, "N"]) -> Callable[[Float[Tensor, "T"]], Float[Tensor, "T"]]:
    """Linear between the points (x rising), constant outside."""

    def line(at: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
        i = torch.searchsorted(x, at).clamp(1, len(x) - 1)
        part = ((at - x[i - 1]) / (x[i] - x[i - 1])).clamp(0, 1)
        return torch.lerp(y[i - 1], y[i], part)

    return line


def numbers(name: str, found: Curves, noise: Noise, t: float) -> str:
    """What the slider position shows, in one sentence."""
    i = int(round(t * (len(TIMES) - 1)))
    easy, noisy = useless(found, noise)
    return (
        f"{name}, t = {t:.2f}: alpha {found.alpha[i]:.3f}, SNR {shown(10 ** found.log_snr[i].item())}, "
        f"{found.readable[i]:.0%} of the words can be read, weight {shown(10 ** found.log_weight[i].item())} on the "
        f"{noise.unit}. Of all times {easy:.0%} are too easy and {noisy:.0%} too noisy."
    )


def shown(value: float) -> str:
    """0.013, 4.2, 310, or a power of ten beyond."""
    if value and not 1e-3 <= value < 1e4:
        return f"about 1e{round(math.log10(value)):+d}"
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"
