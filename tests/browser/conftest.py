"""A real JupyterLab on a copy of lessons/, and a page of a real Chromium; skipped, with the reason, without one."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARTEFACTS = ROOT / "tests" / "artefacts"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
QUIET = {
    "fetchNews": "false",
    "checkForUpdates": False,
}  # JupyterLab would ask the network, and the student, about news
START_S = 60
PATIENCE_MS = 150_000  # with a page and with a click, when the machine is busy


def chromium() -> str | None:
    """The browser: DIFFLM_CHROMIUM, or the first one on PATH."""
    names = (os.environ.get("DIFFLM_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next(filter(None, (shutil.which(name) for name in names if name)), None)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def environment(home: Path) -> dict[str, str]:
    """Fast mode and live widgets for the kernels; settings and workspaces that touch nobody's own JupyterLab."""
    unwanted = ("CI", "DIFFLM_STATIC", "DIFFLM_STRICT", "MPLBACKEND")
    env = {key: value for key, value in os.environ.items() if key not in unwanted}
    folders = {f"JUPYTER_{kind}_DIR": str(home / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    lab = {f"JUPYTERLAB_{kind}_DIR": str(home / kind) for kind in ("SETTINGS", "WORKSPACES")}
    package = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
    return {**env, **folders, **lab, "DIFFLM_FAST": "1", "DIFFLM_THREADS": "1", "PYTHONPATH": package}


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory) -> str:
    """The address of a JupyterLab that serves a copy of lessons/: autosave must not touch the committed notebooks."""
    home = tmp_path_factory.mktemp("jupyter")
    shutil.copytree(ROOT / "lessons", home / "lessons")
    settings = home / "SETTINGS" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(QUIET))
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1",
               f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={home / 'lessons'}",
               "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", "--allow-root"]  # fmt: skip
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment(home), cwd=home, stdout=log, stderr=log)
    try:
        for _ in range(START_S * 4):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).read()
                break
            except OSError:
                assert server.poll() is None, (home / "log").read_text()[-3000:]
                time.sleep(0.25)
        else:
            pytest.fail(f"JupyterLab did not answer within {START_S} s:\n{(home / 'log').read_text()[-3000:]}")
        yield address
    finally:
        server.terminate()  # JupyterLab shuts its kernels down
        server.wait(30)


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not (path := chromium()):
        pytest.skip("no Chromium found: install it, or name it in DIFFLM_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, jupyter, artefacts, request):
    """A fresh page of 1280 x 900; `page.complaints` collects its console errors and uncaught exceptions."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    page.complaints = []
    page.on(
        "console", lambda m: page.complaints.append(f"{m.text} ({m.location['url']})") if m.type == "error" else None
    )
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    page.screenshot(path=artefacts / f"{re.sub(r'[^a-z0-9]+', '-', request.node.name.lower()).strip('-')}-end.png")
    page.close()
    for session in json.loads(urllib.request.urlopen(f"{jupyter}/api/sessions").read()):  # one kernel at a time
        urllib.request.urlopen(urllib.request.Request(f"{jupyter}/api/sessions/{session['id']}", method="DELETE"))


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """Where screenshots go; git ignores the folder."""
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / ".gitignore").write_text("*\n")
    return ARTEFACTS
