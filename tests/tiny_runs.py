"""Training runs of a fraction of a second, and what is needed to cut them off and compare them."""

import random
import signal
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from difflm_core.training import LocalText, Recipe, Size, ToyLanguage
from difflm_core.training.checkpoints import checkpoints, load_state, read_tensors
from difflm_core.training.state import State

SIZE = Size(width=16, layers=1, heads=2)
TINY = Recipe(
    data=ToyLanguage(held_out=32), size=SIZE, steps=12, batch_size=8, warmup=3, evaluate_every=5, checkpoint_every=4
)
ON_THE_COMMAND_LINE = (
    "--size.width 16 --size.layers 1 --size.heads 2 --batch-size 8 --warmup 3 --data.held-out 32".split()
)


def write_text(path: Path, paragraphs: int = 300) -> Path:
    """Small sentences with a few letters outside ASCII."""
    words = "the a fox dog über naïve sees hears runs to and from one two three".split()
    chance = random.Random(0)
    path.write_text(
        "\n\n".join(" ".join(chance.choices(words, k=chance.randint(5, 12))) + "." for _ in range(paragraphs)),
        encoding="utf-8",
    )
    return path


def on_text(path: Path, **changes) -> Recipe:
    return replace(TINY, data=LocalText(path, length=16, held_out=8, **changes))


def everything(folder: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """All tensors of the newest checkpoint of a run, and all else it says, apart from seconds."""
    newest = checkpoints(folder)[-1]
    tensors, about = load_state(newest)
    tensors |= {f"file.{name}": value for name, value in read_tensors(newest / "model.safetensors").items()}
    history = [{key: value for key, value in row.items() if key != "seconds"} for row in about["history"]]
    return tensors, {key: value for key, value in about.items() if key != "seconds"} | {"history": history}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def assert_same_run(one: Path, other: Path) -> None:
    (tensors, about), (others, about_other) = everything(one), everything(other)
    assert about == about_other
    assert same(tensors, others)


def at_call(monkeypatch, owner, name: str, number: int, act, before: bool = False) -> None:
    """Let `act()` happen in the `number`-th call of owner.name, after its work (or before it)."""
    original, calls = getattr(owner, name), []

    def wrapped(*arguments, **named):
        calls.append(1)
        if before and len(calls) == number:
            act()
        result = original(*arguments, **named)
        if not before and len(calls) == number:
            act()
        return result

    monkeypatch.setattr(owner, name, wrapped)


def interrupt():
    raise KeyboardInterrupt


@contextmanager
def usual_ctrl_c():
    """Python's own reaction to Ctrl-C, whatever the tests were started by."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def weights(state: State) -> dict[str, torch.Tensor]:
    """A copy of all that a step changes."""
    content = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    content |= {f"averaged.{k}": v for k, v in state.averaged.state_dict().items()}
    for i, tensors in state.optimizer.state_dict()["state"].items():
        content |= {f"{i}.{k}": v for k, v in tensors.items()}
    return {k: v.clone() for k, v in content.items()}
