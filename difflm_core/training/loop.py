"""A small training loop: AdamW, warm-up and cosine, gradient clipping, averaged weights, a progress bar, a JSONL log,
checkpoints that survive.

Nothing in it knows about diffusion: the task gives nats per token, the data gives batches.
"""

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from difflm_core.evaluation import Estimate, estimate_nelbo
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.training import checkpoints
from difflm_core.training.recipes import Recipe


class TrainingStopped(RuntimeError):
    """Training met a loss that is not a number; the message names step, row and the last good checkpoint."""


@dataclass
class Run:
    """A (finished or interrupted) training run: the averaged model, one dict per log line, where it is stored, and
    whether it reached the last step.
    """

    model: Transformer
    history: list[dict] = field(default_factory=list)
    folder: Path | None = None
    finished: bool = False


def build(recipe: Recipe) -> Transformer:
    """The recipe's network, initialised from its seed."""
    torch.manual_seed(recipe.seed)
    size = recipe.size
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


def evaluate(recipe: Recipe, model: Transformer, draws: int = 4, device=None) -> Estimate:
    """The bound on held-out texts (the exact nats for an autoregressive model), with fixed seeds."""
    model.eval()
    generator = torch.Generator(device or "cpu").manual_seed(7)
    held_out = [x.to(device) for x in recipe.data.evaluation()]
    return estimate_nelbo(lambda x, t, g: recipe.task.nelbo(model, x, t, g), held_out, draws, generator)


def train(
    recipe: Recipe, folder: Path | str | None = None, resume: bool = False, progress: bool = True, device=None
) -> Run:
    """Train a recipe; returns a `Run` whose model has the averaged weights.

    With a `folder`, writes log.jsonl and checkpoints there; `resume` goes on from the newest one, bit for bit on a CPU.
    Ctrl-C saves and returns with `finished=False`. A loss that is not finite raises `TrainingStopped` before the
    weights are touched.
    """
    state = State(recipe, device)
    folder = Path(folder) if folder is not None else None
    if folder is not None:
        state.open(folder, resume)
    elif resume:
        raise ValueError("To resume, say which folder the run is in.")

    bar = tqdm(
        total=recipe.steps, initial=state.step, disable=not progress, mininterval=1.0, desc="training", unit="step"
    )
    try:
        while state.step < recipe.steps:
            state.one_step()
            bar.update()
            if state.step % 50 == 0:
                bar.set_postfix_str(f"loss {state.mean_loss():.3f}", refresh=False)
            if state.step % recipe.evaluate_every == 0 or state.step == recipe.steps:
                state.report(bar if progress else None)
            if folder is not None and (state.step % recipe.checkpoint_every == 0 or state.step == recipe.steps):
                state.save()
    except KeyboardInterrupt:
        where = (
            f"saved in {state.save()}: the same command with --resume goes on"
            if folder is not None
            else "nothing was saved, since no folder was given"
        )
        tqdm.write(f"Interrupted after {state.step} steps; {where}.")
    finally:
        bar.close()
    return Run(state.averaged.module.eval(), state.history, folder, state.step >= recipe.steps)


def plain(recipe: Recipe) -> dict:
    """The recipe as JSON would give it back, with the names of its task and data."""
    names = {"task": type(recipe.task).__name__, "data": type(recipe.data).__name__}
    return names | {"settings": json.loads(json.dumps(asdict(recipe), default=str))}


class State:
    """Everything that changes during training, so that it can be stored and taken up again."""

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
        self.step, self.recent, self.history, self.folder = 0, [], [], None
        self.started = time.perf_counter()

    def one_step(self) -> None:
        self.model.train()
        x = next(self.batches).to(self.device)
        # On a GPU matrix products run in bfloat16; losses are computed in float32 (objectives/vocabulary.py).
        with torch.autocast("cuda", torch.bfloat16, enabled=x.device.type == "cuda"):
            loss_per_token = self.recipe.task.loss(self.model, x, self.noise_generator)  # (B, L) nats
        loss = loss_per_token.mean()
        if not math.isfinite(loss.item()):
            self.stop_at(x, loss_per_token)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.averaged.update_parameters(self.model)
        self.step += 1
        self.recent = [*self.recent[-49:], loss.item()]

    def mean_loss(self) -> float:
        return sum(self.recent) / max(1, len(self.recent))

    def report(self, bar) -> None:
        estimate = evaluate(self.recipe, self.averaged.module, device=self.device)
        row = {
            "step": self.step,
            "loss": self.mean_loss(),
            "bound": estimate.mean,
            "standard_error": estimate.standard_error,
        }
        row |= {
            "learning_rate": learning_rate(self.recipe, self.step - 1),
            "tokens": self.step * self.recipe.batch_size * self.recipe.data.length,
        }
        row |= {"seconds": round(time.perf_counter() - self.started, 1)}
        self.history.append(row)
        if self.folder is not None:
            with open(self.folder / "log.jsonl", "a") as file:
                file.write(json.dumps(row) + "\n")
        if bar is not None:
            best = self.recipe.data.nats_per_token()
            known = "" if best is None else f"   entropy {best:.4f}   gap {100 * (estimate.mean / best - 1):+.1f} %"
            name = "exact nll" if self.recipe.task.exact else "bound"
            bar.write(
                f"step {self.step:5d}   {name} {estimate.mean:.4f} ± {estimate.standard_error:.4f} nats/token{known}"
            )

    def open(self, folder: Path, resume: bool) -> None:
        self.folder = folder
        found = checkpoints.checkpoints(folder)
        if resume and not found:
            raise FileNotFoundError(f"There is nothing to resume in {folder}: it holds no checkpoint.")
        if found and not resume:
            raise FileExistsError(
                f"{folder} already holds a run: add --resume to go on with it, or name another folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
        if resume:
            self.load(found[-1])

    def save(self) -> Path:
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()} | checkpoints.optimizer_tensors(
            self.optimizer
        )
        tensors |= {
            "averaged.count": self.averaged.n_averaged,
            "noise_generator": self.noise_generator.get_state(),
            "torch_generator": torch.get_rng_state(),
        }
        tensors["data_generator"] = self.data_generator.get_state()
        place = (
            {k: v for k, v in self.batches.state_dict().items() if k != "generator"}
            if hasattr(self.batches, "state_dict")
            else {}
        )
        about = {
            "step": self.step,
            "recipe": plain(self.recipe),
            "batches": place,
            "history": self.history,
            "recent": self.recent,
        }
        return checkpoints.save_state(self.folder, self.averaged.module, tensors, about, self.recipe.data.tokenizer())

    def load(self, folder: Path) -> None:
        tensors, about = checkpoints.load_state(folder)
        if about["recipe"] != plain(self.recipe):
            old, new = about["recipe"]["settings"], plain(self.recipe)["settings"]
            changed = [key for key in new if old.get(key) != new[key]] or ["task or data"]
            raise ValueError(
                f"The run in {folder.parent} was started with other settings ({', '.join(changed)}): resume it "
                "with the same ones, or name another folder."
            )
        self.model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        self.averaged.module.load_state_dict(checkpoints.load_model(folder).state_dict())
        self.averaged.n_averaged.copy_(tensors["averaged.count"])
        checkpoints.load_optimizer(self.optimizer, tensors)
        self.noise_generator.set_state(tensors["noise_generator"].cpu())
        torch.set_rng_state(tensors["torch_generator"].cpu())
        if about["batches"]:
            self.batches.load_state_dict(about["batches"] | {"generator": tensors["data_generator"]})
        self.data_generator.set_state(tensors["data_generator"])
        self.step, self.history, self.recent = about["step"], about["history"], about["recent"]

    def stop_at(self, x, loss_per_token) -> None:
        """Say which step and which row of the batch, and where the last good weights are."""
        row = int(loss_per_token.sum(1).isfinite().logical_not().long().argmax())
        found = checkpoints.checkpoints(self.folder) if self.folder is not None else []
        last = f"the last good checkpoint is {found[-1]}" if found else "no checkpoint had been written yet"
        text = self.recipe.data.decode(x[row].cpu())
        raise TrainingStopped(
            f"The loss of step {self.step + 1} is not a number (batch row {row}: {text[:80]!r}); training stops "
            f"before changing the weights, and {last}. Try a lower learning rate."
        )
