"""Several processes, and several micro-batches, train as one does: same losses, gradients, bounds, one checkpoint."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import ON_THE_COMMAND_LINE, SIZE, TINY, assert_same_run, everything, same, weights
from two_processes import (
    DROPOUT,
    RECIPES,
    all_first_steps,
    first_steps,
    run,
    run_into_full_disk,
    run_into_nan,
    run_until_killed,
    run_until_told,
    together,
)

from difflm_core.training import Recipe, train
from difflm_core.training.checkpoints import checkpoints
from difflm_core.training.parts import Part, batch_times
from difflm_core.training.recipes import Engine
from difflm_core.training.state import State
from difflm_core.training.team import Team

ROOT = Path(__file__).resolve().parent.parent
needs_fork = pytest.mark.skipif(os.name == "nt", reason="these tests start their processes by forking")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def engine(recipe: Recipe, **changes) -> Recipe:
    return replace(recipe, engine=Engine(**changes))


# --- parts of a batch ------------------------------------------------------------------------------------------------


def draws(B, generator):
    """All that tasks draw, with a leading B; the coin is one for all."""
    return (
        torch.rand(B, 3, generator=generator),
        torch.randn((B, 2, 2), generator=generator, dtype=torch.float64),
        torch.randint(7, (B, 5), generator=generator),
        torch.rand(B * 3, 2, generator=generator).view(B, 3, 2),  # rows cut into blocks
        batch_times(torch.zeros(B, 1), generator),
        torch.rand(1, generator=generator).expand(B),
    )


@pytest.mark.parametrize("size", [1, 2, 4])
def test_parts_draw_what_the_whole_draws(size):
    generator = seeded()
    whole = draws(8, generator)
    after = generator.get_state()
    for rows in torch.randperm(8, generator=seeded(1)).split(size):
        generator = seeded()
        with Part(rows, 8, generator):
            part = draws(size, generator)
            assert torch.equal(torch.rand(size, 3, generator=seeded(2)), torch.rand(size, 3, generator=seeded(2)))
        assert all(torch.equal(of_part, of_whole[rows]) for of_part, of_whole in zip(part, whole, strict=True))
        assert torch.equal(generator.get_state(), after) and Part.current is None


def test_times_are_stratified_over_the_whole_batch():
    parts = []
    for rows in torch.arange(12).split(3):
        generator = seeded()
        with Part(rows, 12, generator):
            parts.append(batch_times(torch.zeros(3, 1), generator))
    assert sorted((torch.cat(parts) * 12).long().tolist()) == list(range(12))


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: torch.rand(3, generator=g),  # independent times, which nobody stratified
        lambda g: torch.randperm(4, generator=g),  # stratified over the part alone
        lambda g: torch.rand(5, 4, generator=g),  # as many rows as happened to be masked
        lambda g: torch.bernoulli(torch.full((4, 2), 0.5), generator=g),
    ],
)
def test_parts_refuse_draws_that_would_differ(draw):
    generator = seeded()
    with pytest.raises(ValueError, match="cannot be trained in parts"), Part(torch.arange(4), 8, generator):
        draw(generator)
    assert Part.current is None
    draw(generator)


# --- micro-batches, recomputation, bfloat16 --------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_micro_batches_add_up_to_the_batch(name):
    whole, parts = first_steps(RECIPES[name]), first_steps(engine(RECIPES[name], accumulate=4))
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-9, atol=1e-12, msg=lambda text, key=key: f"{key}: {text}")


def test_recomputing_changes_no_bit_and_no_name():
    def after_three(recipe):
        state = State(recipe)  # seeds the dropout too
        for _ in range(3):
            state.one_step()
        return weights(state)

    assert same(after_three(DROPOUT), after_three(engine(DROPOUT, recompute=True)))


def test_recomputing_keeps_less():
    def kept(recipe):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            state = State(recipe)
            state.nats(next(state.batches), torch.arange(8))
        return sum(sizes)

    deep = replace(TINY, size=replace(SIZE, layers=4))
    assert kept(engine(deep, recompute=True)) < kept(deep) / 2


@pytest.mark.parametrize("name", ["masked", "twin", "d3pm", "blocks"])
def test_the_head_in_pieces_is_the_same(name):
    """In float64; what is kept for the backward pass is no longer the logits of all positions."""
    whole, pieces = (first_steps(engine(RECIPES[name], head_rows=rows)) for rows in (0, 7))
    for key, value in whole.items():
        torch.testing.assert_close(pieces[key], value, rtol=1e-9, atol=1e-12)
    if name in ("masked", "blocks"):  # D3PM's term walks through the vocabulary as well
        assert logits_kept(RECIPES[name], 0) > 8 * 12 / 4 > 7 >= logits_kept(RECIPES[name], 7)


def logits_kept(recipe: Recipe, rows: int) -> int:
    """Rows of the largest tensor as wide as the vocabulary that a step keeps."""
    state, sizes = State(engine(recipe, head_rows=rows)), [0]
    V = state.model.V

    def keep(x):
        if x.ndim == 2 and x.shape[1] == V:
            sizes.append(len(x))
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        state.nats(next(state.batches), torch.arange(8))
    return max(sizes)


def test_bf16_is_near_and_keeps_float32_weights(tmp_path):
    full, low = (State(engine(TINY, bf16=bf16)) for bf16 in (False, True))
    loss, rounded = full.gradient(), low.gradient()
    assert loss != rounded == pytest.approx(loss, rel=0.01)
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in low.model.parameters())


def compiled_is_the_same():
    recipe = engine(TINY, accumulate=2)
    usual, compiled = State(recipe), State(engine(TINY, accumulate=2, compile=True))
    for _ in range(2):
        assert compiled.gradient() == pytest.approx(usual.gradient(), rel=1e-5)
    assert compiled.model.state_dict().keys() == usual.model.state_dict().keys()


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a C++ compiler")
def test_compiled_is_the_same():
    """Compiled blocks, also while the noise of a part is drawn; the checkpoint has the usual names. In a Python of its
    own: the compiler imports setuptools, which refuses to work where somebody has imported distutils before.
    """
    work = "import test_team; test_team.compiled_is_the_same()"
    done = subprocess.run([sys.executable, "-c", work], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_dealt_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="engine.accumulate must divide batch_size = 8 into equal parts, got 3"):
        engine(TINY, accumulate=3)
    team = Team()
    team.size = 3
    with pytest.raises(ValueError, match="batch_size = 8 is that of all processes together .* 3 x 1"):
        team.micro_batches(8, 1)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="launch it without FSDP"):
        State(TINY)


def test_a_run_goes_on_with_another_engine_but_not_in_another_precision(tmp_path):
    train(TINY, tmp_path, progress=False)
    assert train(engine(TINY, accumulate=2, recompute=True), tmp_path, resume=True, progress=False).finished
    with pytest.raises(ValueError, match=r"other settings \(engine.bf16 was False, is True\)"):
        train(engine(TINY, bf16=True), tmp_path, resume=True, progress=False)


# --- two processes ---------------------------------------------------------------------------------------------------


@needs_fork
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_are_one(accumulate, tmp_path):
    """Loss, gradient, weights and bound in float64; what is left is another order of the same sums."""
    assert together(all_first_steps, tmp_path, accumulate) == [0, 0]
    for name, recipe in RECIPES.items():
        alone, (first, second) = first_steps(recipe), (torch.load(tmp_path / f"{name}-{rank}.pt") for rank in (0, 1))
        assert same(first, second), "both processes hold the same weights, bit for bit"
        for key, value in alone.items():
            told = lambda text, key=key, name=name: f"{name}, {key}: {text}"  # noqa: E731
            torch.testing.assert_close(first[key], value, rtol=1e-9, atol=1e-12, msg=told)


@pytest.mark.slow
@needs_fork
def test_sigterm_to_one_of_two_saves_and_resumes_bit_for_bit(tmp_path):
    assert together(run, tmp_path / "whole") == [0, 0]
    assert together(run_until_told, tmp_path / "cut") == [75, 75]
    assert checkpoints(tmp_path / "cut")[-1].name == "step-000007"
    assert together(run, tmp_path / "cut", True) == [0, 0]
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    dropout = everything(tmp_path / "whole")[0]
    assert not torch.equal(dropout["torch_generator"], dropout["torch_generator.1"])
    (tmp_path / "cut" / "step-000012").rename(tmp_path / "gone")
    run(tmp_path / "cut", resume=True)  # and one process can go on with what two began
    assert everything(tmp_path / "cut")[1]["step"] == 12


@needs_fork
def test_a_bad_number_in_one_process_stops_both(tmp_path):
    assert together(run_into_nan, tmp_path) == [1, 1]
    said = [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)]
    assert said[0] == said[1] and "The loss of step 3 is nan (batch row 7: '" in said[0]


@pytest.fixture(scope="module")
def whole_by_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "whole"
    assert together(run, folder) == [0, 0]
    return folder


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("work, statuses", [(run_until_killed, [1, -signal.SIGKILL]), (run_into_full_disk, [1, 1])])
def test_one_of_two_dies_and_the_last_checkpoint_stands(work, statuses, whole_by_two, tmp_path):
    """kill -9 in the seventh step, a full disk after the eighth: the other ends too, and both go on from step 4."""
    assert together(work, tmp_path) == statuses
    assert [found.name for found in checkpoints(tmp_path)] == ["step-000004"]
    assert together(run, tmp_path, True) == [0, 0]
    assert_same_run(tmp_path, whole_by_two)


@pytest.mark.slow
@needs_fork
def test_a_launcher_and_a_real_sigterm(tmp_path):
    """As on a cluster: torchrun is told to end, and passes it on; the same command with --resume goes on."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "difflm_core.training", "mdlm-tiny", "--device", "cpu", "--folder", str(tmp_path / "run")]
    command += [*ON_THE_COMMAND_LINE, "--checkpoint-every", "5", "--steps", "100000"]
    running = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        patience = time.monotonic() + 300
        while len(checkpoints(tmp_path / "run")) < 2 and running.poll() is None and time.monotonic() < patience:
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=300)
    finally:
        running.kill()
    assert "saved in" in out and out.count("mdlm-tiny: ") == 1, err
    step = everything(tmp_path / "run")[1]["step"]
    assert step >= 10 and f"after {step} steps" in out
