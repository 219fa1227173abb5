"""Trackers get the rows of log.jsonl; a missing one is said before a step is made, a failing one ends nothing."""

from dataclasses import replace

import pytest
from accelerate import tracking
from tiny_runs import TINY

from difflm_core.training import latent_run, train
from difflm_core.training.latent_recipes import LATENT_RECIPES
from difflm_core.training.log import NAME


class Kept(tracking.GeneralTracker):
    """A tracker that remembers what it was told."""

    name, requires_logging_directory = "kept", True
    told: list = []
    fails_at: int | None = None

    def __init__(self, run_name, logging_dir, **more):
        super().__init__()
        Kept.told[:] = [("begin", run_name)]

    @property
    def tracker(self):
        return self

    def store_init_configuration(self, values):
        Kept.told.append(("settings", values))

    def log(self, values, step, **more):
        if step == Kept.fails_at:
            raise RuntimeError("the service is gone")
        Kept.told.append((step, values))

    def finish(self):
        Kept.told.append("end")


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "kept", Kept)
    for place in ("accelerate.tracking", "difflm_core.training.trackers"):
        monkeypatch.setattr(f"{place}.get_available_trackers", lambda: ["kept"])
    monkeypatch.setattr(Kept, "fails_at", None)
    return Kept.told


def test_a_tracker_is_told_the_rows(kept, tmp_path):
    run = train(TINY, tmp_path / "mine", progress=False, trackers=("kept",))
    (begin, settings, *rows, end) = kept
    assert begin == ("begin", "mine") and end == "end" and (tmp_path / "mine" / NAME).exists()
    assert settings[1]["size.width"] == 16 and settings[1]["steps"] == 12
    assert rows == [(row["step"], {key: row[key] for key in row if key != "step"}) for row in run.history]


def test_a_tracker_that_fails_ends_nothing(kept, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Kept, "fails_at", 10)
    run = train(TINY, tmp_path / "mine", progress=False, trackers=("kept",))
    assert run.finished and [told[0] for told in kept if isinstance(told[0], int)] == [5]
    assert "The tracker failed and gets nothing more (the service is gone)" in capsys.readouterr().out


def test_a_latent_system_tells_its_stages(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(latent_run, "measured", lambda system: ({"tokens_read": 0.5}, []))
    monkeypatch.setattr("difflm_core.training.latent_tasks.MEASURED", 2)
    recipe = LATENT_RECIPES["planner-tiny"][1]
    recipe = replace(
        recipe, task=replace(recipe.task, steps=3), diffusion=replace(recipe.diffusion, steps=2), batch_size=4
    )
    system = latent_run.train_latents("mine", recipe, tmp_path / "mine", progress=False, trackers=("kept",))
    (begin, settings, *rows, end) = kept
    assert begin == ("begin", "mine") and end == "end" and settings[1]["task.N"] == 4
    first, second = system.report.losses.values()
    losses = [{"loss of paragraph embedder": loss} for loss in first] + [{"loss of denoiser": loss} for loss in second]
    assert rows == list(enumerate([*losses, {"tokens_read": 0.5}], start=1))
    with pytest.raises(ValueError, match="There is no tracker"):
        latent_run.train_latents("mine", recipe, tmp_path / "other", progress=False, trackers=("none",))


def test_missing_trackers_are_said_first(tmp_path, monkeypatch):
    monkeypatch.setattr("difflm_core.training.trackers.get_available_trackers", lambda: [])
    with pytest.raises(ValueError, match="not installed: run python -m pip install tensorboard"):
        train(TINY, tmp_path / "mine", progress=False, trackers=("tensorboard",))
    with pytest.raises(ValueError, match="There is no tracker 'tensorbord': did you mean tensorboard?"):
        train(TINY, tmp_path / "other", progress=False, trackers=("tensorbord",))
    with pytest.raises(ValueError, match="Trackers need the folder"):
        train(TINY, progress=False, trackers=("wandb",))
    assert not (tmp_path / "mine").exists() and not (tmp_path / "other").exists()
