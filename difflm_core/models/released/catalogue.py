"""The released models that this course can open, and the one call that opens them."""

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from difflm_core.data.no_hub import no_hub
from difflm_core.models.released import memory
from difflm_core.models.released.dit import dit_from
from difflm_core.models.released.llada import llada_from

GPT2_WORDS = 50_257  # the mask of MDLM and GIDD is the row after them


@dataclass(frozen=True)
class Released:
    """A repository of the hub: how many parameters (counted on the architecture, or as published), in how many bytes
    each they are stored, the dtype that they are opened in, how a folder becomes a network, what to take where it does
    not fit, and the name of its tokenizer, for `AutoTokenizer` (None: it is in the repository).
    """

    what: str
    parameters: int
    bytes_each: int
    dtype: torch.dtype
    open: Callable[[Path, torch.dtype], nn.Module]
    smaller: str | None = None
    tokenizer: str | None = None


def weights_of(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder} holds no weights in safetensors files.")
    return {name: value.to(dtype) for file in files for name, value in load_file(file).items()}


def config_of(folder: Path) -> dict:
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} holds no config.json: give the folder with a repository's files.")
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def open_mdlm(folder: Path, dtype: torch.dtype) -> nn.Module:
    config = config_of(folder)
    length, uses_time = config.get("model_length", 1024), bool(config.get("time_conditioning", False))
    return dit_from(weights_of(folder, dtype), GPT2_WORDS, length, uses_time)


def open_gidd(folder: Path, dtype: torch.dtype) -> nn.Module:
    return dit_from(weights_of(folder, dtype), GPT2_WORDS, 512, uses_time=True)


def open_llada(folder: Path, dtype: torch.dtype) -> nn.Module:
    return llada_from(weights_of(folder, dtype), config_of(folder))


def open_diffusion_gemma(folder: Path, dtype: torch.dtype) -> nn.Module:
    try:
        from transformers import DiffusionGemmaForBlockDiffusion
    except ImportError as error:
        raise RuntimeError("DiffusionGemma needs a newer transformers: pip install -U transformers.") from error
    return DiffusionGemmaForBlockDiffusion.from_pretrained(folder, dtype=dtype).requires_grad_(False).eval()


def _gidd(size: str, parameters: int) -> dict[str, Released]:
    smaller = {"small": None, "base": "dvruette/gidd-small-p_unif-0.1"}[size]
    return {
        f"dvruette/gidd-{size}-p_unif-{p}": Released(
            f"GIDD, masks and {p} random words at t = 1/2, OpenWebText",
            parameters, 4, torch.float32, open_gidd, smaller, "gpt2",
        )
        for p in ("0.0", "0.1", "0.2")
    }  # fmt: skip


LLADA = ("GSAI-ML/LLaDA-8B-Base", "GSAI-ML/LLaDA-8B-Instruct")
RELEASED: dict[str, Released] = {
    "kuleshov-group/mdlm-owt": Released(
        "MDLM, masks, OpenWebText", 169_627_218, 4, torch.float32, open_mdlm, None, "gpt2"
    ),
    **_gidd("small", 169_697_920),
    **_gidd("base", 424_571_264),
    **{
        name: Released(
            "LLaDA, masks, 8 B", 8_015_581_184, 2, torch.bfloat16, open_llada, "kuleshov-group/mdlm-owt"
        )
        for name in LLADA
    },
    "google/diffusiongemma-26B-A4B-it": Released(
        "DiffusionGemma, random words, mixture of experts", 25_200_000_000, 2, torch.bfloat16, open_diffusion_gemma,
        "GSAI-ML/LLaDA-8B-Instruct",
    ),
}  # fmt: skip


def released(name: str) -> Released:
    """The entry of this name. Raises ValueError with the nearest names for another one."""
    if name in RELEASED:
        return RELEASED[name]
    near = difflib.get_close_matches(name, RELEASED, n=3, cutoff=0.3) or list(RELEASED)
    short = {known.split("/")[1].lower(): known for known in RELEASED}
    part = [known for key, known in short.items() if name.split("/")[-1].lower() in key and name]
    raise ValueError(
        f"There is no released model {name!r} here; nearest: {', '.join(dict.fromkeys([*part, *near]))}. "
        "`RELEASED` lists all."
    )


def load_released(
    name: str, folder: str | Path | None = None, device: torch.device | str | None = None, say=print
) -> nn.Module:
    """A frozen `Denoiser` with the released weights (for DiffusionGemma the transformers model, which `GemmaCanvas`
    turns into one, behind a prompt). `folder` holds the repository's files; None fetches them from the hub.

    What it needs is told with `say` before anything is fetched. Raises ValueError for an unknown name (the nearest are
    named) and for weights that do not fit, NotEnoughMemory with figures and a smaller model, ConnectionError where the
    hub is out of reach.
    """
    entry = released(name)
    need = memory.need_of(name, entry.parameters, entry.bytes_each, entry.dtype)
    if folder is None:
        say(f"{name}: {need}")
    for where in dict.fromkeys(("cpu", str(device or "cpu"))):  # weights pass through the computer's own memory
        memory.check_memory(name, need, where, entry.smaller)
    place = Path(folder) if folder is not None else fetch(name, need)
    return entry.open(place, entry.dtype).to(device or "cpu")


def fetch(name: str, need: memory.Need) -> Path:
    """Weights and configuration only: no code of the repository is fetched."""
    from huggingface_hub import constants, snapshot_download

    memory.check_disk(name, need, Path(constants.HF_HUB_CACHE))
    try:
        return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.json", "tokenizer*", "*.jinja"]))
    except (OSError, *no_hub()) as error:
        raise ConnectionError(
            f"{name} could not be fetched (no network, the hub is out of reach, or it asks you to log in): connect and "
            "run this again, or give the folder with its files: load_released(name, folder)."
        ) from error
