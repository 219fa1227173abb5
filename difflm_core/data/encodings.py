"""A frozen encoder's states of a whole dataset: computed once, kept on disk, mapped into memory.

A frozen encoder says the same of a text in every epoch, so its states are computed before training and read back row
by row. They live in a folder of NumPy files (`states.npy`, `mask.npy`, `ids.npy`) with `about.json`, which names the
encoder by the hash of its weights: states of one encoder never pass for those of another. Row i belongs to text i, so
labels stay in the dataset. Texts of a canvas of 64 tokens take 49 kB each with MiniLM's 384 numbers in half precision.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from difflm_core.data.archives import check_room
from difflm_core.data.cache import cache_folder, hash_of_texts, staging

if TYPE_CHECKING:
    from difflm_core.models.pretrained import Encoder

FORMAT = 1
WINDOW = 16  # batches that are sorted by length together, so that short texts do not wait for long ones


@dataclass(frozen=True, eq=False)
class Encodings:
    """N encoded texts on a canvas of L: `encodings[rows]` reads a few of them, everything else stays on disk.

    `encoder` is the name, `fingerprint` the hash of the network that made them. States at padding are 0.
    """

    states: Float[np.ndarray, "N L D"]
    mask: Bool[np.ndarray, "N L"]
    ids: Int[np.ndarray, "N L"]
    encoder: str
    fingerprint: str
    texts: str  # hash of the texts, in order

    def __len__(self) -> int:
        return len(self.states)

    @property
    def length(self) -> int:
        return self.states.shape[1]

    @property
    def dim(self) -> int:
        return self.states.shape[2]

    def __getitem__(
        self, rows: Int[Tensor, "B"] | Sequence[int] | slice
    ) -> tuple[Float[Tensor, "B L D"], Bool[Tensor, "B L"], Int[Tensor, "B L"]]:
        """(states in float32, mask, ids) of several rows."""
        rows = rows if isinstance(rows, slice) else np.asarray(rows, dtype=np.int64)
        kinds = ((self.states, np.float32), (self.mask, np.bool_), (self.ids, np.int64))
        states, mask, ids = (torch.from_numpy(np.array(array[rows], dtype=kind)) for array, kind in kinds)
        return states, mask, ids


def encode_texts(
    texts: Sequence[str],
    encoder: "Encoder",
    length: int,
    folder: Path | str | None = None,
    batch_size: int = 32,
    dtype: str = "float16",
    progress: bool = True,
) -> Encodings:
    """The states of `texts` on a canvas of `length` tokens; computed on the first call, opened on later ones.

    The folder is found in `encodings/` of the cache by texts, encoder and settings, or is the one given. All or
    nothing: Ctrl-C, an error or a full disk leave no part of it. `dtype` is that on disk, float16 or float32.

    Raises ValueError for a text longer than the canvas, for a given folder that holds other texts or another encoder's
    states, and for states beyond half precision; ArchiveError where the disk is full or cannot be written.
    """
    texts = list(texts)
    if not texts or dtype not in ("float16", "float32"):
        raise ValueError(f"{len(texts)} texts in {dtype}: give at least one text, and float16 or float32.")
    about = {"format": FORMAT, "encoder": encoder.name, "fingerprint": encoder.fingerprint}
    about["texts"] = hash_of_texts(texts)
    about |= {"rows": len(texts), "length": length, "dim": encoder.dim, "dtype": dtype}
    if folder is None:
        folder = cache_folder() / "encodings" / hash_of_texts([json.dumps(about, sort_keys=True)])[:16]
    folder = Path(folder)
    if not folder.exists():
        ids, mask = encoder.tokenise(texts, length)
        with staging(folder.parent) as scratch:
            check_room(scratch, (np.dtype(dtype).itemsize * encoder.dim + 5) * ids.numel() / 1e6 + 1, "encoding")
            made = scratch / folder.name
            made.mkdir()
            np.save(made / "mask.npy", mask.numpy())
            np.save(made / "ids.npy", ids.numpy().astype(np.int32))
            with (made / "states.npy").open("wb") as file:
                _write_states(file, encoder, ids, mask, batch_size, np.dtype(dtype), progress)
            (made / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            try:
                os.replace(made, folder)
            except OSError:
                if not folder.exists():  # else another process was faster
                    raise
    encodings = open_encodings(folder, encoder)
    if (encodings.texts, encodings.length, str(encodings.states.dtype)) != (about["texts"], length, dtype):
        raise ValueError(
            f"{folder} holds other texts or settings ({len(encodings)} texts on {encodings.length} tokens in "
            f"{encodings.states.dtype}): name another folder, or delete it to encode anew."
        )
    return encodings


def open_encodings(folder: Path | str, encoder: "Encoder") -> Encodings:
    """Encodings that `encode_texts` wrote, if they are `encoder`'s. Their numbers are read when rows are asked for.

    Raises FileNotFoundError where there are none, ValueError for another encoder's and for a damaged folder.
    """
    folder = Path(folder)
    if not (folder / "about.json").is_file():
        raise FileNotFoundError(f"There are no encodings in {folder}: make them with encode_texts.")
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("states", "mask", "ids")}
        encodings = Encodings(**arrays, **{name: about[name] for name in ("encoder", "fingerprint", "texts")})
        whole = encodings.states.shape == (about["rows"], about["length"], about["dim"]) and about["format"] == FORMAT
        whole = whole and encodings.mask.shape == encodings.ids.shape == encodings.states.shape[:2]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"The encodings in {folder} are damaged ({error}): delete that folder.") from error
    if not whole:
        raise ValueError(f"The encodings in {folder} are damaged or of another version: delete that folder.")
    if encodings.fingerprint != encoder.fingerprint:
        raise ValueError(
            f"The encodings in {folder} were made by {encodings.encoder} ({encodings.fingerprint[:10]}), not by "
            f"{encoder.name} ({encoder.fingerprint[:10]}): states of two encoders do not mix, encode the texts anew."
        )
    return encodings


def _write_states(
    file: BinaryIO,
    encoder: "Encoder",
    ids: Int[Tensor, "N L"],
    mask: Bool[Tensor, "N L"],
    batch_size: int,
    dtype: np.dtype,
    progress: bool,
) -> None:
    """A .npy file in row order, piece by piece; not through a memory map, where a full disk would kill the process."""
    shape = (*ids.shape, encoder.dim)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    counts = mask.sum(1)
    with tqdm(desc=f"encoding with {encoder.name}", total=len(ids), unit="text", disable=not progress) as bar:
        for start in range(0, len(ids), WINDOW * batch_size):
            window = torch.arange(start, min(start + WINDOW * batch_size, len(ids)))
            piece = np.zeros((len(window), *shape[1:]), dtype)
            for rows in window[counts[window].argsort()].split(batch_size):
                longest = max(1, int(counts[rows].max()))
                states = encoder.states(ids[rows, :longest], mask[rows, :longest]).float().cpu()
                if not bool((states.abs() <= float(np.finfo(dtype).max)).all()):
                    raise ValueError(f"{encoder.name} has states beyond {dtype}, or not numbers: take dtype='float32'.")
                piece[rows.numpy() - start, :longest] = states.numpy()
                bar.update(len(rows))
            file.write(piece.tobytes())
