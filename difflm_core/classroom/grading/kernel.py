"""A fresh Jupyter kernel with limits: seconds for each question, memory of all its processes, bytes of output.

The limits stop accidents: endless loops, huge tensors, floods of prints. They are no security sandbox.
"""

import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from subprocess import DEVNULL
from typing import Any

import psutil
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

LARGEST_OUTPUT = 20_000_000  # bytes that a kernel may send before it is stopped; prints are cut off earlier, inside
START_S = 120
LOOK_S = 0.2  # how often memory is looked at
# Nothing else of the environment reaches a student's code: a token in a variable is not its business.
PASSED_ON = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TEMP", "TMP", "SHELL"),
    *("SYSTEMROOT", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "COMSPEC", "PATHEXT", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "DIFFLM_DEVICE", "DIFFLM_THREADS"),
    "CUDA_VISIBLE_DEVICES",
)


class KernelStopped(Exception):
    """The kernel is gone before it answered; the subclass says why, the message says it to a student."""


class TimeUp(KernelStopped):
    """It took longer than allowed."""


class OutOfMemory(KernelStopped):
    """Its processes took more memory than allowed."""


class Flood(KernelStopped):
    """It sent more output than allowed."""


class Died(KernelStopped):
    """It ended by itself."""


@dataclass(frozen=True)
class Limits:
    """Seconds for one exercise and for a student's whole notebook, memory in GB; `full` size or the fast mode."""

    seconds: float = 60.0
    notebook_seconds: float = 600.0
    memory: float = 4.0
    full: bool = False


def environment(folder: Path, full: bool) -> dict[str, str]:
    """What the kernel finds in its environment: this package, no bars, no live widgets, its own settings folder."""
    package = str(Path(__file__).resolve().parents[3])
    passed = {name: value for name, value in os.environ.items() if name.upper() in PASSED_ON}
    ours = {
        "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH")))),
        "IPYTHONDIR": str(folder / ".ipython"),  # no start-up files, no history
        "DIFFLM_FAST": "0" if full else "1",
        **{"DIFFLM_STATIC": "1", "DIFFLM_NO_BAR": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    }
    return passed | ours


class Kernel:
    """A kernel in `folder`, for `with`. Once it has raised KernelStopped it is dead: take another one."""

    def __init__(self, folder: Path, limits: Limits):
        self.limits = limits
        # no folder with kernels: "python3" is then this very Python, whatever is installed for the user
        self.manager = KernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder), env=environment(folder, limits.full), stdout=DEVNULL, stderr=DEVNULL)
        self.process = psutil.Process(self.manager.provisioner.pid)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        try:
            self.client.wait_for_ready(timeout=START_S)
        except RuntimeError as error:
            self.stop()
            raise Died(f"the kernel did not start ({error}).") from error

    def __enter__(self) -> "Kernel":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the kernel and every process that it started."""
        for process in self.family():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def family(self) -> list[psutil.Process]:
        """The kernel's process and all its descendants that are alive."""
        try:
            return [self.process, *self.process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def memory(self) -> int:
        """Bytes that the kernel and its descendants occupy."""
        total = 0
        for process in self.family():
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                pass
        return total

    def ask(self, question: str, seconds: float, **inputs: Any) -> Any:
        """What the function `question` of inside.py returns for these inputs. Raises KernelStopped, after stop()."""
        word = secrets.token_hex(16)  # only the answer to this question carries it
        call = f"inside.answer({question!r}, {word!r}, {json.dumps(inputs)!r})"
        try:
            return self.wait(f"from difflm_core.classroom.grading import inside\n{call}", word, seconds)
        except KernelStopped:
            self.stop()
            raise

    def wait(self, code: str, word: str, seconds: float) -> Any:
        request = self.client.execute(code, store_history=False, allow_stdin=False)
        ends, looked, received, found = time.monotonic() + seconds, 0.0, 0, None
        while True:
            now = time.monotonic()
            if now > ends:
                raise TimeUp(f"it was stopped after {seconds:.0f} seconds. Is there a loop that does not end?")
            if now - looked > LOOK_S:
                looked = now
                if self.memory() > self.limits.memory * 1e9:
                    raise OutOfMemory(f"it was stopped because it took more than {self.limits.memory:g} GB of memory.")
                if not self.manager.is_alive():
                    raise Died(self.obituary())
            try:
                message = self.client.get_iopub_msg(timeout=LOOK_S)
            except Empty:
                continue
            received += len(str(message["content"]))
            if received > LARGEST_OUTPUT:
                raise Flood(f"it was stopped because it sent more than {LARGEST_OUTPUT / 1e6:.0f} MB of output.")
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "error":
                raise Died(f"the grader's own code failed with {content['ename']}: {content['evalue']}")
            if kind == "display_data" and word in content["metadata"]:
                found = content["data"]["application/json"]
            if kind == "status" and content["execution_state"] == "idle":
                if found is None:
                    raise Died("it ended the kernel instead of returning an answer.")
                return found

    def obituary(self) -> str:
        status = self.manager.provisioner.process.returncode if self.manager.provisioner.process else None
        how = f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"
        return f"it ended the kernel ({how}), as code that runs out of memory or leaves Python does."
