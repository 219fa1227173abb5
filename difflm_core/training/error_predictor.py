"""Training an error predictor: let the frozen denoiser make mistakes, and ask which tokens they are (Meshchaninov,
Shibaev et al. 2025, Alg. 1).

Take a clean text x, mask it at a random time t ~ U(0.001, 1), let the denoiser fill all masks at once: a draft, with
the errors of parallel drawing in it. A token is wrong if it differs from x; visible tokens are always right. The loss
is binary cross-entropy over all positions. Note what the label means: another word, however fitting, counts as wrong.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models import Denoiser, ErrorPredictor, Transformer, TransformerConfig
from difflm_core.models.error_predictor import check_fits
from difflm_core.objectives import stratified_times
from difflm_core.processes import Schedule, masked
from difflm_core.samplers import draw_from, probabilities
from difflm_core.training.checkpoints import read_about, read_tensors
from difflm_core.training.descend import descend


class Drafts(NamedTuple):
    """Complete drafts, where the denoiser wrote (elsewhere x was visible), where it wrote something else than x, and
    with what probability (1 elsewhere).
    """

    tokens: Int[Tensor, "B L"]
    drafted: Bool[Tensor, "B L"]
    wrong: Bool[Tensor, "B L"]
    probability: Float[Tensor, "B L"]


@torch.no_grad()
def one_step_drafts(
    denoiser: Denoiser,
    x: Int[Tensor, "B L"],
    generator: torch.Generator | None = None,
    schedule: Schedule | None = None,
) -> Drafts:
    """Mask clean texts at t ~ U(0.001, 1) and draw all masks at once, independently."""
    t = 1e-3 + (1 - 1e-3) * stratified_times(len(x), generator, x.device)
    z_t = masked(denoiser.V, schedule).corrupt(x, t, generator)
    drafted = z_t == denoiser.V
    p = probabilities(denoiser.logits(denoiser.hidden(z_t, t)[drafted]))  # (N, V)
    token = draw_from(p, generator)
    tokens = z_t.masked_scatter(drafted, token)
    probability = torch.ones(x.shape, dtype=p.dtype, device=x.device)
    probability[drafted] = p.gather(1, token[:, None])[:, 0]
    return Drafts(tokens, drafted, tokens != x, probability)


def error_loss(predictor: ErrorPredictor, drafts: Drafts, only_new: bool = False) -> Float[Tensor, ""]:
    """Binary cross-entropy in nats per token, over all positions, or only over those that the denoiser wrote (PRISM's
    choice).
    """
    loss = F.binary_cross_entropy_with_logits(
        predictor.error_logits(drafts.tokens).float(), drafts.wrong.float(), reduction="none"
    )
    return loss[drafts.drafted].mean() if only_new else loss.mean()


def train_error_predictor(
    predictor: ErrorPredictor,
    denoiser: Denoiser,
    batches: Iterable[Int[Tensor, "B L"]],
    steps: int = 500,
    learning_rate: float = 2e-3,
    only_new: bool = False,
    generator: torch.Generator | None = None,
    schedule: Schedule | None = None,
    progress: bool = True,
) -> list[float]:
    """Train the predictor in place on drafts of the frozen denoiser; returns the loss of every step (nats per token).

    Raises ValueError for a predictor that does not fit the denoiser or the texts; else errors as `descend`.
    """
    device = next(predictor.parameters()).device
    frozen(denoiser)

    def loss(x: Int[Tensor, "B L"]) -> Float[Tensor, ""]:
        check_fits(predictor, denoiser.V, x.shape[1])
        return error_loss(predictor, one_step_drafts(denoiser, x.to(device), generator, schedule), only_new)

    return descend(predictor, loss, batches, steps, learning_rate, "error predictor", progress)


def frozen(denoiser: Denoiser) -> None:
    """No dropout while it drafts."""
    if isinstance(denoiser, torch.nn.Module):
        denoiser.eval()


def load_error_predictor(folder: Path | str, device=None) -> ErrorPredictor:
    """What `save_model(folder, predictor)` stored. Raises ValueError if the folder holds something else."""
    about, tensors = read_about(Path(folder)), read_tensors(Path(folder) / "model.safetensors")
    if "output.weight" not in tensors:
        raise ValueError(f"{folder} holds a denoiser, not an error predictor: load it with load_model.")
    predictor = ErrorPredictor(Transformer(TransformerConfig(**about["model"])))
    predictor.load_state_dict({name: value.float() for name, value in tensors.items()})
    return predictor.to(device).eval()
