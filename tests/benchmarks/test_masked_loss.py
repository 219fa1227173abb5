"""The masked-rows loss against MDLM's full-logits loss: the same numbers, then time and memory."""

import pytest
import torch
from loss_case import PIECE, WIDTH, B, Case, L
from measure import extra_mebibytes, interleaved, milliseconds
from peers import full_logits_loss

from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives.fixed_rows import rows_for
from difflm_core.objectives.masked import weighted_cross_entropy

SIZES = [50_257, 4_096]


def assert_equal(ours, theirs):
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
        assert (mine - other).abs().max() <= 1e-5 * other.abs().max()  # gradients are small: also against the largest


@pytest.mark.parametrize("V", SIZES)
def test_loss_alone(V, table):
    case = Case(V)
    assert_equal(case.run("ours"), case.run("theirs"))
    best = interleaved({name: lambda name=name: case.run(name) for name in ("theirs", "ours")})
    table(
        f"loss, forward + backward, V = {V:,}", milliseconds(best["theirs"]), milliseconds(best["ours"]),
        f"{best['theirs'] / best['ours']:.1f}x faster",
    )  # fmt: skip


@pytest.mark.parametrize("V", SIZES)
def test_end_to_end(V, table):
    """With a trunk of 4 layers, all gradients."""
    torch.manual_seed(0)
    case, model = Case(V), Transformer(TransformerConfig(V, L, WIDTH, layers=4, heads=4))
    full_head = torch.cat([model.head.weight.detach(), torch.zeros(1, WIDTH)]).requires_grad_()
    trunk = [p for name, p in model.named_parameters() if not name.startswith("head")]

    def ours():
        loss = weighted_cross_entropy(case.process, model, case.x, case.z_t, case.t, 1 / case.t)
        return loss.detach(), *torch.autograd.grad(loss.mean(), [*trunk, model.head.weight])

    def theirs():
        loss = full_logits_loss(full_head, model.hidden(case.z_t, None), case.x, case.z_t, 1 / case.t)
        *gradients, head = torch.autograd.grad(loss.mean(), [*trunk, full_head])
        return loss.detach(), *gradients, head[:V]

    assert_equal(ours(), theirs())
    best = interleaved({"theirs": theirs, "ours": ours})
    table(
        f"with a 4-layer trunk, V = {V:,}", milliseconds(best["theirs"]), milliseconds(best["ours"]),
        f"{best['theirs'] / best['ours']:.1f}x faster",
    )  # fmt: skip


@pytest.mark.parametrize("V", SIZES)
def test_training_step(V, table):
    """Loss, gradient, clipping and AdamW, which is ours fused and theirs as it comes: the same weights after a step."""
    case, models = Case(V), {}
    for name in ("theirs", "ours"):
        torch.manual_seed(0)
        models[name] = Transformer(TransformerConfig(V, L, WIDTH, layers=4, heads=4))
    mask_row = torch.zeros(1, WIDTH, requires_grad=True)  # MDLM's head has a row for the mask
    weights = {name: list(model.parameters()) for name, model in models.items()}
    weights["theirs"].append(mask_row)
    optimizers = {name: torch.optim.AdamW(weights[name], lr=1e-3, fused=name == "ours") for name in models}

    def loss(name, model):
        if name == "ours":
            return weighted_cross_entropy(case.process, model, case.x, case.z_t, case.t, 1 / case.t)
        head = torch.cat([model.head.weight, mask_row])
        return full_logits_loss(head, model.hidden(case.z_t, None), case.x, case.z_t, 1 / case.t)

    def step(name):
        optimizers[name].zero_grad(set_to_none=True)
        loss(name, models[name]).mean().backward()
        torch.nn.utils.clip_grad_norm_(weights[name], 1.0)
        optimizers[name].step()

    for name in models:
        step(name)
    for mine, other in zip(models["ours"].parameters(), models["theirs"].parameters(), strict=True):
        assert (mine - other).abs().mean() < 1e-5  # a step is 1e-3; where gradients vanish, its sign is rounding
    best = interleaved({name: lambda name=name: step(name) for name in models}, 3)
    table(
        f"training step, 4-layer trunk, V = {V:,}", milliseconds(best["theirs"]), milliseconds(best["ours"]),
        f"{best['theirs'] / best['ours']:.1f}x faster",
    )  # fmt: skip


@pytest.mark.parametrize("V", SIZES)
def test_in_pieces(V, table):
    """engine.head_rows: the logits of 64 positions at a time, for one more pass through the head. The peer of the table
    is our own loss in one piece. Memory is that of the process: each piece has a gradient as large as the head, and a
    CPU's allocator may keep what a piece gave back, so that it can rise although fewer logits are alive.
    """
    case = Case(V)
    assert_equal(case.run("pieces"), case.run("ours"))
    best = interleaved({name: lambda name=name: case.run(name) for name in ("ours", "pieces")})
    table(
        f"loss in one piece, and in pieces of {PIECE}, V = {V:,}", milliseconds(best["ours"]),
        milliseconds(best["pieces"]), f"{best['pieces'] / best['ours']:.2f}x as long",
    )  # fmt: skip
    for texts in (B, 8 * B):
        whole, pieces = (
            min(extra_mebibytes(name, str(V), str(texts)) for _ in range(2)) for name in ("ours", "pieces")
        )
        table(
            f"extra peak memory of the same, {texts * L:,} positions, V = {V:,}", f"{whole:.0f} MiB",
            f"{pieces:.0f} MiB", f"{pieces / whole:.2f}x as much",
        )  # fmt: skip


@pytest.mark.parametrize("V", SIZES)
def test_fixed_rows(V, table):
    """engine.fixed_rows: a fifth more rows than masks here, so that a GPU need not wait for their number. A CPU has no
    wait to save: what is measured here is the filling.
    """
    case = Case(V)
    assert_equal(case.run("fixed"), case.run("ours"))
    best = interleaved({name: lambda name=name: case.run(name) for name in ("theirs", "ours", "fixed")})
    R = rows_for(case.process.schedule, B, L, B)
    for other, what in (("theirs", "all logits"), ("ours", "rows counted")):
        table(
            f"loss, {what}, and {R} fixed rows, V = {V:,}", milliseconds(best[other]), milliseconds(best["fixed"]),
            f"{best['fixed'] / best[other]:.2f}x as long",
        )  # fmt: skip


@pytest.mark.parametrize("V", SIZES)
def test_extra_peak_memory(V, table):
    theirs, ours = (min(extra_mebibytes(name, str(V)) for _ in range(2)) for name in ("theirs", "ours"))
    what = f"extra peak memory of the loss, V = {V:,}"
    table(what, f"{theirs:.0f} MiB", f"{ours:.0f} MiB", f"{ours / theirs:.2f}x as much")


def test_the_batch_is_half_masked():
    assert 0.4 < (Case(64).z_t == 64).float().mean() < 0.6 and B * L == 1024
