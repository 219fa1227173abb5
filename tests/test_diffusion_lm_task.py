"""Diffusion-LM as a task of the training room: it learns, is stored, goes on bit for bit, and reports its bound."""

from dataclasses import replace

import pytest
import torch
from datasets import Dataset
from tiny_runs import TINY

from difflm_core.data import word_tokenizer
from difflm_core.data.padded import frequent_words_tokenizer, pad
from difflm_core.data.toy_language import toy_language
from difflm_core.models import DiffusionLM
from difflm_core.objectives import diffusion_lm_nelbo_at
from difflm_core.processes import Sqrt
from difflm_core.training import RECIPES, EmbeddingDiffusion, load_model, train
from difflm_core.training.checkpoints import read_about, save_model

SMALL = replace(TINY, task=EmbeddingDiffusion(D=4, T=20, steps=5), steps=8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_it_learns_and_reports_the_bound():
    recipe = replace(SMALL, steps=40, batch_size=32, learning_rate=2e-2, ema=0.5, evaluate_every=10)
    run = train(recipe, progress=False)
    bounds = [row["bound"] for row in run.history]
    assert bounds[-1] < bounds[0] and bounds[-1] > toy_language().entropy() / 12
    x, t = toy_language().sample(4, generator=seeded()), torch.tensor([0.1, 0.4, 0.6, 0.9])
    expected = diffusion_lm_nelbo_at(run.model, x, t, 20, seeded(), run.model.rounded_x_hat)
    assert torch.equal(recipe.task.nelbo(run.model, x, t, seeded()), expected)
    sample = recipe.task.sample(run.model, (2, 12), seeded())
    assert sample.network_calls.tolist() == [5, 5] and sample.tokens.max() < run.model.V


def test_a_stored_model_is_the_same_model(tmp_path):
    task = EmbeddingDiffusion(D=4, kind="v", schedule=Sqrt(1e-3), self_conditioning=True)
    model = task.network(11, 6, SMALL.size)
    save_model(tmp_path / "one", model)
    again = load_model(tmp_path / "one", V=11, length=6)
    assert isinstance(again, DiffusionLM) and again.description() == model.description()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match="vocabulary of 11 tokens, not 12"):
        load_model(tmp_path / "one", V=12)
    with pytest.raises(ValueError, match="at most 6 positions, not 7"):
        load_model(tmp_path / "one", length=7)


@pytest.mark.parametrize("lost", ["sigma_0", "schedule", "net"])
def test_a_description_that_is_not_whole_is_called_damaged(tmp_path, lost):
    save_model(tmp_path / "one", EmbeddingDiffusion(D=4).network(11, 6, SMALL.size))
    config = tmp_path / "one" / "config.json"
    config.write_text(config.read_text().replace(f'"{lost}"', '"gone"'))
    assert "gone" in read_about(tmp_path / "one")["model"]
    with pytest.raises(ValueError, match="is damaged: config.json does not describe a model"):
        load_model(tmp_path / "one")


def test_a_run_goes_on_with_its_own_settings(tmp_path):
    """That it goes on bit for bit is one of the cases of test_training."""
    train(replace(SMALL, steps=4), tmp_path / "half", progress=False)
    with pytest.raises(ValueError, match="steps was 4, is 8"):
        train(SMALL, tmp_path / "half", resume=True, progress=False)
    with pytest.raises(ValueError, match="task.D was 4, is 5"):
        train(replace(SMALL, steps=4, task=replace(SMALL.task, D=5)), tmp_path / "half", resume=True, progress=False)


def test_the_report_shows_fewer_and_more_steps():
    model = SMALL.task.network(toy_language().V, 12, SMALL.size)
    recipe = replace(SMALL, task=replace(SMALL.task, T=200))
    labels = [label for label, _ in recipe.task.samplers(model, (2, 12), seeded())]
    assert labels[0] == "10 of 200 steps, not clamped" and labels[-1] == "200 of 200 steps, clamped"


def test_recipes_and_refusals():
    assert RECIPES["diffusion-lm-tiny"][1].task == EmbeddingDiffusion()
    with pytest.raises(ValueError, match="1 to T = 10 of the chain's steps, not 11"):
        EmbeddingDiffusion(T=10, steps=11)
    with pytest.raises(ValueError, match='predicts "x", "eps" or "v"'):
        EmbeddingDiffusion(kind="noise")


def test_one_text_per_row_with_end_and_padding():
    texts = Dataset.from_dict({"text": ["a pub, a bar", "a bar", "rare"]})
    tokenizer = frequent_words_tokenizer(texts["text"], at_least=2)
    assert sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id) == ["<end>", "<pad>", "<unk>", "a", "bar"]
    assert pad(texts, tokenizer, 6)["ids"][:] == [[3, 2, 2, 3, 4, 0], [3, 4, 0, 1, 1, 1], [2, 0, 1, 1, 1, 1]]
    with pytest.raises(ValueError, match="Row 0 has 5 words, a canvas of 5 takes 4"):
        pad(texts, tokenizer, 5)
    with pytest.raises(ValueError, match="No word occurs 9 times"):
        frequent_words_tokenizer(texts["text"], 9)
    with pytest.raises(ValueError, match="lacks <end>"):
        pad(texts, word_tokenizer(["a", "bar"]), 6)
