"""What do the latents carry, and what does the decoder add of its own?

An autoregressive decoder is a language model of its own, so fluency alone says little about latents. Three questions
do: does a text come back from its own latents and not from another's (`use_of_latents`)? Do the codes of a VAE differ
between texts at all (`use_of_codes`)? How much noise can a latent bear before its text is lost, with and without the
denoiser's help (`robustness`)?
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.evaluation.bleu import bleu, real_tokens, until
from difflm_core.models import LD4LG, Planner, code_kl
from difflm_core.objectives import written_nll
from difflm_core.processes import GaussianProcess
from difflm_core.samplers import write_texts
from difflm_core.samplers.gaussian import at


@dataclass(frozen=True)
class LatentUse:
    """`nll`, nats per token of the true text, `bleu` of the text that is written greedily, and `exact`, the share of
    texts that come back whole.
    """

    nll: float
    bleu: float
    exact: float

    def __str__(self) -> str:
        return f"{self.nll:.3f} nats per token, BLEU {self.bleu:.3f}, {self.exact:.1%} exact"


@torch.no_grad()
def use_of_latents(
    model: LD4LG | Planner,
    latents: Float[Tensor, "B N D"],
    ids: Int[Tensor, "B L"],
    mask: Bool[Tensor, "B L"] | None = None,
) -> LatentUse:
    """How well latents say which texts they are given for. Give the texts' own latents, then `shuffled(latents)`: as
    good with others' as with their own means that the decoder does not listen.
    """
    nats = written_nll(model.decoder, model.context(latents), ids, mask)
    tokens = ids.numel() if mask is None else int(mask.sum())
    texts, references = written(model, latents), real_tokens(ids, mask)
    exact = sum(text == reference for text, reference in zip(texts, references)) / len(texts)
    return LatentUse(nats.double().sum().item() / tokens, bleu(texts, references), exact)


def shuffled(latents: Float[Tensor, "B N D"], generator: torch.Generator | None = None) -> Float[Tensor, "B N D"]:
    """Every text gets the latents of another one: the rows in a circle of random order. ValueError for one row."""
    if len(latents) < 2:
        raise ValueError("Latents of one text cannot be given to another: take at least two texts.")
    order = torch.randperm(len(latents), generator=generator)
    mixed = torch.empty_like(latents)
    mixed[order] = latents[order.roll(1)]
    return mixed


@dataclass(frozen=True)
class CodeUse:
    """`kl` (N,), mean nats per code; `active`, the share of numbers whose mean has a variance over texts above 0.01
    (Burda et al. 2016); `variance` (N,) of what diffusion is trained on, over texts and numbers of a code.
    """

    kl: Float[Tensor, "N"]
    active: float
    variance: Float[Tensor, "N"]

    def __str__(self) -> str:
        nats = ", ".join(f"{nats:.2f}" for nats in self.kl.tolist())
        return f"KL per code {nats} nats, {self.active:.1%} of the numbers active"


@torch.no_grad()
def use_of_codes(model: Planner, h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> CodeUse:
    """Posterior collapse shows as KL near 0 and no active numbers: q(z | text) is then the prior for every text."""
    if len(h) < 2:
        raise ValueError("Whether codes differ between texts shows on at least two of them.")
    mean, log_variance = model.posterior(h, mask)
    active = (mean.var(0) > 0.01).double().mean().item()
    return CodeUse(code_kl(mean, log_variance).mean(0), active, mean.transpose(0, 1).flatten(1).var(1))


@torch.no_grad()
def robustness(
    model: LD4LG | Planner,
    process: GaussianProcess,
    x: Float[Tensor, "B N D"],
    ids: Int[Tensor, "B L"],
    times: Sequence[float],
    mask: Bool[Tensor, "B L"] | None = None,
    denoise: Callable | None = None,
    back: Callable[[Tensor], Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> list[float]:
    """BLEU against the true texts of what is written from latents with noise, at every time.

    x are the latents on the scale of diffusion, and `back` takes them to the autoencoder's (`standardise.inverse`).
    Without `denoise` the noisy z_t is decoded as it is; with it, x_hat = denoise(z_t, t) (`process.denoiser(net,
    kind)`), PLANNER's curve. `area` makes one number of it.
    """
    references, curve = real_tokens(ids, mask), []
    for time in times:
        t = at(time, x)
        z_t = process.corrupt(x, t, generator)
        latents = z_t if denoise is None else denoise(z_t, t)
        curve.append(bleu(written(model, latents if back is None else back(latents)), references))
    return curve


def area(levels: Sequence[float], curve: Sequence[float]) -> float:
    """The mean height of a curve by trapezoids: AuBLEU (Zhang et al. 2023) if the levels are those of noise, say
    1 - alpha_t. Which variable they are must be said beside the number. Raises ValueError unless levels rise.
    """
    levels, curve = torch.tensor(levels, dtype=torch.float64), torch.tensor(curve, dtype=torch.float64)
    if len(levels) < 2 or len(levels) != len(curve) or bool((levels.diff() <= 0).any()):
        raise ValueError("An area needs at least two rising noise levels, and a height for each.")
    return (torch.trapezoid(curve, levels) / (levels[-1] - levels[0])).item()


def written(model: LD4LG | Planner, latents: Float[Tensor, "B N D"]) -> list[list[int]]:
    """The texts that are written greedily, each up to its end."""
    return until(write_texts(model, latents).tokens, model.decoder.config.end)
