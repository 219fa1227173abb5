"""Checkpoints: safetensors and JSON, written beside and renamed, so that a crash at any moment leaves the last good
one.

A run's folder holds `step-000500/`, `step-001000/`, ...: `model.safetensors` (the averaged weights, for use),
`config.json` (what they are), `state.safetensors` (raw weights, optimiser, random numbers: what a resumed run needs to
go on bit for bit).
"""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from difflm_core.models import Transformer, TransformerConfig


def save_model(
    folder: Path | str, model: Transformer, about: dict | None = None, tokenizer: Tokenizer | None = None
) -> Path:
    """Write model.safetensors, config.json and (if given) tokenizer.json to a folder of their own, all or nothing."""
    return _write(Path(folder), {"model.safetensors": dict(model.state_dict())}, model, about, tokenizer)


def save_state(
    folder: Path,
    model: Transformer,
    state: dict[str, Tensor],
    about: dict,
    tokenizer: Tokenizer | None = None,
    keep: int = 2,
) -> Path:
    """Write folder/step-NNNNNN and drop all but the newest `keep`."""
    folder = Path(folder)
    tensors = {"model.safetensors": dict(model.state_dict()), "state.safetensors": state}
    done = _write(folder / f"step-{about['step']:06d}", tensors, model, about, tokenizer)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return done


def checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    return sorted(p for p in Path(folder).glob("step-*") if p.is_dir() and not p.name.endswith(".part"))


def load_model(folder: Path | str, V: int | None = None, length: int | None = None, device=None) -> Transformer:
    """A model from `save_model` or from the newest checkpoint of a run. Give V and length to be sure that it was made
    for this vocabulary and canvas.
    """
    folder = Path(folder)
    found = checkpoints(folder)
    folder = found[-1] if found else folder
    about = read_about(folder)
    config = TransformerConfig(**about["model"])
    if V is not None and config.V != V:
        raise ValueError(
            f"The checkpoint in {folder} was made for a vocabulary of {config.V} tokens, not {V}: use the "
            "tokenizer it was trained with."
        )
    if length is not None and config.length < length:
        raise ValueError(f"The checkpoint in {folder} was made for at most {config.length} positions, not {length}.")
    model = Transformer(config)
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict(
        {name: value.float() for name, value in weights.items()}
    )  # stored models may be in half precision
    return model.to(device).eval()


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """The tokenizer stored with a model."""
    found = checkpoints(Path(folder))
    path = (found[-1] if found else Path(folder)) / "tokenizer.json"
    if not path.exists():
        raise FileNotFoundError(f"There is no tokenizer.json beside the model in {path.parent}.")
    return Tokenizer.from_file(str(path))


def read_about(folder: Path) -> dict:
    try:
        return json.loads((folder / "config.json").read_text())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no checkpoint in {folder}: expected config.json and model.safetensors."
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{folder / 'config.json'} is not valid JSON ({error}): the checkpoint is damaged, take an older one."
        ) from None


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """(state tensors, about) of one checkpoint folder."""
    return load_file(folder / "state.safetensors"), read_about(folder)


def _write(
    target: Path,
    files: dict[str, dict[str, Tensor]],
    model: Transformer,
    about: dict | None,
    tokenizer: Tokenizer | None,
) -> Path:
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        for name, tensors in files.items():
            save_file({key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}, part / name)
        (part / "config.json").write_text(json.dumps({"model": asdict(model.config), **(about or {})}, indent=1) + "\n")
        if tokenizer is not None:
            tokenizer.save(str(part / "tokenizer.json"))
        for file in part.iterdir():
            _flush(file)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise OSError(
            error.errno,
            f"Could not write the checkpoint {target} ({error.strerror or error}); the earlier ones are "
            "untouched. Free some space and resume.",
        ) from error
    return target


def _flush(path: Path) -> None:
    """Have the bytes on the disk before the rename makes them count."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as flat named tensors (no pickle)."""
    return {
        f"optimizer.{i}.{name}": value
        for i, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
