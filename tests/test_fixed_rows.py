"""A fixed number of rows for the masks: the same loss and gradients, nobody asks for their number, one graph."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_runs import TINY, same
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from two_processes import first_steps

from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import masked_nelbo, stratified_times
from difflm_core.objectives.fixed_rows import DEVIATIONS, number_of_masks, rows_for
from difflm_core.objectives.masked import bound_weight, weighted_cross_entropy
from difflm_core.processes import Cosine, Linear, masked
from difflm_core.training import Masked, Recipe
from difflm_core.training.fixed_rows import rows_of
from difflm_core.training.llada_task import LLaDA
from difflm_core.training.parts import Part
from difflm_core.training.recipes import Engine
from difflm_core.training.state import State
from difflm_core.training.stops import TrainingStopped

V, L = 11, 6


class OneLayer(nn.Module):
    """A trunk that looks at its tokens one by one, and a head; without the transformer's check of its tokens on a CPU,
    which reads them.
    """

    V = V

    def __init__(self, rows_at_once: int | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = nn.Embedding(V + 1, 8).double(), nn.Linear(8, V).double()
        self.rows_at_once = rows_at_once

    def hidden(self, z_t, t=None):
        return self.embedding(z_t).tanh()

    def logits(self, h):
        return self.head(h)


def loss_and_gradients(model, z_t, x, t, fixed_rows=None, loss_of=weighted_cross_entropy):
    process = masked(V)
    model.zero_grad()
    loss = loss_of(process, model, x, z_t, t, bound_weight(process, t), fixed_rows)
    (loss * torch.arange(1, loss.numel() + 1).view(loss.shape)).mean().backward()  # every entry of its own weight
    return [loss.detach(), *(p.grad.clone() for p in model.parameters())]


def batch(times: list[float], seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    t = torch.tensor(times, dtype=torch.float64)
    x = torch.randint(V, (len(t), L), generator=generator)
    return masked(V).corrupt(x, t, generator), x, t


TIMES = {
    "all levels": [0.1, 0.9, 0.5, 0.3, 0.7],
    "nothing masked": [0.0, 0.0, 0.0],
    "all masked": [1.0, 1.0],
    "both ends": [0.0, 1.0, 1e-9, 1 - 1e-9],
    "one row": [0.6],
    "one row, nothing masked": [0.0],
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES.keys())
@pytest.mark.parametrize("pieces", [None, 4])
def test_loss_and_gradients_are_the_usual_ones(times, pieces):
    model, (z_t, x, t) = OneLayer(pieces), batch(times)
    masks, everywhere = int((z_t == V).sum()), x.numel()
    usual = loss_and_gradients(model, z_t, x, t)
    assert usual[0].isfinite().all() and (masks == 0) == (not usual[0].any())
    for R in {max(1, masks), min(masks + 3, everywhere), everywhere}:
        ours = loss_and_gradients(model, z_t, x, t, R)
        assert ours[0].shape == x.shape and ours[0].dtype == torch.float64
        for mine, other in zip(ours, usual, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


def test_more_masks_than_rows_is_not_a_number():
    z_t, x, t = batch([0.9, 0.9, 0.9])
    masks = int((z_t == V).sum())
    assert masks > 2
    loss = loss_and_gradients(OneLayer(), z_t, x, t, masks - 1)[0]
    assert loss.mean().isnan() and loss_and_gradients(OneLayer(), z_t, x, t, masks)[0].isfinite().all()


# --- how many rows ----------------------------------------------------------------------------------------------------


def test_number_of_masks_by_hand():
    """Linear, a whole batch: b L / 2, and b L / 6 + L^2 / (12 b) under a root. One row: t is uniform on [0, 1]."""
    mean, deviation = number_of_masks(Linear(), 32, 1024, 32)
    assert mean == pytest.approx(16_384) and deviation == pytest.approx(math.sqrt(8192), rel=2e-3)
    assert rows_for(Linear(), 32, 1024, 32) == math.ceil(mean + DEVIATIONS * deviation) == 16_928
    mean, deviation = number_of_masks(Linear(), 1, 30, 1)
    assert mean == pytest.approx(15) and deviation == pytest.approx(math.sqrt(30 / 6 + 900 / 12), rel=2e-3)
    assert rows_for(Linear(), 1, 30, 1) == 30, "never more than there are"


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=str)
@pytest.mark.parametrize("b", [1, 4, 16])
def test_number_of_masks_is_that_of_stratified_batches(b, schedule):
    """16 rows, and parts of them: their times are some of the 16, so their number of masks spreads more."""
    B, many, generator = 16, 4000, torch.Generator().manual_seed(0)
    t = torch.stack([stratified_times(B, generator)[:b] for _ in range(many)])
    u = torch.rand(many, b, L, generator=generator)
    found = (u >= schedule.alpha(t)[..., None]).sum((1, 2)).double()
    mean, deviation = number_of_masks(schedule, b, L, B)
    assert found.mean().item() == pytest.approx(mean, abs=5 * deviation / many**0.5)
    assert found.std().item() == pytest.approx(deviation, rel=0.06)  # its own error is about 1 / sqrt(2 * 4000)
    assert found.max() <= rows_for(schedule, b, L, B)


# --- nobody asks for the number ---------------------------------------------------------------------------------------


class NobodyAsks(TorchDispatchMode):
    """Refuses whatever makes the CPU look at a tensor, or has as many rows as a mask has ones."""

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        name = function.overloadpacket.__name__
        chosen = arguments[1] if name in ("index", "index_put", "index_put_") else ()
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero") or any(
            index is not None and index.dtype == torch.bool for index in chosen
        ):
            raise AssertionError(f"asked: {function}")
        return function(*arguments, **(named or {}))


def test_nobody_looks_at_the_masks():
    model, (z_t, x, t) = OneLayer(), batch(TIMES["all levels"])
    with NobodyAsks():
        loss_and_gradients(model, z_t, x, t, 25)
    with pytest.raises(AssertionError, match="asked: aten.index"), NobodyAsks():
        loss_and_gradients(model, z_t, x, t)


def test_no_look_on_the_way_from_text_to_gradient():
    """On tensors without data, whose code is that of a GPU: noise, trunk, head, loss and backward pass."""
    with torch.device("meta"):
        model = Transformer(TransformerConfig(V, L, width=8, layers=1, heads=2))
        x, t = torch.zeros(4, L, dtype=torch.long), torch.zeros(4)
    loss = masked_nelbo(masked(V), model, x, t, fixed_rows=17)
    loss.mean().backward()
    assert loss.shape == (4, L) and all(p.grad is not None for p in model.parameters())
    with pytest.raises((RuntimeError, NotImplementedError)):
        masked_nelbo(masked(V), model, x, t)


@pytest.mark.slow
def test_one_graph():
    """Traced whole by the compiler; no code is generated, which would need a C++ compiler. That counting rows cuts the
    graph is seen in test_gpu_script.py.
    """
    model, (z_t, x, t) = OneLayer(), batch(TIMES["all levels"])
    usual = loss_and_gradients(model, z_t, x, t)
    whole = torch.compile(weighted_cross_entropy, backend="aot_eager", fullgraph=True)
    for mine, other in zip(loss_and_gradients(model, z_t, x, t, 25, whole), usual, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


# --- in training ------------------------------------------------------------------------------------------------------


def fixed(asked: bool | None = True, recipe: Recipe = TINY, **engine) -> Recipe:
    return replace(recipe, engine=Engine(fixed_rows=asked, **engine))


@pytest.mark.parametrize("task", [Masked(), LLaDA(short=0.5)], ids=["masked", "llada"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_is_the_same(task, accumulate):
    recipe = replace(TINY, task=task)
    usual = first_steps(fixed(False, recipe, accumulate=accumulate))
    for key, value in first_steps(fixed(True, recipe, accumulate=accumulate)).items():
        torch.testing.assert_close(value, usual[key], rtol=1e-9, atol=1e-12, msg=lambda text, key=key: f"{key}: {text}")


def rows_used(monkeypatch) -> list[int | None]:
    """What `masked_nelbo` is asked for from now on."""
    seen = []

    def spy(*arguments):
        seen.append(arguments[5])
        return masked_nelbo(*arguments)

    monkeypatch.setattr("difflm_core.training.tasks.masked_nelbo", spy)
    return seen


def test_a_batch_with_more_masks_than_rows_is_computed_again(monkeypatch):
    """The rows are made too few for the second of three steps: losses and random numbers are as if they never were."""
    twin, state = State(fixed(False)), State(fixed())
    seen = rows_used(monkeypatch)
    for step in range(3):
        with monkeypatch.context() as patch:
            if step == 1:
                patch.setattr("difflm_core.training.fixed_rows.rows_for", lambda *shape: 1)
            state.one_step()
        twin.one_step()
    assert state.recounted == 1 and seen == [74, None, 1, None, None, 74, None], "48 + 6 sqrt(96 / 6 + 144 / 96)"
    assert state.recent == pytest.approx(twin.recent, rel=1e-4) and same(state.chance(), twin.chance())


def test_a_bad_number_still_stops(monkeypatch):
    state = State(fixed())
    with torch.no_grad():
        state.model.head.weight[3, 2] = math.nan
    with pytest.raises(TrainingStopped, match="loss of step 1 is nan"):
        state.one_step()
    assert state.recounted == 0


def test_who_takes_fixed_rows(monkeypatch):
    """A CPU only if told to; a GPU unless they are many more than the masks, as in small parts of a batch."""
    seen = rows_used(monkeypatch)
    for asked in (None, False, True):
        State(fixed(asked)).one_step()
    assert [R is None for R in seen] == [True, True, False]
    model, x = nn.Module(), torch.zeros(32, 1024)
    model.fixed_rows = None  # as on a GPU
    assert rows_of(model, Linear(), x) == 16_928 and rows_of(nn.Module(), Linear(), x) is None
    with Part(torch.arange(32), 64, torch.Generator()):
        assert rows_of(model, Linear(), x) is None
        model.fixed_rows = True
        assert 16_928 < rows_of(model, Linear(), x) < 32 * 1024
