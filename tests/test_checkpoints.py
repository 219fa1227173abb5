"""Checkpoints: whole or not there, however a run ends; damage is named in one sentence; course checkpoints."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tiny_runs import SIZE, TINY, assert_same_run, everything, interrupt, on_text, same, write_text

from difflm_core.data import word_tokenizer
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.training import ToyLanguage, course, evaluate, folders, load_model, load_tokenizer, save_model, train
from difflm_core.training.checkpoints import checkpoints, load_state, place, read_about
from difflm_core.training.resume import save
from difflm_core.training.state import State

ROOT = Path(__file__).resolve().parent.parent
CONFIG = TransformerConfig(V=5, length=6, width=16, layers=1, heads=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(TINY, folder, progress=False)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a finished run, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Transformer(CONFIG).eval()


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- written and read back -------------------------------------------------------------------------------------------


def test_model_and_tokenizer_come_back(model, tmp_path):
    folder = save_model(tmp_path / "deep" / "model", model, {"note": "é"}, word_tokenizer(list("abcde")))
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    loaded = load_model(folder, V=5, length=6)
    assert same(loaded.state_dict(), model.state_dict()) and loaded.config == CONFIG and not loaded.training
    assert load_tokenizer(folder).get_vocab() == dict(zip("abcde", range(5), strict=True))
    assert read_about(folder)["note"] == "é"
    assert load_model(folder, length=3).length == 6  # shorter texts fit


def test_stored_in_half_loaded_in_float(model, tmp_path):
    angles = model.angles.clone()
    folder = save_model(tmp_path / "half", Transformer(CONFIG).half())
    assert {v.dtype for v in load_file(folder / "model.safetensors").values()} == {torch.float16}
    loaded = load_model(folder)
    assert {v.dtype for v in loaded.state_dict().values()} == {torch.float32}
    assert torch.equal(loaded.angles, angles)  # not stored, so not rounded


def test_saving_again_replaces(model, tmp_path):
    save_model(tmp_path / "m", model, tokenizer=word_tokenizer(list("abcde")))
    other = Transformer(CONFIG)
    save_model(tmp_path / "m", other)
    assert same(load_model(tmp_path / "m").state_dict(), other.state_dict())
    assert [p.name for p in tmp_path.iterdir()] == ["m"] and len(list((tmp_path / "m").iterdir())) == 2


def test_only_safetensors_and_json(trained):
    assert sorted(p.name for p in trained.iterdir()) == ["log.jsonl", "step-000008", "step-000012"]  # the newest two
    for folder in checkpoints(trained):
        names = ["config.json", "model.safetensors", "state.safetensors", "tokenizer.json"]
        assert sorted(p.name for p in folder.iterdir()) == names
        json.loads((folder / "config.json").read_text(), parse_constant=pytest.fail)
    assert load_tokenizer(trained).get_vocab() == ToyLanguage().tokenizer().get_vocab()


def test_order_is_by_number_and_unfinished_ones_do_not_count(trained, tmp_path):
    for name in ("step-999999", "step-1000000", "step-000005.part", "step-1000001.old.part", "step-x", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-2000000").write_text("a file")
    assert [p.name for p in checkpoints(tmp_path)] == ["step-999999", "step-1000000"]
    assert place(tmp_path, 1_000_000).name == "step-1000000"
    assert checkpoints(tmp_path / "nowhere") == []


def test_leftovers_of_a_killed_run_are_cleaned(run):
    for name in ("step-000016.part", "step-000004.old.part"):
        (run / name).mkdir()
        (run / name / "model.safetensors").write_bytes(b"half")
    (run / "step-000012" / "config.json.part").write_text("{")
    assert load_model(run).V == ToyLanguage().V
    train(TINY, run, resume=True, progress=False)
    assert sorted(p.name for p in run.iterdir()) == ["log.jsonl", "step-000008", "step-000012"]


# --- damage ----------------------------------------------------------------------------------------------------------


def cut(name, keep):
    def damage(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(keep * len(data))])

    return damage


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


def remove(name):
    return lambda folder: (folder / name).unlink()


def config(**changes):
    def damage(folder):
        about = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(about | {"model": about["model"] | changes}))

    return damage


def tensors(name, change):
    def damage(folder):
        content = load_file(folder / name)
        change(content)
        save_file(content, folder / name)

    return damage


DAMAGE = {
    "config missing": (remove("config.json"), FileNotFoundError, "There is no checkpoint in .*: expected config.json"),
    "config cut": (cut("config.json", 0.5), ValueError, "config.json is not valid JSON"),
    "config empty": (write("config.json", ""), ValueError, "config.json is not valid JSON"),
    "config a list": (write("config.json", "[1]"), ValueError, "config.json holds no settings"),
    "config of something else": (write("config.json", "{}"), ValueError, "describe a model .KeyError|no training"),
    "unknown setting": (config(depth=3), ValueError, "does not describe a model .*depth"),
    "setting of another type": (config(V="many"), ValueError, "does not describe a model"),
    "weights missing": (remove("model.safetensors"), FileNotFoundError, "model.safetensors is missing"),
    "weights cut": (cut("model.safetensors", 0.7), ValueError, "model.safetensors cannot be read"),
    "weights empty": (cut("model.safetensors", 0), ValueError, "model.safetensors cannot be read"),
    "weights no safetensors": (write("model.safetensors", "x" * 99), ValueError, "model.safetensors cannot be read"),
    "other shapes": (config(width=32), ValueError, "weights do not fit its config.json: .*size mismatch"),
    "a tensor missing": (
        tensors("model.safetensors", lambda content: content.pop("head.weight")), ValueError, "do not fit .*head.weight"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_model(case, run):
    damage, kind, sentence = DAMAGE[case]
    newest = checkpoints(run)[-1]
    damage(newest)
    for read in (lambda: load_model(run), lambda: train(TINY, run, resume=True, progress=False)):
        with pytest.raises(kind, match=sentence) as error:
            read()
        assert str(newest) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 700
    shutil.rmtree(newest)  # as the sentence says
    assert train(TINY, run, resume=True, progress=False).finished


STATE_DAMAGE = {
    "state missing": (remove("state.safetensors"), FileNotFoundError, "state.safetensors is missing"),
    "state cut": (cut("state.safetensors", 0.9), ValueError, "state.safetensors cannot be read"),
    "tokenizer missing": (remove("tokenizer.json"), FileNotFoundError, "There is no tokenizer.json"),
    "tokenizer cut": (cut("tokenizer.json", 0.5), ValueError, "tokenizer.json cannot be read"),
    "a state tensor missing": (
        tensors("state.safetensors", lambda content: content.pop("averaged.count")), ValueError, "averaged.count"
    ),
    "a state tensor of another shape": (
        tensors("state.safetensors", lambda content: content.update({"model.head.weight": torch.zeros(2)})),
        ValueError,
        "does not fit: .*size mismatch",
    ),
    "random numbers cut": (
        tensors("state.safetensors", lambda content: content.update(noise_generator=torch.zeros(3, dtype=torch.uint8))),
        ValueError,
        "does not fit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STATE_DAMAGE)
def test_damaged_state(case, run, trained):
    damage, kind, sentence = STATE_DAMAGE[case]
    damage(checkpoints(run)[-1])
    with pytest.raises(kind, match=sentence) as error:
        train(TINY, run, resume=True, progress=False)
    assert "\n" not in str(error.value)
    shutil.rmtree(checkpoints(run)[-1])
    assert train(TINY, run, resume=True, progress=False).finished
    assert_same_run(run, trained)


def test_another_vocabulary_or_canvas(model, tmp_path):
    save_model(tmp_path / "m", model)
    with pytest.raises(ValueError, match="vocabulary of 5 tokens, not 7: use the tokenizer it was trained with"):
        load_model(tmp_path / "m", V=7)
    with pytest.raises(ValueError, match="made for at most 6 positions, not 9"):
        load_model(tmp_path / "m", length=9)
    with pytest.raises(FileNotFoundError, match="There is no checkpoint in"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="There is no tokenizer.json beside the model"):
        load_tokenizer(tmp_path / "m")
    with pytest.raises(FileNotFoundError, match="state.safetensors is missing"):
        load_state(tmp_path / "m")


def test_a_published_model_cannot_be_resumed(run):
    newest = checkpoints(run)[-1]
    save_model(newest, load_model(run), tokenizer=load_tokenizer(run))
    save_file({"x": torch.zeros(1)}, newest / "state.safetensors")
    with pytest.raises(ValueError, match="holds a model but no training state"):
        train(TINY, run, resume=True, progress=False)


def test_another_kind_of_device(run):
    newest = checkpoints(run)[-1]
    about = json.loads((newest / "config.json").read_text())
    (newest / "config.json").write_text(json.dumps(about | {"device": "cuda"}))
    with pytest.raises(ValueError, match="was started on cuda, this is cpu, .*resume it with --device cuda"):
        train(TINY, run, resume=True, progress=False)


# --- full disks, Ctrl-C and kill -9 while writing --------------------------------------------------------------------


def raising(error):
    def act(*arguments, **named):
        raise error

    return act


FULL = OSError(errno.ENOSPC, "No space left on device")
FAULTS = {
    "full, safetensors": ("save_file", raising(SafetensorError("I/O error: No space left on device (os error 28)"))),
    "full, save_file": ("save_file", raising(FULL)),
    "full, flush": ("flush", raising(FULL)),
    "full, rename": ("os.replace", raising(FULL)),
    "not allowed": ("save_file", raising(PermissionError(errno.EACCES, "Permission denied"))),
    "Ctrl-C, first file": ("save_file", interrupt),
    "Ctrl-C, flush": ("flush", lambda path: interrupt()),
    "Ctrl-C, rename": ("os.replace", lambda *a: interrupt()),
}


def half_written(*arguments):
    """Some bytes reach the disk before it is full."""
    Path(arguments[1]).write_bytes(b"half")
    raise FULL


@pytest.mark.parametrize("case", [*FAULTS, "half a file"])
def test_fault_while_writing(case, run, model, monkeypatch):
    name, act = FAULTS.get(case, ("save_file", half_written))
    before = content(run)
    owner, name = (os, "replace") if name == "os.replace" else (folders, name)
    expected = KeyboardInterrupt if "Ctrl-C" in case else OSError
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, lambda *a, **k: act(*a, **k) if act is not interrupt else interrupt())
        for target in (run / "step-000016", run / "step-000012"):  # a new checkpoint, one in place of another
            with pytest.raises(expected) as error:
                save_model(target, model)
            if expected is OSError:
                advice = "name a folder that can be written" if case == "not allowed" else "free some space"
                assert f"Could not write {target} (" in str(error.value) and advice in str(error.value)
                assert error.value.errno == (errno.EACCES if case == "not allowed" else errno.ENOSPC)
    assert content(run) == before  # nothing lost, nothing half-written


def test_full_disk_in_training(trained, tmp_path, monkeypatch):
    calls = []

    def disk(*arguments):
        calls.append(1)
        return half_written(*arguments) if len(calls) == 4 else save_file(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(folders, "save_file", disk)
        with pytest.raises(OSError, match="Could not write .*step-000008 .*free some space, then go on"):
            train(TINY, tmp_path, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "step-000004"]
    train(TINY, tmp_path, resume=True, progress=False)
    assert_same_run(tmp_path, trained)


def test_full_disk_for_the_log(tmp_path, monkeypatch):
    from difflm_core.training import log

    monkeypatch.setattr(log, "open", raising(FULL), raising=False)
    with pytest.raises(OSError, match=r"Could not write .*log.jsonl \(No space left.*Free some space and resume"):
        train(TINY, tmp_path, progress=False)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-000004"]


def test_killed_between_the_two_renames(run, model):
    """The former folder, moved aside, comes back even if the next attempt fails."""
    (run / "step-000012").rename(run / "step-000012.old.part")
    (run / "step-000012.part").mkdir()
    save_model(run / "step-000012", model)
    assert same(load_model(run).state_dict(), model.state_dict())
    assert not list(run.glob("*.part"))


def test_a_saved_step_is_not_written_again(trained, tmp_path):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    before = content(run)
    state = State(TINY)
    state.folder, state.step, state.history = run, 12, everything(run)[1]["history"]
    save(state)  # an untrained state: only what the checkpoint says may change
    after = content(run)
    assert {name for name in before if before[name] != after[name]} == {"step-000012/config.json"}


KILLED = """
import os, random, signal, sys, time
from pathlib import Path

import torch

torch.set_num_threads(1)
sys.path.insert(0, "tests")
from test_checkpoints import MANY, load_model, load_state
from difflm_core.training import train
from difflm_core.training.checkpoints import checkpoints

folder, chance = Path(sys.argv[1]), random.Random(0)
newest = lambda: int(checkpoints(folder)[-1].name[5:]) if checkpoints(folder) else 0
for attempt in range(5):
    child = os.fork()
    if child == 0:
        train(MANY, folder, resume=bool(checkpoints(folder)), progress=False)
        os._exit(0)
    goal, patience = newest() + chance.randint(1, 4), time.monotonic() + 150
    while newest() < goal and time.monotonic() < patience:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    load_model(folder), load_state(checkpoints(folder)[-1])
    print("killed", newest(), len(list(folder.glob("*.part"))), flush=True)
"""
MANY = replace(TINY, steps=30, checkpoint_every=1, size=replace(SIZE, dropout=0.1))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_at_any_moment(tmp_path):
    """One process forks the runs, so that each dies within a fraction of a second of its start."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed")], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert killed.returncode == 0, killed.stderr
    lines = [line.split() for line in killed.stdout.splitlines() if line.startswith("killed")]
    steps = [int(line[1]) for line in lines]
    assert len(steps) == 5 and steps == sorted(set(steps)) and steps[-1] <= 30
    train(MANY, tmp_path / "killed", resume=True, progress=False)
    train(MANY, tmp_path / "whole", progress=False)
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    assert content(tmp_path / "killed").keys() == content(tmp_path / "whole").keys()


# --- course checkpoints ----------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty lessons/checkpoints."""
    folder = tmp_path / "lessons" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setattr(course, "CHECKPOINTS", folder)
    return folder


def test_missing_course_checkpoint_names_the_command(shelf):
    command = "python -m difflm_core.training.course mdlm-shakespeare"
    with pytest.raises(FileNotFoundError, match=f"checkpoints/mdlm-shakespeare is missing; make it with: {command}$"):
        course.course_checkpoint("mdlm-shakespeare")
    with pytest.raises(ValueError, match="no course checkpoint 'mdlm-shakspeare': the recipes are mdlm-tiny, "):
        course.course_checkpoint("mdlm-shakspeare")


@pytest.mark.parametrize("source", ["toy", "text"])
def test_publish(source, shelf, tmp_path, monkeypatch, capsys):
    recipe = TINY if source == "toy" else on_text(write_text(tmp_path / "text.txt"), bpe=300)
    monkeypatch.setitem(course.RECIPES, "mdlm-tiny", ("A test.", recipe))
    assert course.main(["mdlm-tiny", "--runs", str(tmp_path / "runs")]) == 0
    assert "stored in lessons/checkpoints/mdlm-tiny" in capsys.readouterr().out
    folder = shelf / "mdlm-tiny"
    names = ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(p.name for p in folder.iterdir()) == names
    stored = load_file(folder / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}

    model, tokenizer = course.course_checkpoint("mdlm-tiny")
    run = load_model(tmp_path / "runs" / "course-mdlm-tiny").state_dict()
    assert same(model.state_dict(), {name: value.half().float() for name, value in run.items()})
    assert tokenizer.get_vocab() == recipe.data.tokenizer().get_vocab() and model.V == recipe.data.V

    card, about = (folder / "README.md").read_text(encoding="utf-8"), read_about(folder)
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() in card
    held_out = torch.cat(recipe.data.evaluation())
    assert hashlib.sha256(held_out.numpy().tobytes()).hexdigest() == about["evaluation_data_sha256"]
    assert about["evaluation_data_sha256"] in card and "python -m difflm_core.training.course mdlm-tiny" in card
    estimate = evaluate(recipe, model, draws=16)  # the card holds for the weights that are stored
    assert about["bound"] == estimate.mean and f"| bound on held-out text | {estimate} |" in card
    sample = recipe.task.sample(model, (4, model.length), torch.Generator().manual_seed(0))
    assert all(recipe.data.decode(row) in card for row in sample.tokens)
    assert [row["step"] for row in about["history"]] == [5, 10, 12] and f"{model.parameters_count():,}" in card
    assert all(line.endswith("|") for line in card.splitlines() if line.startswith("|"))

    before = content(folder)
    assert course.main(["mdlm-tiny", "--runs", str(tmp_path / "runs")]) == 0  # the finished run is taken up again
    assert content(folder)["model.safetensors"] == before["model.safetensors"]


def test_course_command_stops_in_one_sentence(shelf, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(course.RECIPES, "mdlm-tiny", ("A test.", TINY))
    train(replace(TINY, seed=5), tmp_path / "runs" / "course-mdlm-tiny", progress=False)
    assert course.main(["mdlm-tiny", "--runs", str(tmp_path / "runs")]) == 1
    assert capsys.readouterr().err.startswith("Stopped: The run in ")
    assert not list(shelf.iterdir())
