"""The error predictor of a recipe's run, from the command line: trained, judged, stored, opened again."""

from dataclasses import replace

import pytest
import torch
from tiny_runs import TINY

from difflm_core.training import Autoregressive, gstar, load_error_predictor, train
from difflm_core.training.gstar import ErrorRecipe, Trained, train_from_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mdlm-small"
    train(replace(TINY, steps=60, batch_size=64, learning_rate=1e-2), folder, progress=False)
    return folder


def test_command(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(gstar.RECIPES, "mdlm-small", ("A small one.", TINY))
    command = ["mdlm-small", "--run", str(run), "--out", str(tmp_path / "errors"), "--steps", "5", "--device", "cpu"]
    assert gstar.main(command) == 0
    said = capsys.readouterr().out
    assert "predictor" in said and "confidence" in said and "stored in" in said
    opened = load_error_predictor(tmp_path / "errors")
    trained, _ = train_from_run(TINY, run, ErrorRecipe(steps=5), progress=False)
    x = TINY.data.evaluation()[0]
    assert torch.equal(opened.error_logits(x), trained.eval().error_logits(x))
    assert gstar.main(command) == 1 and "is there already" in capsys.readouterr().err
    assert gstar.main(["mdlm-none"]) == 1 and "There is no recipe 'mdlm-none'" in capsys.readouterr().err


def test_it_learns(run):
    """Better than chance on drafts it has not seen, trained as a whole."""
    errors = ErrorRecipe(Trained.WHOLE, steps=60, batch_size=64, learning_rate=5e-3)
    _, report = train_from_run(replace(TINY, data=replace(TINY.data, held_out=256)), run, errors, progress=False)
    assert report.predictor.auroc > 0.55


def test_refused(run, tmp_path):
    with pytest.raises(ValueError, match="drafts of masked diffusion"):
        train_from_run(replace(TINY, task=Autoregressive()), run, ErrorRecipe())
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        train_from_run(TINY, tmp_path, ErrorRecipe())
    with pytest.raises(ValueError, match="at least 1"):
        ErrorRecipe(steps=0)
