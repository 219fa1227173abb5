"""The table of all methods on real text, on stand-ins: each kind of row, what is trained on the way, and the bound."""

from dataclasses import dataclass, replace

import pytest
import torch
from datasets import Dataset
from tiny_latents import TinyStates, sentences, wordpiece_encoder
from tiny_pretrained import tiny_judge

from difflm_core.models.fewer_pieces import frequent_pieces
from difflm_core.studies import latents_table, store, text_scoreboard
from difflm_core.training import Autoregressive, Recipe, Size, latent_run
from difflm_core.training.block_task import Block
from difflm_core.training.d3pm_task import D3PM
from difflm_core.training.diffusion_lm_task import EmbeddingDiffusion
from difflm_core.training.hybrid_task import Hybrid
from difflm_core.training.latent_recipes import DenoiserSize, LatentRecipe
from difflm_core.training.latent_tasks import DenoiserTraining, TEncDMTask
from difflm_core.training.loop import evaluate
from difflm_core.training.piece_sentences import PieceSentences
from difflm_core.training.tasks import Masked


@dataclass(frozen=True)
class TinySentences(PieceSentences):
    length: int = 20
    bpe: int | None = 62
    held_out: int = 8

    def texts(self):
        return Dataset.from_dict({"text": sentences(40, 0)}), Dataset.from_dict({"text": sentences(40, 1)})

    def new_tokenizer(self, train, held_out):
        return frequent_pieces(wordpiece_encoder(), train, self.bpe)


TINY = Recipe(Masked(), TinySentences(), Size(16, 1, 2), steps=2, batch_size=8, warmup=1, evaluate_every=2)
TASKS = {
    "ar-sentences": Autoregressive(),
    "mdlm-sentences": Masked(),
    "block-sentences": Block(4),
    "gidd-sentences": Hybrid(),
    "d3pm-sentences": D3PM(lam=0.1, T=8, steps=8),
    "diffusion-lm-sentences": EmbeddingDiffusion(D=8, T=8, steps=8),
}
FEWER = (2, 4)


@pytest.fixture
def stand_ins(monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path))
    monkeypatch.setattr("difflm_core.training.latent_tasks.MEASURED", 2)
    monkeypatch.setattr(latent_run, "measured", lambda system: ({}, []))
    task, how = TEncDMTask(width=16, layers=1, tuning_steps=0, steps=1), DenoiserTraining(steps=1)
    recipe = LatentRecipe(task, TinyStates(), DenoiserSize(16, 1), how, batch_size=8, sample_steps=2, seed=1)
    system = latent_run.train_latents("tencdm-wikipedia", recipe, progress=False)
    monkeypatch.setattr(latents_table, "course_latents", {"tencdm-wikipedia": system}.__getitem__)
    for name, task in TASKS.items():
        monkeypatch.setitem(text_scoreboard.RECIPES, name, ("", replace(TINY, task=task)))
    monkeypatch.setattr("difflm_core.training.course.CHECKPOINTS", tmp_path / "none")
    monkeypatch.setattr(store, "RESULTS", tmp_path / "lessons" / "results")
    monkeypatch.setattr(latents_table, "WikipediaStates", TinyStates)
    monkeypatch.setattr(latents_table, "load_judge", tiny_judge)
    monkeypatch.setattr(TinyStates, "held_out", 8)
    small = {"samples": 4, "draws": 2, "calls": 8, "fewer": FEWER, "predictor_steps": 1}
    for key, value in (small | {"recipes": list(TASKS), "latents": ["tencdm-wikipedia"]}).items():
        monkeypatch.setitem(text_scoreboard.SETTINGS, key, value)
    monkeypatch.setattr(
        latents_table, "judge_features", lambda judge, texts: torch.tensor([[1.0, len(t)] for t in texts])
    )
    return tmp_path


@pytest.mark.slow
def test_every_method_has_a_row_and_a_bound_or_a_reason(stand_ins, monkeypatch):
    made = list(text_scoreboard.run(0))
    rows = {row["system"]: row for row in made if "calls" not in row}
    mdlm = "mdlm-sentences"
    samplers = [f"{mdlm} + {name}" for name in ("remdm", "star", "gstar")]
    symbols = [name for name in TASKS if name not in ("ar-sentences", mdlm)]
    assert list(rows) == ["human", "shuffled words", "ar-sentences", mdlm, *samplers, *symbols, "tencdm-wikipedia"]
    for name in TASKS:
        assert rows[name]["bound"] > 0 and rows[name]["standard_error"] >= 0
        assert (stand_ins / "runs" / name).is_dir(), "what was trained is kept, and found again"
    for name in (*samplers, "tencdm-wikipedia"):
        assert rows[name]["bound"] is None and rows[name]["no_bound"]
    assert rows[mdlm]["network_calls"] == 20
    assert rows["d3pm-sentences"]["network_calls"] == rows["diffusion-lm-sentences"]["network_calls"] == 8
    assert all(rows[name]["network_calls"] <= 8 for name in samplers)
    assert rows[samplers[2]]["parameters"] > rows[samplers[1]]["parameters"] == rows[mdlm]["parameters"]
    assert all(len(row["examples"]) == 4 for name, row in rows.items() if name not in ("human", "shuffled words"))
    assert all(isinstance(text_scoreboard.told(row), str) for row in made)
    check_fewer_calls([row for row in made if "calls" in row])
    monkeypatch.setitem(text_scoreboard.SETTINGS, "recipes", [mdlm])
    second = list(text_scoreboard.run(1))
    assert not any("calls" in row for row in second), "fewer calls are for the first seed"
    assert [row["bound"] for row in second if row["system"] == mdlm] != [rows[mdlm]["bound"]]


def check_fewer_calls(rows):
    fewer = {row["system"]: {} for row in rows}
    for row in rows:
        fewer[row["system"]][row["calls"]] = row
    assert "ar-sentences" not in fewer and list(fewer["tencdm-wikipedia"]) == [2]
    symbols = [name for name in fewer if name != "tencdm-wikipedia"]
    assert set(symbols) >= set(TASKS) - {"ar-sentences"} and all(list(fewer[name]) == list(FEWER) for name in symbols)
    for name in symbols:
        for calls, row in fewer[name].items():
            if name == "block-sentences":  # 5 blocks of 4 pieces, read 4 times: all at once is a call a block
                assert row["network_calls"] == 9
            else:
                assert 1 <= row["network_calls"] <= calls
    assert fewer["tencdm-wikipedia"][2]["steps"] == 2 and "bleu" not in fewer["tencdm-wikipedia"][2]


def test_another_seed_trains_another_network(stand_ins):
    recipe = text_scoreboard.RECIPES["ar-sentences"][1]
    first, again, other = (text_scoreboard.trained("ar-sentences", recipe, seed)[0] for seed in (0, 0, 1))
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters())]
    assert all(same) and not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters()))
    assert (stand_ins / "runs" / "ar-sentences-1").is_dir()


def test_the_bound_is_counted_in_pieces_of_the_sentence(stand_ins):
    recipe = text_scoreboard.RECIPES["ar-sentences"][1]
    model, tokenizer = text_scoreboard.trained("ar-sentences", recipe)
    found = text_scoreboard.bound_of(recipe, model, tokenizer.token_to_id("[SEP]"))
    x = torch.cat(recipe.data.evaluation())
    real = sum(row.tolist().index(tokenizer.token_to_id("[SEP]")) + 1 for row in x)
    assert found["bound"] * real == pytest.approx(evaluate(recipe, model).mean * x.numel(), rel=1e-5)
