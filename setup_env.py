"""Makes .venv complete: finds a suitable Python, makes the environment, installs requirements.txt, checks the imports.

A finished set-up leaves a stamp in .venv. While the stamp fits requirements.txt, pyproject.toml, this folder and this
Python, the next call returns at once. What goes wrong in class (old Python, no venv module, no network, full disk,
Ctrl-C) ends in one sentence. Standard library only, and no syntax newer than Python 2.7: an old Python must be able to
say that it is too old.
"""
from __future__ import print_function

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "difflm-setup.json")
VENV_PYTHON = os.path.join(VENV, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))

OLDEST, NEWEST = (3, 11), (3, 13)
CANDIDATES = ("python3", "python3.13", "python3.12", "python3.11", "python")
NEEDED_GB, NEEDED_GB_GPU = 4, 12  # environment + downloads in flight; the GPU build of torch brings its CUDA libraries
SYSTEMS = "64-bit Linux, 64-bit Windows and Apple-silicon macOS"
IMPORTS = "import torch, transformers, datasets, ipywidgets, jupyterlab, difflm_core; print(torch.__version__)"
DISK_SIGNS = ("No space left on device", "Disk quota exceeded", "not enough space on the disk")
NETWORK_SIGNS = (
    "Failed to establish a new connection", "Connection refused", "Connection aborted", "Connection broken",
    "ConnectionError", "Network is unreachable", "name resolution", "NameResolutionError", "ProxyError", "SSLError",
    "timed out", "TimeoutError", "incomplete-download", "HTTP error",
)  # fmt: skip


class SetupError(Exception):
    """One sentence for the reader: what is wrong and what to do."""


class NoNetwork(SetupError):
    """pip could not fetch; nothing was installed."""


def say(text):
    print(text)
    sys.stdout.flush()


# --- which Python ----------------------------------------------------------------------------------------------------


def version_of(python):
    """(major, minor) of a Python executable, or None where it does not run."""
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.check_output([python, "-c", ask], stderr=subprocess.STDOUT)
        return tuple(int(part) for part in answer.decode().strip().split("."))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def find_python(running, search):
    """The executable to build .venv with: the running one if it suits, else (if we may search) the first that does."""
    if OLDEST <= running <= NEWEST:
        return sys.executable
    for name in CANDIDATES if search else ():
        if OLDEST <= (version_of(name) or running) <= NEWEST:
            return name
    raise SetupError(
        "The course needs Python 3.11-3.13, found %d.%d (%s): install Python 3.12, or name a suitable one as in "
        "`make lab PYTHON=/path/to/python3.12`." % (running + (sys.executable,))
    )


def check_venv_module():
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(  # noqa: B904 ("from None" would not parse under Python 2)
            "This Python (%s) cannot make environments, because its venv module is missing: on Debian or Ubuntu run "
            "`sudo apt install python3-venv`, then the same command again." % sys.executable
        )


# --- the stamp -------------------------------------------------------------------------------------------------------


def finished_stamp():
    """What a finished set-up of this folder by this Python looks like."""
    digest = hashlib.sha256()
    for name in ("requirements.txt", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    python = "%d.%d" % sys.version_info[:2]
    return {"finished": True, "requirements": digest.hexdigest(), "python": python, "folder": ROOT}


def read_stamp():
    try:
        with open(STAMP) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def write_stamp(content):
    with open(STAMP + ".tmp", "w") as file:
        json.dump(content, file)
    os.replace(STAMP + ".tmp", STAMP)


def can_go_on(stamp):
    """May pip go on in the .venv that is there? Not in one of another Python or folder, nor in a half-made one."""
    if stamp and not (stamp.get("finished") and stamp.get("folder") == ROOT):
        return False
    return version_of(VENV_PYTHON) == sys.version_info[:2]


def empty_venv():
    """Remove all but the stamp, which says "unfinished" for as long as this and what follows takes."""
    for name in os.listdir(VENV):
        path = os.path.join(VENV, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif path != STAMP:
            os.remove(path)


# --- disk and pip ----------------------------------------------------------------------------------------------------


def check_space():
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GB:
        raise SetupError(
            "The set-up needs %d GB of free disk, and %s has %.1f GB: make room there, then run the same command again."
            % (NEEDED_GB, ROOT, free)
        )
    if free < NEEDED_GB_GPU and sys.platform == "linux":
        say("      %.0f GB are free: fine for torch's CPU build; its GPU build needs %d." % (free, NEEDED_GB_GPU))


def explain(messages):
    """What pip wrote on stderr -> the error that says what to do."""
    if any(sign in messages for sign in DISK_SIGNS):
        return SetupError(
            "The disk is full (environment in %s, temporary files in %s): the set-up needs %d GB, with torch's GPU "
            "build %d GB; make room, then run the same command again."
            % (VENV, tempfile.gettempdir(), NEEDED_GB, NEEDED_GB_GPU)
        )
    if any(sign in messages for sign in NETWORK_SIGNS):
        return NoNetwork(
            "No network, or the package index does not answer (pip's own words are above): check the connection or "
            "the proxy, then run the same command again."
        )
    if "(from versions: none)" in messages:  # told not to retry, pip does not say why it found nothing
        return NoNetwork(
            "No network, or a package index without builds for this system (pip names the package above): check the "
            "connection or the proxy, then run the same command again; the course runs on %s." % SYSTEMS
        )
    if "No matching distribution found" in messages:
        return SetupError(
            "The package index has no build for this system (pip names the package above): the course runs on %s."
            % SYSTEMS
        )
    return SetupError("pip could not install the requirements: its own words above say why.")


def pip_install(*what):
    """pip shows its progress straight on the terminal; its warnings and errors pass through us, to be explained."""
    environment = dict(os.environ, PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONWARNINGS="ignore")
    command = [VENV_PYTHON, "-m", "pip", "install"] + list(what)
    pip = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    messages = []
    for line in iter(pip.stderr.readline, b""):
        messages.append(line.decode("utf-8", "replace"))
        sys.stderr.write(messages[-1])
        sys.stderr.flush()
    if pip.wait() != 0:
        raise explain("".join(messages))


# --- the set-up ------------------------------------------------------------------------------------------------------


def quiet_lab():
    """JupyterLab's first start must not ask about news, nor look for updates where a class has no network."""
    folder = os.path.join(VENV, "share", "jupyter", "lab", "settings")
    settings = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    if not os.path.isdir(folder):
        os.makedirs(folder)
    with open(os.path.join(folder, "overrides.json"), "w") as file:
        json.dump(settings, file)


def lock():
    """One set-up at a time in this folder, where the system has file locks. The lock ends with the returned handle."""
    try:
        import fcntl

        handle = open(os.path.join(ROOT, "setup_env.py"))
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work in this folder: waiting for it to finish.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        return handle
    except (ImportError, OSError):
        return None


def install(goal, before):
    """Steps 1-4. The stamp says "unfinished" from the first change to the last."""
    keep = can_go_on(before)
    if not os.path.isdir(VENV):
        os.makedirs(VENV)
    write_stamp(dict(goal, finished=False))
    if keep:
        say("[1/4] The environment .venv is there (Python %s): bringing it up to date." % goal["python"])
    else:
        say("[1/4] Making the environment .venv with Python %s (about 10 seconds)." % goal["python"])
        empty_venv()
        subprocess.check_call([sys.executable, "-m", "venv", "--prompt", "difflm", VENV])
    try:
        say("[2/4] Checking pip, the installer (about 5 seconds).")
        pip_install("--quiet", "pip>=25.1")
        say("[3/4] Installing requirements.txt: first downloads, then a minute or two of unpacking.")
        pip_install("--requirement", "requirements.txt")
    except NoNetwork:
        if keep and before:
            write_stamp(before)  # pip fetches everything before it changes anything: this is still the old environment
        raise
    say("[4/4] Checking that everything imports (about 20 seconds).")
    torch = subprocess.check_output([VENV_PYTHON, "-c", IMPORTS], cwd=ROOT).decode().strip()
    quiet_lab()
    write_stamp(goal)
    return torch


def set_up():
    holding = lock()  # noqa: F841
    goal, before, started = finished_stamp(), read_stamp(), time.time()
    if before == goal and os.path.exists(VENV_PYTHON):
        return say("The environment .venv is ready.")
    check_venv_module()
    check_space()
    torch = install(goal, before)
    say("The environment .venv is ready (torch %s, made in %.0f seconds)." % (torch, time.time() - started))


def main():
    """Exit status: 0 ready, 1 with one sentence on stderr, 130 after Ctrl-C."""
    try:
        python = find_python(sys.version_info[:2], search=not os.environ.get("PYTHON"))
        if python != sys.executable:
            return subprocess.call([python, os.path.abspath(__file__)])
        set_up()
        return 0
    except SetupError as error:
        message = str(error)
    except KeyboardInterrupt:
        say("\nStopped before the set-up was finished: the same command makes it afresh.")
        return 130
    except subprocess.CalledProcessError as error:
        message = "`%s ...` failed (see above): run the same command again." % " ".join(error.cmd[:3])
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        message = str(explain(DISK_SIGNS[0])) if full else "A file cannot be written or run: %s." % error
    sys.stderr.write("Set-up failed. %s\n" % message)
    return 1


if __name__ == "__main__":
    sys.exit(main())
