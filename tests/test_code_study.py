"""The code study runs through on made-up functions, and writes only where it is asked to."""

import pytest
import torch

from difflm_core import data
from difflm_core.data import code_corpus
from difflm_core.data.code_corpus import completed
from difflm_core.studies import code_infilling
from difflm_core.studies.code_infilling import missing_lines, written
from difflm_core.training import Size
from difflm_core.training.tasks import transformer


def function(i: int) -> code_corpus.Function:
    return code_corpus.Function(f"f{i}", f"def f{i}(a):\n", f"    b = a + {i}\n    return b * {i % 7}\n")


@pytest.fixture
def few(monkeypatch, tmp_path):
    made = tuple((f"module{i % 20}", function(i)) for i in range(80))
    monkeypatch.setattr(code_corpus, "_functions_of", lambda *a: made)
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path))
    tiny = {
        "length": 128,
        "bpe": 290,
        "steps": 2,
        "batch_size": 4,
        "width": 16,
        "layers": 1,
        "functions": 2,
        "lines": 3,
    }
    monkeypatch.setattr(code_infilling, "SETTINGS", code_infilling.SETTINGS | tiny)
    texts = [{"head": f.head, "body": f.body, "text": f.text} for _, f in made]
    return texts, data.bpe_tokenizer([t["text"] for t in texts], 290)


def test_a_missing_line_is_a_line(few):
    texts, tokenizer = few
    x, asked = missing_lines(tokenizer, texts[:8], 64, torch.Generator().manual_seed(0))
    for row, where, text in zip(x, asked, texts):
        line = tokenizer.decode(row[where].tolist())
        assert line.endswith("\n") and line.strip() and line in text["body"].splitlines(keepends=True)
        assert completed(tokenizer, row, 0) == text["text"]


@pytest.mark.parametrize("causal", [False, True])
def test_only_what_is_asked_is_written_and_nothing_looked_up(few, causal):
    texts, tokenizer = few
    x, asked = missing_lines(tokenizer, texts[:5], 64, torch.Generator().manual_seed(0))
    model = transformer(290, 64, Size(16, 1, 4), causal).eval()
    out = written(model, x, asked, torch.Generator().manual_seed(1))
    other = written(model, x.masked_fill(asked, 5), asked, torch.Generator().manual_seed(1))
    assert torch.equal(out[~asked], x[~asked]) and torch.equal(out, other) and int(out.max()) < 290


def test_it_runs(few):
    rows = list(code_infilling.run(0))
    assert [(row["model"], row["task"]) for row in rows] == [
        (model, task) for model in ("masked", "autoregressive") for task in ("body", "line")]  # fmt: skip
    assert all(map(code_infilling.told, rows)) and all(0 <= row["parse"] <= 1 for row in rows)
