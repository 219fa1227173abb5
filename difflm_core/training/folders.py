"""A folder that is there whole or not at all: written beside as NAME.part, brought to the disk, then renamed."""

import errno
import os
import re
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

FULL = (errno.ENOSPC, errno.EDQUOT)


def write_folder(target: Path, tensors: dict[str, dict[str, Tensor]], texts: dict[str, str]) -> Path:
    """Write safetensors files and UTF-8 texts to `target`, in place of what was there. After an error, Ctrl-C or a
    crash the former content still stands. Raises OSError with a sentence where it cannot be written.
    """
    part, old = (target.with_name(target.name + ending) for ending in (".part", ".old.part"))
    try:
        if old.exists() and not target.exists():  # killed between the two renames below
            os.replace(old, target)
        _remove(part)
        part.mkdir(parents=True)
        for name, content in tensors.items():
            save_file({key: value.detach().cpu().contiguous().clone() for key, value in content.items()}, part / name)
        for name, text in texts.items():
            (part / name).write_text(text, encoding="utf-8")
        for path in (*part.iterdir(), part):
            flush(path)
        _exchange(part, target, old)
        flush(target.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise OSError(*_explain(error, target)) from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return target


def write_text(path: Path, text: str) -> None:
    """Replace one UTF-8 text file in one step."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        flush(part)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(*_explain(error, path)) from error


def _exchange(part: Path, target: Path, old: Path) -> None:
    _remove(old)
    if target.exists():  # a folder cannot be renamed onto a full one
        os.replace(target, old)
    try:
        os.replace(part, target)
    except BaseException:
        if old.exists() and not target.exists():
            os.replace(old, target)
        raise
    _remove(old)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def flush(path: Path) -> None:
    """Have the bytes, and a folder's list of names, on the disk before a rename makes them count."""
    if path.is_dir() and os.name == "nt":  # Windows cannot, and needs not, flush a folder
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explain(error: Exception, target: Path) -> tuple[int, str]:
    """(errno, sentence); safetensors has the number only in its text."""
    found = re.search(r"os error (\d+)", str(error))
    number = getattr(error, "errno", None) or (int(found[1]) if found else errno.EIO)
    advice = "free some space" if number in FULL else "name a folder that can be written"
    reason = getattr(error, "strerror", None) or error
    return number, (
        f"Could not write {target} ({reason}); nothing half-written was left and earlier checkpoints are untouched: "
        f"{advice}, then go on from the newest one."
    )
