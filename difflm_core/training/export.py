"""`python -m difflm_core.training.export RUN OUT`: a trained model as a folder that stands alone, and onto a hub.

OUT holds model.safetensors (the averaged weights), config.json, tokenizer.json and README.md, a card that says how the
model was made and how to open it: `from_pretrained(OUT)`, here or from the hub.

    python -m difflm_core.training.export runs/mdlm-owt models/mdlm-owt
    python -m difflm_core.training.export runs/mdlm-owt models/mdlm-owt --push you/mdlm-owt
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from tokenizers import Tokenizer

from difflm_core.models import DiffusionLM, Transformer
from difflm_core.training import checkpoints
from difflm_core.training.folders import write_folder
from difflm_core.training.resume import flat

LIBRARY = "difflm_core"
FILES = ("config.json", "model.safetensors", "tokenizer.json")


def save_pretrained(run: Path | str, out: Path | str) -> Path:
    """The newest checkpoint of a run (or a folder of `save_model`) as a model folder. Raises FileNotFoundError and
    ValueError for a run without one, FileExistsError where `out` holds something else.
    """
    run, out = Path(run), Path(out)
    found = checkpoints.checkpoints(run)
    source = found[-1] if found else run
    about, model = checkpoints.read_about(source), checkpoints.load_model(source)
    if out.exists() and any(out.iterdir()) and not (out / "config.json").is_file():
        raise FileExistsError(f"{out} holds other files: name another folder for the model.")
    kept = {key: about[key] for key in ("recipe", "history", "step") if key in about}
    texts = checkpoints.texts_of(model, kept, checkpoints.load_tokenizer(source))
    texts["README.md"] = card(out.name, model, about)
    return write_folder(out, {"model.safetensors": dict(model.state_dict())}, texts)


def from_pretrained(name: str | Path, device=None) -> tuple[Transformer | DiffusionLM, Tokenizer]:
    """(model, tokenizer) of a folder, or of a hub repository that `push` filled, in float32 and ready to sample.

    Raises FileNotFoundError and ValueError as `load_model`, and ConnectionError where the hub cannot be reached.
    """
    folder = Path(name) if Path(name).is_dir() else fetch(str(name))
    return checkpoints.load_model(folder, device=device), checkpoints.load_tokenizer(folder)


def push(folder: Path | str, repository: str, private: bool = True) -> str:
    """Upload a folder of `save_pretrained` to the Hugging Face hub; returns its address. Needs a login (`hf auth login`
    or HF_TOKEN). Raises ConnectionError where that or the network is missing.
    """
    from huggingface_hub import HfApi

    folder = Path(folder)
    checkpoints.load_model(folder)  # nothing damaged goes out
    hub = HfApi()
    try:
        address = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=[*FILES, "README.md"])
    except Exception as error:  # network, login and rights raise a dozen different things
        raise ConnectionError(
            f"{repository} could not be written on the hub ({_first_line(error)}): check the network, and log in with "
            "hf auth login. The model's folder is whole and can be pushed later."
        ) from error
    return str(address)


def fetch(repository: str) -> Path:
    """A hub repository's files, from the hub's cache on this disk where they are there."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(FILES)))
    except Exception as error:  # as above
        raise ConnectionError(
            f"There is no folder {repository!r}, and no model of that name could be had from the hub "
            f"({_first_line(error)})."
        ) from error


def card(name: str, model: Transformer | DiffusionLM, about: dict) -> str:
    """README.md: what the model is, how it was made, how far it came, how to open it."""
    recipe, history = about.get("recipe", {}), about.get("history", [])
    settings = "\n".join(f"| {key} | {value} |" for key, value in flat(recipe.get("settings", {})).items())
    curve = "\n".join(
        f"| {row['step']} | {row['loss']:.4f} | {row['bound']:.4f} ± {row['standard_error']:.4f} |" for row in history
    )
    return f"""---
library_name: {LIBRARY}
tags: [diffusion-language-model]
---

# {name}

{type(model).__name__}, {model.parameters_count():,} parameters, V = {model.V:,}, at most {model.length} tokens; task
{recipe.get("task", "unknown")}, data {recipe.get("data", "unknown")}, {about.get("step", "unknown")} steps.

```python
from difflm_core.training.export import from_pretrained

model, tokenizer = from_pretrained("{name}")
```

| step | training loss | bound on held-out text, nats per token |
|---|---|---|
{curve}

| setting | value |
|---|---|
{settings}
"""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


@dataclass(frozen=True)
class Command:
    """Write the newest checkpoint of a run as a model folder with its card, and push it to a hub if asked."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    out: tyro.conf.Positional[Path]
    """Where the model goes."""
    push: str | None = None
    """A repository of the Hugging Face hub, OWNER/NAME, to upload it to."""
    public: bool = False
    """Let everybody see a new repository."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 stopped by an error (one sentence on it), 2 not understood."""
    command = tyro.cli(
        Command, args=arguments, config=(tyro.conf.FlagCreatePairsOff,), prog="python -m difflm_core.training.export"
    )
    try:
        print(f"Written to {save_pretrained(command.run, command.out)}.")
        if command.push:
            print(f"Pushed to {push(command.out, command.push, private=not command.public)}.")
    except (OSError, ValueError) as error:
        print(f"Stopped: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
