"""Everything that changes during training, and one step of it."""

import math
import time
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from difflm_core.models import DiffusionLM, Transformer, TransformerConfig
from difflm_core.training import checkpoints
from difflm_core.training.diffusion_lm_task import EmbeddingDiffusion
from difflm_core.training.recipes import Recipe
from difflm_core.training.stops import check_gradient, check_loss


def build(recipe: Recipe) -> Transformer | DiffusionLM:
    """The recipe's network, initialised from its seed."""
    torch.manual_seed(recipe.seed)
    size = recipe.size
    if isinstance(recipe.task, EmbeddingDiffusion):
        return recipe.task.network(recipe.data.V, recipe.data.length, size)
    return Transformer(
        TransformerConfig(
            recipe.data.V,
            recipe.data.length,
            size.width,
            size.layers,
            size.heads,
            recipe.task.causal,
            size.time_conditioning,
            size.dropout,
        )
    )


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up to the peak, then half a cosine down to a tenth of it."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * min(1.0, progress))) / 2)


class State:
    """Weights, their average, optimiser, random numbers, place in the data, history. `whole` is False only while the
    weights are being changed.
    """

    def __init__(self, recipe: Recipe, device=None):
        self.recipe, self.device = recipe, device
        self.model = build(recipe).to(device)
        self.averaged = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.data_generator = torch.Generator().manual_seed(recipe.seed + 1)
        self.noise_generator = torch.Generator(device or "cpu").manual_seed(recipe.seed + 2)
        self.batches = recipe.data.train(recipe.batch_size, self.data_generator)
        self.step, self.recent, self.history = 0, [], []
        self.folder: Path | None = None
        self.whole, self.started = True, time.perf_counter()

    def one_step(self) -> None:
        """Raises `TrainingStopped` at a number that is not finite. Whatever interrupts it before the weights change
        leaves the state as if the step had not begun.
        """
        chance, place = self.chance(), self.place()
        try:
            loss = self.gradient()
        except BaseException:
            self.set_chance(chance, place)
            raise
        self.whole = False
        self.optimizer.step()
        self.averaged.update_parameters(self.model)
        self.step += 1
        self.recent = [*self.recent[-49:], loss]
        self.whole = True

    def gradient(self) -> float:
        """The loss of the next batch; its clipped gradient is left in the weights' `.grad`."""
        self.model.train()
        x = next(self.batches).to(self.device)
        # On a GPU matrix products run in bfloat16; losses are computed in float32 (objectives/vocabulary.py).
        with torch.autocast("cuda", torch.bfloat16, enabled=x.device.type == "cuda"):
            nats: Float[Tensor, "B L"] = self.recipe.task.loss(self.model, x, self.noise_generator)
        loss = nats.mean()
        check_loss(self, loss.item(), nats, x)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        check_gradient(self, norm.item(), nats, x)
        return loss.item()

    def mean_loss(self) -> float:
        return sum(self.recent) / max(1, len(self.recent))

    def seconds(self) -> float:
        """Time spent on this run, in all its sessions."""
        return time.perf_counter() - self.started

    def chance(self) -> dict[str, Tensor]:
        """Where the random numbers stand (torch's own: dropout)."""
        return {
            "noise_generator": self.noise_generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "data_generator": self.data_generator.get_state(),
        }

    def place(self) -> dict:
        """Where the batches stand, apart from their generator; empty for a source that is all chance."""
        if not hasattr(self.batches, "state_dict"):
            return {}
        return {key: value for key, value in self.batches.state_dict().items() if key != "generator"}

    def set_chance(self, chance: dict[str, Tensor], place: dict) -> None:
        self.noise_generator.set_state(chance["noise_generator"].cpu())
        torch.set_rng_state(chance["torch_generator"].cpu())
        if place:
            self.batches.load_state_dict(place | {"generator": chance["data_generator"]})
        self.data_generator.set_state(chance["data_generator"])

    def kept(self) -> str:
        """What is left of this run if it ends now."""
        if self.folder is None:
            return "nothing was saved, since no folder was given"
        found = checkpoints.checkpoints(self.folder)
        return f"the last good checkpoint is {found[-1]}" if found else "no checkpoint had been written yet"
