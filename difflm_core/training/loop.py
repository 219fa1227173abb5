"""A small training loop: AdamW, warm-up and cosine, gradient clipping, averaged weights, a progress bar, a JSONL log,
checkpoints that survive.

Nothing in it knows about diffusion: the task gives nats per token, the data gives batches. What one step does is in
state.py, what a checkpoint holds in resume.py, how several processes share the work in team.py: each runs this loop,
one writes and speaks.
"""

import signal
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm.auto import tqdm

from difflm_core.data import LostText
from difflm_core.evaluation import Estimate, estimate_nelbo
from difflm_core.models import Transformer
from difflm_core.training import log
from difflm_core.training.interrupts import RESUME, signals_wait
from difflm_core.training.recipe import Recipe
from difflm_core.training.resume import flat, open_run, plain, save
from difflm_core.training.state import State, build, learning_rate
from difflm_core.training.stops import TrainingStopped, check_bound
from difflm_core.training.team import Team
from difflm_core.training.trackers import Trackers, check_tracker

__all__ = ["Run", "TrainingStopped", "build", "evaluate", "learning_rate", "train"]


@dataclass
class Run:
    """A (finished or interrupted) training run: the averaged model, one dict per log line, where it is stored, and
    whether it came to its end.
    """

    model: Transformer
    history: list[dict] = field(default_factory=list)
    folder: Path | None = None
    finished: bool = False


def evaluate(recipe: Recipe, model: Transformer, draws: int = 4, device=None, team: Team | None = None) -> Estimate:
    """The bound on held-out texts (the exact nats for an autoregressive model), with fixed seeds. The processes of a
    team share the work, and all get the same estimate.
    """
    model.eval()
    generator = torch.Generator(device or "cpu").manual_seed(7)
    held_out = [x.to(device) for x in recipe.data.evaluation()]

    def nelbo(x, t, g):
        return recipe.task.nelbo(model, x, t, g)

    return estimate_nelbo(nelbo if team is None else team.dealt(nelbo), held_out, draws, generator)


def train(
    recipe: Recipe, folder: Path | str | None = None, resume: bool = False, progress: bool = True, device=None,
    trackers: tuple[str, ...] = (),
) -> Run:  # fmt: skip
    """Train a recipe; returns a `Run` whose model has the averaged weights.

    With a `folder`, writes log.jsonl and checkpoints there, and for `trackers` (tensorboard, wandb, ...) what they make
    of the same numbers; `resume` goes on from the newest one, bit for bit on a CPU.
    Ctrl-C lets the step in progress end, saves and returns with `finished=False`; a second Ctrl-C does not wait.
    SIGTERM (a cluster takes the machine back) does the same and then ends the process with status 75. A loss or
    gradient that is not finite raises `TrainingStopped` before the weights are touched. Further errors: `open_run`, and
    OSError where nothing can be written.
    """
    if resume and folder is None:
        raise ValueError("To resume, say which folder the run is in.")
    if trackers and folder is None:
        raise ValueError("Trackers need the folder of the run.")
    for name in trackers:
        check_tracker(name)
    state = State(recipe, device)
    if folder is not None:
        open_run(state, Path(folder), resume)
        state.trackers = Trackers(trackers, state.team.accelerator, state.folder, flat(plain(recipe)["settings"]))

    cut = False
    with signals_wait() as asked, progress_bar(state, progress) as bar:
        try:
            between_steps(state, bar)  # what an interrupt just before this moment cut off
            while state.step < recipe.steps and not state.team.any(bool(asked)):
                state.one_step()
                bar.update()
                between_steps(state, bar)
        except KeyboardInterrupt:
            cut = True
        except LostText as error:
            raise TrainingStopped(f"{error} {farewell(state, cut)}") from error
    if state.trackers is not None:
        state.trackers.close()
    finished = state.step == recipe.steps and not cut
    if not finished:
        said = farewell(state, cut)
        if state.team.main:
            tqdm.write(said)
    if not cut and state.team.any(signal.SIGTERM in asked):
        raise SystemExit(RESUME)
    return Run(state.average().eval(), state.history, state.folder, finished)


def progress_bar(state: State, shown: bool) -> tqdm:
    return tqdm(
        total=state.recipe.steps,
        initial=state.step,
        disable=not (shown and state.team.main),
        mininterval=1.0,
        desc="training",
        unit="step",
    )


def between_steps(state: State, bar: tqdm) -> None:
    """Evaluate and save where it is time to, once."""
    recipe, step = state.recipe, state.step
    if step == 0:
        return
    if step % 50 == 0:
        bar.set_postfix_str(f"loss {state.mean_loss():.3f}", refresh=False)
    last = step == recipe.steps
    if (step % recipe.evaluate_every == 0 or last) and (not state.history or state.history[-1]["step"] != step):
        measure(state, bar)
    if state.folder is not None and (step % recipe.checkpoint_every == 0 or last):
        save(state)


def measure(state: State, bar: tqdm) -> None:
    """One row of the history and of the log: the bound with the averaged weights."""
    recipe = state.recipe
    estimate = evaluate(recipe, state.average(), device=state.device, team=state.team)
    check_bound(state, estimate.mean)
    row = {
        "step": state.step,
        "loss": state.mean_loss(),
        "bound": estimate.mean,
        "standard_error": estimate.standard_error,
        "learning_rate": learning_rate(recipe, state.step - 1),
        "tokens": state.step * recipe.batch_size * recipe.data.length,
        "seconds": round(state.seconds(), 1),
    }
    if state.folder is not None and state.team.main:
        log.append(state.folder, row)
        state.trackers.log(row)
    state.history.append(row)
    if not bar.disable:
        best = recipe.data.nats_per_token()
        known = "" if best is None else f"   entropy {best:.4f}   gap {100 * (estimate.mean / best - 1):+.1f} %"
        name = "exact nll" if recipe.task.exact else "bound"
        bar.write(
            f"step {state.step:5d}   {name} {estimate.mean:.4f} ± {estimate.standard_error:.4f} nats/token{known}"
        )


def farewell(state: State, cut: bool) -> str:
    """Save what an interrupted run has, and say where it is and how to go on. Where several processes were cut off
    within a step they are not at the same place, and cannot save together.
    """
    said = f"Interrupted after {state.step} steps; "
    if state.folder is None:
        return f"{said}nothing was saved, since no folder was given."
    how = "To go on: the same command with --resume (in Python: resume=True)."
    try:
        if state.whole and not (cut and state.team.size > 1):
            return f"{said}saved in {save(state)}. {how}"
    except KeyboardInterrupt:
        said = "Interrupted while saving; "
    return f"{said}{state.kept()}. {how}"
