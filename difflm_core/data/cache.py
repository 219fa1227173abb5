"""The cache folder, and writing into it so that a file is there whole or not at all.

The folder is `DIFFLM_CACHE` where that is set, else `~/.cache/difflm`; its `archives/` holds downloads, its `corpora/`
prepared text.
"""

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ELSEWHERE = "Free some space there, or set DIFFLM_CACHE to a folder on another disk."


class ArchiveError(RuntimeError):
    """An archive or the cache folder could not be had; the message says what to do."""


def cache_folder() -> Path:
    """The folder that keeps downloads and prepared corpora (it may not exist yet)."""
    if chosen := os.environ.get("DIFFLM_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "difflm"


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A scratch folder inside `folder`, on the same disk: a finished file is renamed into place in one step.

    It is removed with all it holds on success, error and Ctrl-C. Raises ArchiveError where the disk is full or `folder`
    cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder, ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ArchiveError(f"The disk of {folder} is full, and nothing was kept. {ELSEWHERE}") from error
        advice = "set DIFFLM_CACHE to a folder that you may write to"
        raise ArchiveError(f"{folder} cannot be written ({error.strerror or error}): {advice}.") from error


def hash_of_texts(texts: Sequence[str]) -> str:
    """sha256 of texts in their order; where one ends and the next begins counts."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
