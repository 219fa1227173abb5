"""The reversal study runs through, with next to no training, and asks what it says it asks."""

import pytest
import torch

from difflm_core.studies import reversal
from difflm_core.studies.reversal import FOLLOWS, L, V, answered, likeliest_before, names, network, sentence


def test_names_are_different_and_cut_out_of_the_words():
    some = names(300, torch.Generator().manual_seed(0))
    assert len(some.unique(dim=0)) == 300
    kinds = [set(reversal.WORDS.index(w) for w in words) for words in (
        reversal.ADJECTIVES, reversal.COLOURS, reversal.NOUNS["one"])]  # fmt: skip
    assert all(set(some[:, i].tolist()) <= kinds[i] for i in range(3))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("asked", [slice(0, 3), slice(4, 7)])
def test_only_what_is_asked_is_written(causal, asked):
    model, where = network(causal, 0), torch.zeros(L, dtype=torch.bool)
    where[asked] = True
    A, B = names(20, torch.Generator().manual_seed(0)).chunk(2)
    known = sentence(A, FOLLOWS, B)
    out, other = answered(model, known, where), answered(model, known.masked_fill(where, 5), where)
    assert torch.equal(out[:, ~where], known[:, ~where]) and int(out.max()) < V
    assert torch.equal(out, other)  # the true answer is not looked at


def test_search_takes_the_likeliest_name(monkeypatch):
    A, B = names(8, torch.Generator().manual_seed(0)).chunk(2)
    texts = sentence(A, FOLLOWS, B)
    prefers = lambda model, x: -(x[:, :3] == A[2]).all(1, keepdim=True).double()  # noqa: E731
    monkeypatch.setattr(reversal, "autoregressive_nll", prefers)
    assert likeliest_before(None, texts, A) == 0.25


def test_it_runs(monkeypatch):
    few = {"facts": 4, "steps": 2, "batch_size": 4, "width": 16, "layers": 1}
    monkeypatch.setattr(reversal, "SETTINGS", reversal.SETTINGS | few)
    rows = list(reversal.run(0))
    assert [row["model"] for row in rows] == ["masked", "autoregressive"] and all(map(reversal.told, rows))
    assert all(0 <= value <= 1 for row in rows for key, value in row.items() if key != "model")
    assert "before_by_search" in rows[1] and "before_by_search" not in rows[0]
