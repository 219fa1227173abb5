"""`make gpu` where there is no GPU: it says so; what it asks can be asked of a CPU too."""

import shutil
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
import torch
from tiny_runs import SIZE, TINY

from difflm_core.models import Transformer
from difflm_core.training.recipes import Recipe


def tiny() -> Recipe:
    return Recipe(data=gpu.RandomText(vocabulary=50, tokens=16), size=SIZE, batch_size=4, steps=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys):
    assert gpu.main() == 1 and "There is no GPU here: nothing was checked" in capsys.readouterr().err


def test_precisions_agree_within_the_bounds():
    loss, cosine, length = gpu.both_precisions(TINY, "cpu")
    assert 0 < loss < gpu.LOSS and gpu.DIRECTION < cosine < 1 and 0 < length < gpu.LENGTH


def test_the_large_recipe_is_a_step_of_the_papers():
    recipe = gpu.large(8)
    assert recipe.data.V == 50_257 and recipe.data.length == 1024 and recipe.size.width == 768
    assert next(tiny().data.train(4, torch.Generator().manual_seed(0))).shape == (4, 16)


@pytest.mark.slow
def test_from_noisy_tokens_to_the_loss_is_one_graph(monkeypatch):
    """As on a GPU, where the network does not look at its tokens; counting the masks cuts the graph."""
    monkeypatch.setattr(Transformer, "_check", lambda *_: None)
    assert gpu.loss_breaks(tiny(), "cpu") == 0 < gpu.loss_breaks(tiny(), "cpu", counted=True)


def test_engines_are_those_of_a_recipe():
    assert [gpu.large(**engine).engine.fixed_rows for engine in gpu.ENGINES.values()].count(False) == 2


def one_graph():
    breaks, difference = gpu.graph_breaks(tiny(), "cpu")
    assert breaks == 0 and difference < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a C++ compiler")
def test_a_block_is_one_graph():
    """In a Python of its own, as `test_compiled_is_the_same` and for its reason."""
    work = "import test_gpu_script; test_gpu_script.one_graph()"
    done = subprocess.run([sys.executable, "-c", work], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
