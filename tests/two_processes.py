"""Real processes that train together over gloo, as a launcher starts them, and what they are asked to do in tests."""

import errno
import multiprocessing
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny_runs import SIZE, TINY, at_call

from difflm_core.training import (
    D3PM,
    Autoregressive,
    Block,
    EmbeddingDiffusion,
    Hybrid,
    Masked,
    Recipe,
    ToyLanguage,
    train,
)
from difflm_core.training.d3pm_task import Noise
from difflm_core.training.loop import evaluate
from difflm_core.training.sharding import whole
from difflm_core.training.state import State

UNEVEN = ToyLanguage(held_out=33)  # rows that two processes cannot share evenly
RECIPES = {
    "masked": replace(TINY, data=UNEVEN),
    "twin": replace(TINY, data=UNEVEN, task=Autoregressive()),
    "hybrid, time": replace(TINY, data=UNEVEN, task=Hybrid(), size=replace(SIZE, time_conditioning=True)),
    "blocks": replace(TINY, data=UNEVEN, task=Block(3)),
    "d3pm": replace(
        TINY, data=UNEVEN, task=D3PM(Noise.UNIFORM, 0.1, 20, 5), size=replace(SIZE, time_conditioning=True)
    ),
    "vectors": replace(TINY, data=UNEVEN, task=EmbeddingDiffusion(D=4, T=20, steps=5, self_conditioning=True)),
}
DROPOUT = replace(TINY, size=replace(SIZE, dropout=0.2))


def together(work, *arguments, processes: int = 2) -> list[int]:
    """Run work(*arguments) in processes that are one team; returns their exit statuses."""
    context = multiprocessing.get_context("forkserver")  # imports once, and forks before anything has begun threads
    context.set_forkserver_preload(["two_processes"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    team = [context.Process(target=member, args=(rank, processes, port, work, arguments)) for rank in range(processes)]
    for process in team:
        process.start()
    for process in team:
        process.join(400)  # a busy machine: two processes that wait for each other take turns
    left = [process for process in team if process.is_alive()]
    for process in left:
        process.kill()
    assert not left, "the processes wait for each other"
    return [process.exitcode for process in team]


def member(rank: int, processes: int, port: int, work, arguments: tuple) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    work(*arguments)
    torch.distributed.destroy_process_group()


def rank() -> int:
    return int(os.environ["RANK"])


# --- what they do ----------------------------------------------------------------------------------------------------


def first_steps(recipe: Recipe) -> dict[str, torch.Tensor]:
    """Loss and gradient of the first step, the weights after three, and the bound, all in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        state = State(recipe)
        found = {"loss": torch.tensor(state.gradient())}
        gradients = {name: p.grad for name, p in state.model.named_parameters() if p.grad is not None}
        found |= {f"gradient.{name}": whole(gradient) for name, gradient in gradients.items()}
        state = State(recipe)
        for _ in range(3):
            state.one_step()
        found |= {f"weight.{name}": p.detach() for name, p in state.average().named_parameters()}
        estimate = evaluate(recipe, state.average(), 2, team=state.team)
        return found | {"bound": torch.tensor([estimate.mean, estimate.standard_error])}
    finally:
        torch.set_default_dtype(torch.float32)


def all_first_steps(folder: Path, accumulate: int) -> None:
    for name, recipe in RECIPES.items():
        recipe = replace(recipe, engine=replace(recipe.engine, accumulate=accumulate))
        torch.save(first_steps(recipe), folder / f"{name}-{rank()}.pt")


def run(folder: Path, resume: bool = False, recipe: Recipe = DROPOUT) -> None:
    assert train(recipe, folder, resume, progress=False).finished


def run_until_told(folder: Path) -> None:
    """SIGTERM reaches one process only, in its seventh step."""
    if rank() == 1:
        at_call(Now, State, "gradient", 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
    train(DROPOUT, folder, progress=False)


def run_into_nan(folder: Path) -> None:
    """One process's part of the third step, row 3 of its rows."""
    original, calls = Masked.loss, []

    def loss(task, model, x, generator=None):
        calls.append(1)
        nats = original(task, model, x, generator)
        return nats.index_put((torch.tensor(3), torch.tensor(2)), torch.tensor(torch.nan)) if len(calls) == 3 else nats

    if rank() == 1:
        Masked.loss = loss
    try:
        train(TINY, folder, progress=False)
    except RuntimeError as stopped:
        (folder / f"{rank()}.txt").write_text(str(stopped))
        sys.exit(1)


def run_until_killed(folder: Path) -> None:
    """kill -9 of one process, in its seventh step."""
    if rank() == 1:
        at_call(Now, State, "gradient", 7, lambda: os.kill(os.getpid(), signal.SIGKILL))
    train(DROPOUT, folder, progress=False)


def run_into_full_disk(folder: Path) -> None:
    """The main process cannot write its second checkpoint."""
    from difflm_core.training import folders

    if rank() == 0:
        at_call(Now, folders, "save_file", 3, full, before=True)  # a checkpoint has two files of tensors
    train(DROPOUT, folder, progress=False)


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Now:
    """`setattr` of pytest's monkeypatch, for a process that ends with the change."""

    setattr = staticmethod(setattr)
