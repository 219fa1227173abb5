"""LLaDA's task and the code source, as the training loop sees them."""

import pytest
import torch

from difflm_core import data
from difflm_core.data import code_corpus, toy_language
from difflm_core.data.code_corpus import completed
from difflm_core.training import Masked, Size
from difflm_core.training.code_source import PythonFunctions
from difflm_core.training.llada_task import LLaDA
from difflm_core.training.sources import prepared

V, L = toy_language().V, 12
SIZE = Size(width=16, layers=1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_short_batches_it_is_the_masked_bound():
    model, x = LLaDA().network(V, L, SIZE), toy_language().sample(6, generator=seeded())
    g = seeded(1)
    torch.rand(1, generator=g), torch.rand(1, generator=g)  # the lot and the length
    assert torch.equal(LLaDA(0.0).loss(model, x, seeded(1)), Masked().loss(model, x, g))


@torch.no_grad()
def test_short_batches_have_every_length_equally_often():
    model, x, g = LLaDA().network(V, L, SIZE), toy_language().sample(2, generator=seeded()), seeded()
    lengths = torch.tensor([LLaDA(1.0).loss(model, x, g).shape[1] for _ in range(360)])
    counts = lengths.bincount(minlength=L + 1)
    assert counts[0] == 0 and (counts[1:] - 30).abs().max() < 5 * 30**0.5
    some = [LLaDA(0.3).loss(model, x, g).shape[1] == L for _ in range(200)]
    assert 0.6 < sum(some) / 200 < 0.85  # 0.7, and the short ones of full length


def test_its_samplers_fill_the_canvas():
    model, task = LLaDA().network(V, L, SIZE), LLaDA()
    found = {name: out for name, out in task.samplers(model, (3, L), seeded())}
    assert all(int(out.tokens.max()) < V and out.tokens.shape == (3, L) for out in found.values())
    assert [int(out.network_calls[0]) for out in found.values()] == [4, 4, 8, 8, L]
    nats = task.nelbo(model, toy_language().sample(4, generator=seeded()), torch.rand(4, generator=seeded()), seeded())
    assert nats.shape == (4, L)


@pytest.mark.parametrize("call, message", [
    (lambda: LLaDA(1.5), "share of the batches"),
    (lambda: LLaDA().network(V, L, Size(time_conditioning=True)), "shown no time"),
    (lambda: PythonFunctions(bpe=None), "need an end token"),
])  # fmt: skip
def test_bad_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_functions_are_rows_of_their_own(monkeypatch, tmp_path):
    def made(folder, shortest, longest):
        body = lambda i: f"    x{i} = {i}\n    return x{i} + {'1 + ' * (i % 40)}1\n"  # noqa: E731
        pieces = [code_corpus.Function(f"f{i}", f"def f{i}(a):\n", body(i)) for i in range(80)]
        return tuple((f"module{i % 8}", piece) for i, piece in enumerate(pieces))

    monkeypatch.setattr(code_corpus, "_functions_of", made)
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path))
    source = PythonFunctions(length=64, bpe=300)
    train, held_out, tokenizer = prepared(source)
    assert source.V == 300 and 0 < len(held_out) < len(train) < 80  # the longest are left out
    x = next(source.train(4, seeded()))
    assert x.shape == (4, 64) and bool((x[:, -1] == 0).all())
    for row in x:
        assert code_corpus.parses(completed(tokenizer, row, 0)) and "<|" not in completed(tokenizer, row, 0)
    with pytest.raises(ValueError, match="longer canvas"):
        source.rows({"text": ["def f(a):\n    return " + "1 + " * 99 + "1\n"]}, tokenizer)
    assert data.decode(tokenizer, x[0][:3])
