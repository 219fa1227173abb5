"""What a model needs, and what is there: said before a download begins."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from difflm_core.data.no_hub import no_hub

DTYPES = {torch.float32: 4, torch.bfloat16: 2, torch.float16: 2}


class NotEnoughMemory(RuntimeError):
    """The model would not fit; the message has the figures and names a smaller one."""


@dataclass(frozen=True)
class Need:
    """Parameters, bytes of them in memory, and bytes to download (those that the files really have, where the hub could
    be asked).
    """

    parameters: int
    memory: int
    download: int
    asked: bool

    def __str__(self) -> str:
        where = "as its files say" if self.asked else "by the published size"
        return (
            f"{self.parameters / 1e9:.3g} billion parameters, {gigabytes(self.download)} to download ({where}), "
            f"{gigabytes(self.memory)} of memory for the weights"
        )


def need_of(repo: str, parameters: int, bytes_each: int, dtype: torch.dtype) -> Need:
    """What a repository needs in `dtype`. The hub is asked for the headers of its weights; where it cannot be reached,
    the published number of parameters, stored in `bytes_each` bytes, is taken.
    """
    found = counted(repo)
    count, stored = found or (parameters, parameters * bytes_each)
    return Need(count, count * DTYPES[dtype], stored, found is not None)


def counted(repo: str) -> tuple[int, int] | None:
    """(parameters, bytes) from the headers of the safetensors files on the hub; None without a hub, or without them."""
    from huggingface_hub import get_safetensors_metadata
    from huggingface_hub.errors import NotASafetensorsRepoError

    try:
        found = get_safetensors_metadata(repo)
    except (NotASafetensorsRepoError, OSError, *no_hub()):
        return None
    bits = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I8": 8, "U8": 8, "BOOL": 8}
    stored = sum(count * bits.get(kind, 8) // 8 for kind, count in found.parameter_count.items())
    return sum(found.parameter_count.values()), stored


def free_memory(device: torch.device | str | None) -> int:
    """Bytes that are free on the device, the computer's own memory by default."""
    device = torch.device(device or "cpu")
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def check_memory(name: str, need: Need, device: torch.device | str | None, smaller: str | None) -> None:
    """Raises NotEnoughMemory with both figures. A tenth is added for what a network computes."""
    free = free_memory(device)
    if need.memory * 1.1 > free:
        where = "this GPU" if torch.device(device or "cpu").type == "cuda" else "this computer"
        instead = f"take {smaller}" if smaller else "take mdlm-shakespeare, a course checkpoint"
        raise NotEnoughMemory(
            f"{name} needs {gigabytes(need.memory * 1.1)} of memory with what it computes, {where} has "
            f"{gigabytes(free)} free: {instead}, or a larger machine."
        )


def check_disk(name: str, need: Need, folder: Path) -> None:
    """Raises NotEnoughMemory where the download would not fit into `folder` (or its first existing parent)."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if need.download > free:
        raise NotEnoughMemory(
            f"{name} is a download of {gigabytes(need.download)}, {folder} has {gigabytes(free)} free: free some "
            "space, or set HF_HOME to a folder on another disk."
        )


def gigabytes(count: float) -> str:
    return f"{count / 1e9:.3g} GB"
