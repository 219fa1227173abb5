"""`python -m difflm_core.training`: what it prints, what it keeps, and one sentence for everything that goes wrong."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import ON_THE_COMMAND_LINE, at_call, everything, interrupt, write_text

from difflm_core.data.toy_language import toy_language
from difflm_core.evaluation import estimate_nelbo
from difflm_core.training import RECIPES, Masked, __main__, report
from difflm_core.training.__main__ import main
from difflm_core.training.checkpoints import checkpoints, load_model
from difflm_core.training.state import State

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """`runs/` goes to a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def short_report(monkeypatch):
    """Two draws of few sentences instead of eight of 8,192."""
    monkeypatch.setattr(
        report, "estimate_nelbo", lambda nelbo, fresh, draws, generator: estimate_nelbo(nelbo, fresh[:1], 2, generator)
    )


def told(capsys, *arguments) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of the command."""
    try:
        status = main([str(word) for word in arguments])
    except SystemExit as end:
        status = end.code
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_trains_and_reports(capsys, tmp_path):
    status, out, _ = told(capsys, "mdlm-tiny", "--steps", 3, *ON_THE_COMMAND_LINE)
    assert status == 0
    assert re.search(r"mdlm-tiny: [\d,]+ parameters, V = 1\d\d, length 12, 3 steps of 8 on 1 threads; into runs", out)
    assert re.search(r"step +3   bound \d\.\d{4} ± \d\.\d{4} nats/token   entropy \d\.\d{4}   gap \+\d+\.\d %", out)
    bound = re.search(r"^bound +(\d\.\d{4}) ± \d\.\d{4} nats/token \(8 draws of 98,304 tokens\)", out, re.M)
    exact = re.search(r"^exact -log p +(\d\.\d{4}) nats/token for the same sentences: the model pays \+", out, re.M)
    entropy = toy_language().entropy() / 12
    assert f"entropy        {entropy:.4f} nats/token" in out
    assert float(bound[1]) > float(exact[1]) == pytest.approx(entropy, abs=0.01)
    calls = re.findall(r"^(.+): (\d+\.\d) network calls, \d+\.\d % broken", out, re.M)
    assert [name for name, _ in calls] == [*(f"ancestral, T = {T}" for T in (1, 2, 4, 8)), "first-hitting"]
    assert all(0.7 * most < float(n) <= most for (_, n), most in zip(calls, (1, 2, 4, 8, 12), strict=True))
    assert out.count("what broke: ") == 5 and len(re.findall(r"^  [* ] (\w+ ){11}\w+$", out, re.M)) == 20
    folder = tmp_path / "runs" / "mdlm-tiny"
    assert checkpoints(folder)[-1].name == "step-000003" and load_model(folder).config.width == 16
    assert [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()] == [3]


def test_interrupt_and_resume(capsys, tmp_path, monkeypatch, short_report):
    command = ["ar-tiny", "--steps", 6, "--folder", "here", *ON_THE_COMMAND_LINE]
    with monkeypatch.context() as patch:
        at_call(patch, State, "gradient", 4, interrupt)
        status, out, _ = told(capsys, *command)
    assert status == 130 and f"saved in {Path('here') / 'step-000003'}" in out and "--resume" in out
    status, out, err = told(capsys, *command)
    assert (status, err) == (
        1,
        "Stopped: here already holds a run: add --resume to go on with it, or name another folder.\n",
    )
    status, out, _ = told(capsys, *command, "--resume")
    assert status == 0 and "left to right: 12.0 network calls" in out and "exact nll" in out
    assert everything(tmp_path / "here")[1]["step"] == 6
    status, out, _ = told(capsys, *command, "--resume")  # once more: only the report
    assert status == 0 and "left to right" in out and "exact nll" not in out
    status, _, err = told(capsys, *command, "--resume", "--size.width", 32)
    assert status == 1 and "started with other settings (size.width was 16, is 32)" in err
    status, _, err = told(capsys, *command, "--folder", "nowhere", "--resume")
    assert (status, err) == (1, "Stopped: There is nothing to resume in nowhere: it holds no checkpoint.\n")
    (tmp_path / "here" / "step-000006" / "model.safetensors").write_bytes(b"")
    status, _, err = told(capsys, *command, "--resume")
    assert status == 1 and err.startswith("Stopped: The checkpoint in here") and err.count("\n") == 1


def test_interrupted_outside_training(capsys, monkeypatch, short_report):
    command = ["mdlm-tiny", "--steps", 2, *ON_THE_COMMAND_LINE]
    with monkeypatch.context() as patch:
        patch.setattr(__main__, "build", lambda recipe: interrupt())  # while data is fetched
        assert told(capsys, *command)[::2] == (130, "Interrupted.\n")
    monkeypatch.setattr(__main__, "report", lambda *a: interrupt())
    status, _, err = told(capsys, *command)
    newest = Path("runs") / "mdlm-tiny" / "step-000002"
    assert status == 130 and err.endswith(f"Interrupted. The newest checkpoint is {newest}.\n")


def test_a_bad_number(capsys, monkeypatch):
    def loss(task, model, x, generator=None):
        return model(x, None).sum(-1) * math.nan

    monkeypatch.setattr(Masked, "loss", loss)
    status, _, err = told(capsys, "mdlm-tiny", "--steps", 3, *ON_THE_COMMAND_LINE)
    said = err.splitlines()[-1]  # after the progress bar
    assert status == 1 and said.startswith("Stopped: The loss of step 1 is nan (batch row 0: '")
    assert "no checkpoint had been written yet" in said and "Traceback" not in err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_real_ctrl_c(tmp_path, capsys, monkeypatch):
    command = ["mdlm-tiny", "--steps", "100000", "--checkpoint-every", "5", "--folder", str(tmp_path / "run")]
    command += ON_THE_COMMAND_LINE
    running = subprocess.Popen(
        [sys.executable, "-m", "difflm_core.training", *command],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # even if the tests ignore it
    )  # fmt: skip
    try:
        patience = time.monotonic() + 300
        while len(checkpoints(tmp_path / "run")) < 2 and running.poll() is None and time.monotonic() < patience:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=300)
    finally:
        running.kill()
    assert running.returncode == 130 and "Traceback" not in err, err
    said = re.search(r"Interrupted after (\d+) steps; saved in (.*)\. To go on: the same command with --resume", out)
    assert said and Path(said[2]) == checkpoints(tmp_path / "run")[-1]
    step = int(said[1])
    assert everything(tmp_path / "run")[1]["step"] == step and step >= 10
    at_call(monkeypatch, State, "gradient", 3, interrupt)
    status, out, _ = told(capsys, *command, "--resume")
    assert status == 130 and f"Interrupted after {step + 2} steps" in out


def test_own_text(capsys, tmp_path):
    write_text(tmp_path / "mine.txt")
    command = ["mdlm-text", "--data.path", "mine.txt", "--data.length", 16, "--steps", 2, *ON_THE_COMMAND_LINE]
    status, out, _ = told(capsys, *command)
    assert status == 0 and re.search(r"bound   .*perplexity per token \d+\.\d, \d\.\d{3} bits per character", out)


@pytest.mark.parametrize(
    "content, arguments, sentence",
    [
        (None, [], "There is no file or folder mine.txt."),
        (b"", [], "There is no text in mine.txt"),
        (b"a", [], "leaves one side empty"),
        (b"aaa\n\naa", [], "1 distinct character"),
        (b"\xff\xfe\xfa", [], "mine.txt is not UTF-8 text"),
        (b"ab ba\n\nba ab", [], "a row needs 64"),
        ("long", ["--batch-size", 100000], "batch_size = 100000: it must lie in 1 to"),
        ("long", ["--size.heads", 5], "width / heads must be an even whole number"),
        ("long", ["--size.dropout", 2], "dropout"),
        ("long", ["--device", "cuda:99"], "--device cuda:99 cannot be used here"),
        ("long", ["--folder", "mine.txt"], "mine.txt is a file: name a folder for the run"),
        ("long", ["--data.bpe", 100], "V = 100: byte-level BPE needs 257 tokens"),
    ],
)
def test_bad_text_and_settings(content, arguments, sentence, capsys, tmp_path):
    if content == "long":
        write_text(tmp_path / "mine.txt")
    elif content is not None:
        (tmp_path / "mine.txt").write_bytes(content)
    command = ["mdlm-text", "--data.path", "mine.txt", "--steps", 2, *ON_THE_COMMAND_LINE, *arguments]
    status, _, err = told(capsys, *command)
    assert status == 1 and err.startswith("Stopped: ") and sentence in err and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--steps", 0], "must all be at least 1"),
        (["--steps", -3], "must all be at least 1"),
        (["--batch-size", 0], "must all be at least 1"),
        (["--steps", "many"], "invalid literal for int"),
        (["--learning-rate", 0], "learning_rate and clip must be above 0"),
        (["--ema", 1], "ema is the decay of an average, in [0, 1)"),
        (["--stepz", 3], "--steps"),
        (["--data.held-out", 0], "must all be at least 1"),
    ],
)
def test_settings_that_are_not_understood(arguments, sentence, capsys, tmp_path):
    status, out, err = told(capsys, "mdlm-tiny", *arguments)
    assert status == 2 and "Traceback" not in err
    assert sentence in " ".join(re.sub(r"[│╭╮╰╯─]", " ", out + err).split())
    assert not list(tmp_path.iterdir())


def test_which_recipe(capsys):
    status, out, err = told(capsys)
    assert (status, out) == (2, "") and err.startswith("Say which recipe to train. They are:\n")
    assert all(re.search(rf"^  {name} +{re.escape(text)}$", err, re.M) for name, (text, _) in RECIPES.items())
    assert told(capsys, "mdlm-tny")[2].startswith("There is no recipe 'mdlm-tny'. Did you mean mdlm-tiny")
    assert "-shakespeare or " in told(capsys, "--folder", "x", "shakespeare")[2].split("Did you mean ")[1]
    assert told(capsys, "qqq")[2].startswith("There is no recipe 'qqq'. They are:")
    status, out, _ = told(capsys, "--help")
    assert status == 0 and all(name in out for name in RECIPES) and "--resume" in out
    status, out, _ = told(capsys, "mdlm-text", "--help")
    assert status == 0 and all(word in out for word in ("--data.path", "--steps INT", "--size.time-conditioning"))


def test_without_a_network(capsys, monkeypatch):
    from difflm_core import data

    def unreachable(*arguments):
        raise ConnectionError("Dataset 'x' could not be had from the hub: connect.")

    monkeypatch.setattr(data, "hub", unreachable)
    status, _, err = told(capsys, "mdlm-lm1b")
    assert (status, err) == (1, "Stopped: Dataset 'x' could not be had from the hub: connect.\n")
