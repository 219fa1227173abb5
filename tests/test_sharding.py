"""FSDP2 on two processes over gloo: dealt weights train as whole ones do, and their checkpoints are whole."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import SIZE, TINY, assert_same_run, everything, same
from two_processes import first_steps, rank, run, together

from difflm_core.training import Recipe, train
from difflm_core.training.recipes import Engine
from difflm_core.training.state import State, build

pytestmark = pytest.mark.skipif(os.name == "nt", reason="these tests start their processes by forking")
ODD = replace(TINY, size=replace(SIZE, width=18, layers=2, heads=3))  # rows that two processes cannot share evenly
DEALT = Engine(fsdp=True)


def dealt_steps(folder: Path) -> None:
    for name, engine in CASES.items():
        torch.save(first_steps(replace(ODD, engine=engine)), folder / f"{name}-{rank()}.pt")
    state = State(replace(ODD, engine=DEALT))
    state.one_step()
    moments = [state.optimizer.state[p]["exp_avg"] for p in state.model.parameters()]
    kept = [state.model.parameters(), state.averaged.module.parameters(), moments]
    torch.save([sum(tensor.to_local().numel() for tensor in part) for part in kept], folder / f"kept-{rank()}.pt")


CASES = {"plain": DEALT, "micro-batches": replace(DEALT, accumulate=2), "recomputed": replace(DEALT, recompute=True)}


def run_dealt(folder: Path, resume: bool = False, recipe: Recipe = ODD) -> None:
    run(folder, resume, replace(recipe, engine=DEALT))


@pytest.mark.slow
def test_dealt_weights_train_as_whole_ones(tmp_path):
    """Loss, gradient, three steps and the bound in float64, against one process: another order of the same sums."""
    assert together(dealt_steps, tmp_path) == [0, 0]
    alone = first_steps(ODD)
    for name in CASES:
        first, second = (torch.load(tmp_path / f"{name}-{i}.pt") for i in (0, 1))
        assert same(first, second)
        for key, value in alone.items():
            told = lambda text, key=key, name=name: f"{name}, {key}: {text}"  # noqa: E731
            torch.testing.assert_close(first[key], value, rtol=1e-9, atol=1e-12, msg=told)
    whole = build(ODD).parameters_count()
    for one, other in zip(*(torch.load(tmp_path / f"kept-{i}.pt") for i in (0, 1))):
        assert one + other == whole and abs(one - other) < 0.2 * whole, "each holds about half"


@pytest.mark.slow
def test_checkpoints_are_whole_and_resume_bit_for_bit(tmp_path):
    assert together(run_dealt, tmp_path / "dealt") == [0, 0]
    run(tmp_path / "whole", recipe=ODD)
    dealt, whole = (
        {name: value for name, value in everything(tmp_path / kind)[0].items() if "generator" not in name}
        for kind in ("dealt", "whole")
    )
    assert {name: value.shape for name, value in dealt.items()} == {name: value.shape for name, value in whole.items()}
    for name, value in whole.items():
        torch.testing.assert_close(
            dealt[name], value, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    # cut off after step 8: dealt again, it is the same run; one process goes on with it too
    (tmp_path / "dealt" / "step-000012").rename(tmp_path / "kept")
    assert together(run_dealt, tmp_path / "dealt", True) == [0, 0]
    (tmp_path / "again").mkdir()
    (tmp_path / "kept").rename(tmp_path / "again" / "step-000012")
    assert_same_run(tmp_path / "dealt", tmp_path / "again")
    (tmp_path / "dealt" / "step-000012").rename(tmp_path / "gone")
    assert train(ODD, tmp_path / "dealt", resume=True, progress=False).finished
