"""Text as token files: a corpus of any size, tokenised once, read row by row where it lies.

A folder holds `train/00000.bin`, `train/00001.bin`, ... and `held_out/...`: the token ids of some documents each, one
after the other, 2 bytes a token (4 for vocabularies above 65,536); `tokenizer.json`; and `about.json`, which lists
every file with its tokens and its sha256. `data/prepare.py` writes it. Rows of any length are cut when they are read:
a file gives tokens // length rows, and what is left over sits out.

Files are read, not mapped into memory: a mapped file that a lost disk takes away kills the process without a word.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int
from tokenizers import Tokenizer

FORMAT = 1


class LostText(OSError):
    """A token file that cannot be read any more, or is not what it was; the message says how to get it back."""


@dataclass(frozen=True)
class TokenFile:
    """`tokens` ids of `documents` texts in the file `name`, and the hash of its bytes."""

    name: str
    tokens: int
    documents: int
    sha256: str


@dataclass(frozen=True)
class TokenRows:
    """The rows of `length` tokens that some token files hold: len(rows), rows[numbers] -> (N, length) int64."""

    folder: Path
    files: tuple[TokenFile, ...]
    dtype: np.dtype
    length: int

    def __post_init__(self):
        if self.length < 1 or len(self) == 0:
            raise ValueError(
                f"No file in {self.folder} has as many as {self.length} tokens, a row of this length: give more text "
                "or a shorter length."
            )

    @cached_property
    def counts(self) -> Int[np.ndarray, "files"]:
        """The rows of each file."""
        return np.array([file.tokens // self.length for file in self.files], np.int64)

    @cached_property
    def digest(self) -> str:
        """Equal for equal tokens in equal files: what a resumed run compares."""
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return int(self.counts.sum())

    def __getitem__(self, numbers: Sequence[int] | Int[np.ndarray, "N"]) -> Int[np.ndarray, "N length"]:
        """Each file is opened once for all its rows. Raises `LostText`."""
        numbers = np.asarray(numbers, dtype=np.int64)
        ends = self.counts.cumsum()
        which = np.searchsorted(ends, numbers, side="right")
        result = np.empty((len(numbers), self.length), np.int64)
        for index in np.unique(which):
            chosen = np.flatnonzero(which == index)
            start = ends[index] - self.counts[index]
            result[chosen] = self._read(self.files[index], numbers[chosen] - start)
        return result

    def _read(self, file: TokenFile, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n length"]:
        path, size = self.folder / file.name, self.length * self.dtype.itemsize
        found = np.empty((len(rows), self.length), self.dtype)
        try:
            with open(path, "rb", buffering=0) as opened:
                for place in np.argsort(rows):
                    opened.seek(int(rows[place]) * size)
                    if opened.readinto(found[place]) != size:
                        raise OSError("it is shorter than it was")
        except OSError as error:
            raise LostText(lost(path, error.strerror or str(error))) from error
        return found


def open_token_files(folder: Path | str, length: int, part: str = "train") -> tuple[TokenRows, Tokenizer]:
    """(rows of `length` tokens of the part "train" or "held_out", tokenizer) of a prepared folder.

    Raises FileNotFoundError where nothing was prepared, and `LostText` where a file is missing or has another size.
    """
    folder = Path(folder)
    about = read_about(folder)
    files = tuple(TokenFile(**file) for file in about["files"] if file["name"].startswith(f"{part}/"))
    rows = TokenRows(folder, files, np.dtype(about["dtype"]), length)
    for file in files:
        path = folder / file.name
        if not path.is_file():
            raise LostText(lost(path, "it is missing"))
        if path.stat().st_size != file.tokens * rows.dtype.itemsize:
            raise LostText(
                lost(path, f"it has {path.stat().st_size:,} bytes, not {file.tokens * rows.dtype.itemsize:,}")
            )
    return rows, Tokenizer.from_file(str(folder / "tokenizer.json"))


def read_about(folder: Path) -> dict:
    """What about.json says. Raises FileNotFoundError and ValueError."""
    path = Path(folder) / "about.json"
    if not path.is_file():
        begun = " (a preparation was cut off: run the same command again and it goes on)" if folder.is_dir() else ""
        raise FileNotFoundError(
            f"No text has been prepared in {folder}{begun}: see python -m difflm_core.data.prepare -h."
        )
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        known = about["format"] == FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete that file and prepare the text again.") from error
    if not known:
        raise ValueError(f"{path} is of another version: delete that folder and prepare the text again.")
    return about


def damaged_files(folder: Path | str) -> list[str]:
    """The token files that are missing or whose bytes do not have the hash that about.json gives them."""
    folder = Path(folder)
    files = [TokenFile(**file) for file in read_about(folder)["files"]]
    return [file.name for file in files if hash_of(folder / file.name) != file.sha256]


def hash_of(path: Path) -> str | None:
    """sha256 of a file's bytes, None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def lost(path: Path, what: str) -> str:
    return (
        f"The token file {path} cannot be used ({what}). Put it back, or make it again: the same command of "
        "difflm_core.data.prepare writes anew only what is missing or damaged."
    )
