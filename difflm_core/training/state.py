"""Everything that changes during training, and one step of it."""

import math
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from difflm_core.data import LostText
from difflm_core.models import DiffusionLM, Transformer
from difflm_core.models.transformer import Block
from difflm_core.training import checkpoints, fixed_rows, sharding
from difflm_core.training.parts import Part
from difflm_core.training.recipe import Decay, Engine, Recipe
from difflm_core.training.stops import check_gradient, check_loss
from difflm_core.training.team import Loss, Team
from difflm_core.training.trackers import Trackers


def build(recipe: Recipe, V: int | None = None) -> Transformer | DiffusionLM:
    """The recipe's network, initialised from its seed. V: where the vocabulary is known without the data."""
    torch.manual_seed(recipe.seed)
    return recipe.task.network(V or recipe.data.V, recipe.data.length, recipe.size)


def build_untouched(recipe: Recipe) -> Transformer | DiffusionLM:
    """A network of the recipe's shape, and the random numbers as they were."""
    before = torch.get_rng_state()
    model = build(recipe)
    torch.set_rng_state(before)
    return model


def take_weights(model: torch.nn.Module, folder: Path) -> None:
    """The averaged weights of another run. Raises ValueError where they belong to another network."""
    try:
        model.load_state_dict(checkpoints.load_model(folder).state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"The weights in {folder} do not fit this recipe's network: give both the same size, vocabulary and length."
        ) from error


def prepare_blocks(model: torch.nn.Module, engine: Engine) -> None:
    """Recomputation and compilation, block by block, in place, and how the head is asked; names of weights stay."""
    fixed_rows.choose(model, engine.fixed_rows)
    if engine.head_rows:
        model.rows_at_once = engine.head_rows
    for block in (module for module in model.modules() if isinstance(module, Block)):
        if engine.recompute:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if engine.compile:
            block.compile()


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up to the peak, then the recipe's decay."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    return recipe.learning_rate * share_of_peak(recipe, step)


def share_of_peak(recipe: Recipe, step: int) -> float:
    """What is left of the peak at a step after the warm-up."""
    if recipe.decay is Decay.CONSTANT:
        return 1.0
    if recipe.decay is Decay.ROOT:
        return math.sqrt(max(1, recipe.warmup) / (step + 1))
    if recipe.decay is Decay.PLATEAU:
        return 1 - 0.9 * covered(step, recipe.steps * (1 - recipe.cooldown), recipe.steps)
    fallen = covered(step, recipe.warmup, recipe.steps)
    return 1 - fallen if recipe.decay is Decay.LINEAR else 0.1 + 0.9 * (1 + math.cos(math.pi * fallen)) / 2


def covered(step: int, begin: float, end: float) -> float:
    """How much of the way from step `begin` to step `end` lies behind, in [0, 1]."""
    return min(1.0, max(0.0, (step - begin) / max(1, end - begin)))


class State:
    """Weights, their average, optimiser, random numbers, place in the data, history. `whole` is False only while the
    weights are being changed.
    """

    def __init__(self, recipe: Recipe, device=None):
        self.recipe = recipe
        self.team = Team(device, some_unused=getattr(recipe.task, "self_conditioning", False))
        self.device = device = self.team.device
        with self.team.accelerator.main_process_first():  # the others find what it fetched
            self.model = build(recipe).to(device)
        if recipe.start is not None:
            take_weights(self.model, recipe.start)
        self.team.check_same_data(recipe.data)
        if not self.team.main:
            torch.manual_seed(recipe.seed + self.team.rank)  # its rows have dropout of their own
        self.averaged = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
        prepare_blocks(self.model, recipe.engine)  # after the average was copied: it is used as it is
        loss = Loss(recipe.task, self.model)
        self.sharded = recipe.engine.fsdp and self.team.size > 1
        if self.sharded:
            sharding.shard(loss, self.team.size)
            sharding.shard(self.averaged.module, self.team.size)
        optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            betas=(0.9, recipe.beta2),
            fused=True,
        )
        self.loss, self.optimizer = (
            (loss, optimizer) if self.sharded else self.team.accelerator.prepare(loss, optimizer)
        )
        self.micro_batches = self.team.micro_batches(recipe.batch_size, recipe.engine.accumulate)
        self.data_generator = torch.Generator().manual_seed(recipe.seed + 1)
        self.noise_generator = torch.Generator(device or "cpu").manual_seed(recipe.seed + 2)
        self.batches = self.team.shared(recipe.data, recipe.batch_size, self.data_generator)
        self.step, self.recent, self.history = 0, [], []
        self.recounted = 0  # batches of this session with more masks than rows
        self.folder: Path | None = None
        self.trackers: Trackers | None = None
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
        """The loss of the next batch, that of all processes; its clipped gradient is left in the weights' `.grad`."""
        self.model.train()
        x = self.next_batch().to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        start = self.noise_generator.get_state()
        nats, loss = self.nats_and_loss(x)
        if math.isnan(loss) and self.model.fixed_rows is not False:  # more masks than rows, or a bad number
            self.noise_generator.set_state(start)
            with fixed_rows.counted(self.model):
                nats, loss = self.nats_and_loss(x)
            self.recounted += math.isfinite(loss)
        norm = sharding.whole(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)).item()
        if not math.isfinite(loss + norm):  # the same on all processes, so that they stop together
            nats = self.team.gather(nats)
        check_loss(self, loss, nats, x)
        check_gradient(self, norm, nats, x)
        return loss

    def nats_and_loss(self, x: Int[Tensor, "B L"]) -> tuple[Float[Tensor, "b L"], float]:
        """(nats of this process's rows, their mean in all processes); the gradient is left in the weights' `.grad`."""
        self.optimizer.zero_grad(set_to_none=True)
        nats = self.backward(x)
        return nats, self.team.mean(nats.mean().item())

    def next_batch(self) -> Int[Tensor, "B L"]:
        """The next global batch. Raises `LostText` in all processes where one of them cannot read its text."""
        if not getattr(self.recipe.data, "can_be_lost", False):
            return next(self.batches)
        x, problem = None, None
        try:
            x = next(self.batches)
        except LostText as error:
            problem = error
        if self.team.any(problem is not None):
            raise problem or LostText("Another process cannot read its text.")
        return x

    def together_at(self, last: bool):
        """Gradients of all processes are averaged in the last micro-batch only."""
        if self.sharded:
            self.loss.set_requires_gradient_sync(last)
            return nullcontext()
        return nullcontext() if last else self.team.accelerator.no_sync(self.loss)

    def average(self) -> Transformer | DiffusionLM:
        """The model with the averaged weights: itself, or, where it is dealt to processes, a whole copy on each."""
        if not self.sharded:
            return self.averaged.module
        copy = build_untouched(self.recipe).to(self.device)
        copy.load_state_dict(sharding.whole_of(self.averaged.module.state_dict()))
        return copy.eval()

    def backward(self, x: Int[Tensor, "B L"]) -> Float[Tensor, "b L"]:
        """Add up the gradient of the mean over the global batch x; returns the nats of this process's rows. Processes
        average their gradients in the last micro-batch.
        """
        done: list[Tensor] = []
        start = self.noise_generator.get_state()
        for rows in self.micro_batches:
            rows = rows.to(x.device)
            self.noise_generator.set_state(start)
            last = len(done) == len(self.micro_batches) - 1
            with self.together_at(last):
                nats = self.nats(x, rows)
                self.team.accelerator.backward(nats.mean() / len(self.micro_batches))
            done.append(nats.detach())
        return torch.cat(done)

    def nats(self, x: Int[Tensor, "B L"], rows: Int[Tensor, "b"]) -> Float[Tensor, "b L"]:
        """The loss of these rows, with the noise that they have in the whole batch."""
        whole = len(rows) == len(x)
        part = nullcontext() if whole else Part(rows, len(x), self.noise_generator)
        # On a GPU matrix products run in bfloat16; losses are computed in float32 (objectives/vocabulary.py).
        low = self.recipe.engine.bf16 or x.device.type == "cuda"
        with part, torch.autocast(x.device.type, torch.bfloat16, enabled=low):
            return self.loss(x if whole else x[rows], self.noise_generator)

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
