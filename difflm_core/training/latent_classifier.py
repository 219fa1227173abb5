"""Training a classifier on noisy latents: embed a labelled text with the frozen Diffusion-LM, add noise, ask for the
label (Li et al. 2022, section 5.1).
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import DiffusionLM, LatentClassifier
from difflm_core.objectives import stratified_times
from difflm_core.training.descend import descend

LabelOf = Callable[[Int[Tensor, "B L"]], Int[Tensor, "B"]]


def label_loss(
    classifier: LatentClassifier,
    model: DiffusionLM,
    x: Int[Tensor, "B L"],
    label: Int[Tensor, "B"],
    t: Float[Tensor, "B"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B"]:
    """-log p(label | z_t, t) in nats per text, z_t the noisy embeddings of x. Raises ValueError for a label that the
    classifier has no place for (-1: the text has none).
    """
    C = len(classifier.labels)
    if label.shape != (len(x),) or bool(((label < 0) | (label >= C)).any()):
        raise ValueError(
            f"Labels must be one number in 0..{C - 1} per text ({', '.join(classifier.labels)}): leave out texts "
            "without a label."
        )
    with torch.no_grad():
        z_t = model.process.corrupt(model.start(x, generator), t, generator)
    return F.cross_entropy(classifier(z_t, t), label, reduction="none")


def train_latent_classifier(
    classifier: LatentClassifier,
    model: DiffusionLM,
    batches: Iterable[Int[Tensor, "B L"]],
    label_of: LabelOf,
    steps: int = 300,
    learning_rate: float = 3e-3,
    noise_up_to: float = 1.0,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> list[float]:
    """Train the classifier in place, at all times alike; returns the loss of every step (nats per text).

    `label_of(x)` gives the true labels, -1 for texts to leave out. `noise_up_to` is the largest time that is shown:
    near 0 it makes a classifier of almost clean texts, for comparison. The model is not touched. Raises
    ValueError if a batch has no labelled text; else errors as `descend`.
    """
    device = next(classifier.parameters()).device

    def loss(x: Int[Tensor, "B L"]) -> Float[Tensor, ""]:
        label = label_of(x)
        x, label = x[label >= 0].to(device), label[label >= 0].to(device)
        if not len(x):
            raise ValueError("No text of this batch has a label: check label_of, or give larger batches.")
        t = noise_up_to * stratified_times(len(x), generator, device)
        return label_loss(classifier, model, x, label, t, generator).mean()

    return descend(classifier, loss, batches, steps, learning_rate, "classifier", progress)
