"""What a run writes down so that it can go on bit for bit, and how it is taken up again."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from difflm_core.training import checkpoints, log, sharding
from difflm_core.training.recipe import Recipe
from difflm_core.training.state import State


def open_run(state: State, folder: Path, resume: bool) -> None:
    """Make `folder` the home of this run: a new one, or with `resume` the one that stands there.

    Raises FileExistsError for a folder that already holds a run, FileNotFoundError if there is nothing to resume, and
    ValueError for other settings, other data, or a damaged checkpoint.
    """
    found = checkpoints.checkpoints(folder)
    if resume and not found:
        raise FileNotFoundError(f"There is nothing to resume in {folder}: it holds no checkpoint.")
    if found and not resume:
        raise FileExistsError(f"{folder} already holds a run: add --resume to go on with it, or name another folder.")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: name a folder for the run.")
    if resume:
        load(state, found[-1])
    state.team.accelerator.wait_for_everyone()  # all have looked before anything changes
    if state.team.main:
        folder.mkdir(parents=True, exist_ok=True)
        checkpoints.remove_leftovers(folder)
        log.rewrite(folder, state.history)
    state.folder = folder


def save(state: State) -> Path:
    """The checkpoint of this step in the run's folder. If it is there already, only what it says is brought up to date
    (a run interrupted in an evaluation is saved without that row, and measures it when it goes on). All processes call
    it, since each has dropout of its own; one writes.
    """
    chances, model = state.team.objects(torch.get_rng_state()), state.average()
    tensors = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    tensors |= checkpoints.optimizer_tensors(state.optimizer)
    tensors = sharding.whole_of(tensors) | state.chance()  # all processes give their parts
    target = checkpoints.place(state.folder, state.step)
    if not state.team.main:
        return target
    if target.exists():
        return checkpoints.rewrite_about(target, model, about_run(state))
    tensors["averaged.count"] = state.averaged.n_averaged
    tensors |= {f"torch_generator.{rank}": chances[rank] for rank in range(1, len(chances))}
    tokenizer = state.recipe.data.tokenizer()
    return checkpoints.save_state(state.folder, model, tensors, about_run(state), tokenizer)


def about_run(state: State) -> dict:
    """What a checkpoint says in plain text."""
    return {
        "step": state.step,
        "recipe": plain(state.recipe),
        "device": device_of(state),
        "batches": state.place(),
        "seconds": round(state.seconds(), 1),
        "history": state.history,
        "recent": state.recent,
    }


def load(state: State, folder: Path) -> None:
    """Put the state where the checkpoint in `folder` was; raises ValueError if it belongs to another run."""
    tensors, about = checkpoints.load_state(folder)
    check_same(state, folder, about)
    averaged = checkpoints.load_model(folder).state_dict()
    try:
        weights = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
        sharding.load_whole(state.model, weights)
        sharding.load_whole(state.averaged.module, averaged)
        state.averaged.n_averaged.copy_(tensors["averaged.count"])
        checkpoints.load_optimizer(state.optimizer, tensors)
        state.set_chance(tensors | own_chance(state, tensors, about["step"]), about["batches"])
        state.step, state.history, state.recent = about["step"], about["history"], about["recent"]
    except (KeyError, RuntimeError) as error:
        raise ValueError(checkpoints.damaged(folder, f"state.safetensors does not fit: {error}")) from error
    state.started -= about.get("seconds", 0.0)


def own_chance(state: State, tensors: dict[str, Tensor], step: int) -> dict[str, Tensor]:
    """Where torch's own random numbers (dropout) of this process stood; one that is new to the run starts afresh."""
    if state.team.main:
        return {}
    afresh = torch.Generator().manual_seed(state.recipe.seed + state.team.rank + step).get_state()
    return {"torch_generator": tensors.get(f"torch_generator.{state.team.rank}", afresh)}


def check_same(state: State, folder: Path, about: dict) -> None:
    """A run goes on with the settings, the kind of device and the data that it began with."""
    if "recipe" not in about:
        raise ValueError(f"{folder} holds a model but no training state: it can be used, not resumed.")
    if changed := differences(about["recipe"], plain(state.recipe)):
        raise ValueError(
            f"The run in {folder.parent} was started with other settings ({', '.join(changed)}): resume it with the "
            "same ones, or name another folder."
        )
    if about.get("device", device_of(state)) != device_of(state):
        raise ValueError(
            f"The run in {folder.parent} was started on {about['device']}, this is {device_of(state)}, where its "
            f"random numbers cannot go on: resume it with --device {about['device']}."
        )
    same = ("rows", "digest")
    place = {key: value for key, value in about.get("batches", {}).items() if key in same}
    same_words = checkpoints.load_tokenizer(folder).get_vocab() == state.recipe.data.tokenizer().get_vocab()
    if not same_words or place != {key: value for key, value in state.place().items() if key in same}:
        raise ValueError(
            f"The training text has changed since the run in {folder.parent} began: resume it with the same text, or "
            "name another folder."
        )


def plain(recipe: Recipe) -> dict:
    """The recipe as JSON would give it back, with the names of its task and data."""
    names = {"task": type(recipe.task).__name__, "data": type(recipe.data).__name__}
    return names | {"settings": json.loads(json.dumps(asdict(recipe), default=str))}


def differences(old: dict, new: dict) -> list[str]:
    """["steps was 10, is 20", "size.width was 16, is 32"]: where two plain recipes differ in what they compute."""
    kinds = [f"{key} was {old.get(key)}, is {new[key]}" for key in ("task", "data") if old.get(key) != new[key]]
    before, now = (known(side) | computed(side.get("settings", {})) for side in (old, new))
    if "data" in "".join(kinds):  # another kind of data has other settings, of course
        before, now = ({k: v for k, v in side.items() if not k.startswith("data.")} for side in (before, now))
    keys = dict.fromkeys([*before, *now])
    return kinds + [
        f"{key} was {before.get(key, 'absent')}, is {now.get(key, 'absent')}"
        for key in keys
        if before.get(key, ...) != now.get(key, ...)
    ]


def known(recipe: dict) -> dict:
    """The flat defaults for a task and data of these names: a run older than a setting was made with its default."""
    kinds = {kind.__name__: kind for name in ("task", "data") for kind in get_args(Recipe.__annotations__[name])}
    chosen = {name: kinds[recipe[name]]() for name in ("task", "data") if recipe.get(name) in kinds}
    return computed(plain(Recipe(**chosen))["settings"])


def computed(settings: dict) -> dict:
    """The flat settings without those that only say how to compute it."""
    return {
        key: value for key, value in flat(settings).items() if not key.startswith("engine.") or key == "engine.bf16"
    }


def flat(settings: dict, prefix: str = "") -> dict:
    """{"size": {"width": 16}} -> {"size.width": 16}"""
    result = {}
    for key, value in settings.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result


def device_of(state: State) -> str:
    return next(state.model.parameters()).device.type
