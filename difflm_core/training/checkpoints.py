"""Checkpoints: safetensors and JSON, written beside and renamed, so that a crash at any moment leaves the last good
one.

A run's folder holds `step-000500/`, `step-001000/`, ...: `model.safetensors` (the averaged weights, for use),
`config.json` (what they are), `state.safetensors` (raw weights, optimiser, random numbers: what a resumed run needs to
go on bit for bit). Folders whose names end in `.part` are unfinished and never read.
"""

import json
import re
import shutil
import textwrap
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from difflm_core.models import BlockConfig, BlockTransformer, DiffusionLM, Transformer, TransformerConfig
from difflm_core.training.folders import write_folder, write_text
from difflm_core.training.sharding import dealt_like


def save_model(
    folder: Path | str, model: Transformer, about: dict | None = None, tokenizer: Tokenizer | None = None
) -> Path:
    """Write model.safetensors, config.json and (if given) tokenizer.json to a folder of their own, all or nothing."""
    tensors = {"model.safetensors": dict(model.state_dict())}
    return write_folder(Path(folder), tensors, texts_of(model, about, tokenizer))


def save_state(
    folder: Path,
    model: Transformer,
    state: dict[str, Tensor],
    about: dict,
    tokenizer: Tokenizer | None = None,
    keep: int = 2,
) -> Path:
    """Write folder/step-NNNNNN and drop all but the newest `keep`."""
    tensors = {"model.safetensors": dict(model.state_dict()), "state.safetensors": state}
    done = write_folder(place(folder, about["step"]), tensors, texts_of(model, about, tokenizer))
    for old in checkpoints(folder)[:-keep]:
        dropped = old.with_name(old.name + ".old.part")
        old.rename(dropped)  # at once no checkpoint any more, however long deleting takes
        shutil.rmtree(dropped, ignore_errors=True)
    return done


def rewrite_about(folder: Path, model: Transformer, about: dict) -> Path:
    """Replace the config.json of a finished checkpoint, in one step."""
    write_text(folder / "config.json", texts_of(model, about, None)["config.json"])
    return folder


def place(folder: Path, step: int) -> Path:
    return Path(folder) / f"step-{step:06d}"


def checkpoints(folder: Path | str) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    found = [(re.fullmatch(r"step-(\d+)", path.name), path) for path in Path(folder).glob("step-*")]
    return [path for _, path in sorted((int(m[1]), path) for m, path in found if m and path.is_dir())]


def remove_leftovers(folder: Path) -> None:
    """What a killed run had begun to write or to delete."""
    for path in Path(folder).glob("step-*.part"):
        shutil.rmtree(path, ignore_errors=True)


def load_model(
    folder: Path | str, V: int | None = None, length: int | None = None, device=None
) -> Transformer | DiffusionLM:
    """A model from `save_model` or from the newest checkpoint of a run, in float32. Give V and length to be sure that
    it was made for this vocabulary and canvas.

    Raises FileNotFoundError where files are missing and ValueError for damaged ones or another V or length.
    """
    folder = _newest(folder)
    model = _untrained(folder)
    if V is not None and model.V != V:
        raise ValueError(
            f"The checkpoint in {folder} was made for a vocabulary of {model.V} tokens, not {V}: use the "
            "tokenizer it was trained with."
        )
    if length is not None and model.length < length:
        raise ValueError(f"The checkpoint in {folder} was made for at most {model.length} positions, not {length}.")
    weights = read_tensors(folder / "model.safetensors")
    try:
        model.load_state_dict({name: value.float() for name, value in weights.items()})  # may be stored in half
    except RuntimeError as error:
        raise ValueError(damaged(folder, f"its weights do not fit its config.json: {error}")) from error
    return model.to(device).eval()


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """The tokenizer stored with a model."""
    path = _newest(folder) / "tokenizer.json"
    if not path.exists():
        raise FileNotFoundError(f"There is no tokenizer.json beside the model in {path.parent}.")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception here
        raise ValueError(damaged(path.parent, f"tokenizer.json cannot be read: {error}")) from error


def read_about(folder: Path) -> dict:
    """What config.json says."""
    path = Path(folder) / "config.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"There is no checkpoint in {folder}: expected config.json and model.safetensors."
        ) from None
    except ValueError as error:  # no JSON, or no text at all
        raise ValueError(damaged(folder, f"config.json is not valid JSON ({error})")) from None
    if not isinstance(about, dict):
        raise ValueError(damaged(folder, "config.json holds no settings"))
    return about


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(damaged(path.parent, f"{path.name} is missing")) from None
    except SafetensorError as error:
        raise ValueError(damaged(path.parent, f"{path.name} cannot be read ({error})")) from None


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """(state tensors, about) of one checkpoint folder."""
    about = read_about(folder)
    return read_tensors(Path(folder) / "state.safetensors"), about


def damaged(folder: Path, what: str) -> str:
    """The sentence on a checkpoint that cannot be used, on one line."""
    what = textwrap.shorten(what, 300, placeholder=" ...")
    return f"The checkpoint in {folder} is damaged: {what}. Delete it and take an older one."


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as flat named tensors (no pickle)."""
    return {
        f"optimizer.{i}.{name}": value
        for i, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            weight = weights[int(index)]
            state.setdefault(int(index), {})[name] = dealt_like(value, weight)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _newest(folder: Path | str) -> Path:
    found = checkpoints(folder)
    return found[-1] if found else Path(folder)


def _untrained(folder: Path) -> Transformer | DiffusionLM:
    """The network that config.json describes; a `net` in it is that of a Diffusion-LM, a `block_size`
    that of a block model."""
    about = read_about(folder)
    try:
        if "net" in about["model"]:
            return DiffusionLM.from_description(about["model"])
        if "block_size" in about["model"]:
            return BlockTransformer(BlockConfig(**about["model"]))
        return Transformer(TransformerConfig(**about["model"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(damaged(folder, f"config.json does not describe a model ({error!r})")) from None


def texts_of(model: Transformer, about: dict | None, tokenizer: Tokenizer | None) -> dict[str, str]:
    """config.json and, if there is one, tokenizer.json."""
    described = model.description() if isinstance(model, DiffusionLM) else asdict(model.config)
    texts = {"config.json": json.dumps({"model": described, **(about or {})}, indent=1) + "\n"}
    return texts if tokenizer is None else texts | {"tokenizer.json": tokenizer.to_str(pretty=True)}
