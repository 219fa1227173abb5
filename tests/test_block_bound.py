"""The block bound against enumeration; its two ends are the chain rule and masked diffusion."""

import itertools

import pytest
import torch
from enumerable import all_masks, all_sequences, gauss_legendre

from difflm_core.models import BlockConfig, BlockTransformer, Transformer, TransformerConfig
from difflm_core.objectives import (
    block_nelbo,
    block_nelbo_by_count,
    block_times,
    clipped,
    loss_variance,
    masked_nelbo,
    masked_nelbo_by_count,
    stratified_times,
)
from difflm_core.processes import Cosine, masked

V, L = 3, 4
TEXTS = all_sequences(V, L)
PROCESS = masked(V)
SMALL = {"width": 8, "layers": 1, "heads": 2}
every_size = pytest.mark.parametrize("size", [1, 2, 4])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(size: int) -> BlockTransformer:
    torch.manual_seed(0)
    model = BlockTransformer(BlockConfig(V, L, **SMALL, block_size=size)).double().eval()
    torch.nn.init.normal_(model.head.weight, std=0.7)
    return model


def log_p(model, page: torch.Tensor) -> torch.Tensor:
    return model.logits(model.hidden(page)).log_softmax(-1)


def exact_bound(model: BlockTransformer, x: torch.Tensor, block: int) -> torch.Tensor:
    """The bound of one block: over all its masks, CE weighted by 1/n over the number of ways to place n masks. (B,)"""
    size, total = model.block_size, 0
    start, end = block * size, (block + 1) * size
    for mask in all_masks(size)[1:]:
        n = int(mask.sum())
        ways = len(list(itertools.combinations(range(size), n)))
        page = x[:, :end].clone()
        page[:, start:end][:, mask] = V
        paid = -log_p(model, page)[:, start:].gather(-1, x[:, start:end, None])[..., 0]
        total = total + (paid * mask).sum(1) / n / ways
    return total


@every_size
def test_counting_gives_the_bound_in_the_mean(size):
    """All n, once each, and many draws of where the masks are."""
    model, blocks, draws = build(size), L // size, 400
    x = TEXTS[::10]
    n = torch.arange(size).repeat_interleave(draws)
    t = ((n + 0.5) / size)[:, None, None].expand(-1, len(x), blocks)  # every block has every n
    rows = x.repeat(len(n), 1)
    nats = block_nelbo_by_count(PROCESS, model, rows, t.reshape(-1, blocks).double(), seeded())
    nats = nats.view(len(n), len(x), blocks, size).sum(-1)
    expected = torch.stack([exact_bound(model, x, block) for block in range(blocks)], 1)
    error = nats.std(0) / len(n) ** 0.5
    assert bool(((nats.mean(0) - expected).abs() <= 4.5 * error + 1e-9).all())


@pytest.mark.parametrize("schedule", [None, Cosine()], ids=["linear", "cosine"])
@pytest.mark.parametrize("size", [1, 2])
def test_drawn_times_give_the_same_bound(size, schedule, monkeypatch):
    """The sum over all masks of all blocks and the integral over t, the same t in every block, replace the draws."""
    model, process, x = build(size), masked(V, schedule), TEXTS[::16]
    nodes, weights = gauss_legendre(20)
    total = 0
    for t, w in zip(nodes, weights):
        alpha = process.schedule.alpha(t)
        for mask in all_masks(L):
            monkeypatch.setattr(torch, "rand", lambda shape, **_: mask.double().expand(shape))  # noqa: B023
            chance = (1 - alpha) ** mask.sum() * alpha ** (~mask).sum()
            times = t.expand(len(x), L // size)
            total = total + w * chance * block_nelbo(process, model, x, times)
    total = total.view(len(x), -1, size).sum(-1)
    expected = torch.stack([exact_bound(model, x, block) for block in range(L // size)], 1)
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=1e-6)


def test_blocks_of_one_token_are_the_chain_rule_whatever_the_draw():
    model = build(1)
    nats = block_nelbo_by_count(PROCESS, model, TEXTS, torch.rand(len(TEXTS), L, generator=seeded()).double(), seeded())
    masks = torch.full((len(TEXTS), 1), V)
    for i in range(L):
        paid = -log_p(model, torch.cat([TEXTS[:, :i], masks], 1))[:, -1].gather(1, TEXTS[:, i : i + 1])[:, 0]
        torch.testing.assert_close(nats[:, i], paid, rtol=0, atol=1e-12)
    assert (-nats.sum(1)).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_one_block_is_masked_diffusion():
    model = build(L)
    torch.manual_seed(0)
    plain = Transformer(TransformerConfig(V, L, **SMALL)).double().eval()
    plain.load_state_dict(model.state_dict())
    t = torch.rand(len(TEXTS), generator=seeded()).double()
    for block, whole in ((block_nelbo, masked_nelbo), (block_nelbo_by_count, masked_nelbo_by_count)):
        expected = whole(PROCESS, plain, TEXTS, t, seeded(1))
        found = block(PROCESS, model, TEXTS, t[:, None], seeded(1))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_it_is_the_mean_over_the_orders_inside_blocks():
    """And so it lies above -log of the mean likelihood over orders, which is a law over all texts."""
    for size in (2, 4):
        model = build(size)
        bound = sum(exact_bound(model, TEXTS, block) for block in range(L // size))
        orders = [
            [i for block, order in enumerate(parts) for i in (block * size + j for j in order)]
            for parts in itertools.product(itertools.permutations(range(size)), repeat=L // size)
        ]
        nll = torch.zeros(len(orders), len(TEXTS), dtype=torch.float64)
        for k, order in enumerate(orders):
            canvas = torch.full_like(TEXTS, V)
            for i in order:
                end = (i // size + 1) * size
                nll[k] -= log_p(model, canvas[:, :end])[:, i].gather(1, TEXTS[:, i : i + 1])[:, 0]
                canvas[:, i] = TEXTS[:, i]
        torch.testing.assert_close(nll.mean(0), bound, rtol=0, atol=1e-10)
        likelihood = (-nll).exp().mean(0)  # of the sampler that draws the order
        assert likelihood.sum().item() == pytest.approx(1, abs=1e-10)
        assert bool((-likelihood.log() <= bound + 1e-12).all())


# --- times ------------------------------------------------------------------------------------------------------------


def test_block_times_are_uniform_and_spread():
    t = block_times(stratified_times(4000, seeded()).double(), 4)
    assert t.shape == (4000, 4) and bool(((t >= 0) & (t < 1)).all())
    assert torch.equal((t * 4).floor().long().sort(1).values, torch.arange(4).expand(4000, 4))  # one in each quarter
    torch.testing.assert_close(t.mean(0), torch.full((4,), 0.5, dtype=torch.float64), rtol=0, atol=1e-3)
    torch.testing.assert_close(t.var(0), torch.full((4,), 1 / 12, dtype=torch.float64), rtol=0, atol=1e-3)


def test_clipped_times():
    t = clipped(torch.linspace(0, 1, 11), 0.3, 0.8)
    torch.testing.assert_close(t, torch.linspace(0.3, 0.8, 11))
    assert torch.equal(clipped(t, 1.0, 1.0), torch.ones(11))


def test_blocks_of_one_token_at_time_one_train_autoregressively():
    """All masked, weight 1: the exact loss; and clipping towards it takes the variance away."""
    model, x = build(1), TEXTS[:1].expand(64, -1)
    ones = torch.ones(64, L).double()
    torch.testing.assert_close(
        block_nelbo(PROCESS, model, x, ones), block_nelbo_by_count(PROCESS, model, x, ones), rtol=0, atol=1e-12
    )
    spread = [loss_variance(PROCESS, model, x, low, 1.0, 20, seeded()) for low in (0.1, 0.5, 1.0)]
    assert spread[0] > 2 * spread[1] > spread[2] and spread[2] < 1e-12


def test_loss_variance_of_one_token_is_its_formula():
    """c / t with probability t, t uniform on [low, 1]: variance c^2 (E[1/t] - 1), a mean over L independent tokens."""
    model, x = build(1), TEXTS[5:6].expand(500, -1)
    c = block_nelbo_by_count(PROCESS, model, x[:1], torch.ones(1, L).double())
    expected = c.square().sum().item() / L**2 * (torch.tensor(2.0).log().item() / 0.5 - 1)
    assert loss_variance(PROCESS, model, x, 0.5, 1.0, 20, seeded()) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("call, message", [
    (lambda: block_nelbo(PROCESS, build(2), TEXTS, torch.rand(81)), "Each block has its own time"),
    (lambda: block_nelbo(PROCESS, build(2), TEXTS[:, :3], torch.rand(81, 1)), "Blocks of 2 do not divide"),
    (lambda: block_nelbo(PROCESS, build(2), TEXTS.clamp_min(1) + 1, torch.rand(81, 2)), "Clean token ids"),
    (lambda: block_times(torch.tensor([1.5]), 2), "must lie in"),
    (lambda: block_times(torch.tensor([0.5]), 0), "at least one block"),
    (lambda: clipped(torch.tensor([0.5]), 0.8, 0.3), "0 <= low <= high <= 1"),
    (lambda: clipped(torch.tensor([0.5]), 0.0, 0.0), "high > 0"),
    (lambda: loss_variance(PROCESS, build(2), TEXTS[:1], draws=1), "two losses or more"),
])  # fmt: skip
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("size", [1, 2])
def test_noise_is_drawn_by_texts(size, monkeypatch):
    """One row of random numbers per text: what training in parts can deal to its processes."""
    model, t, shapes, rand = build(size), torch.rand(len(TEXTS), L // size).double(), [], torch.rand
    monkeypatch.setattr(torch, "rand", lambda shape, **named: shapes.append(tuple(shape)) or rand(shape, **named))
    block_nelbo(PROCESS, model, TEXTS, t, seeded())
    assert shapes == [tuple(TEXTS.shape)]
