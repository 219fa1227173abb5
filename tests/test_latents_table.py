"""The table of latent systems on real text, on stand-ins: rows, costs, and what is told of them."""

import pytest
import torch
from tiny_latents import TinyStates, sentences, wordpiece_encoder
from tiny_pretrained import tiny_judge

from difflm_core.classroom.pictures import lesson_06
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.models.fewer_pieces import frequent_pieces
from difflm_core.samplers import Sample
from difflm_core.studies import latents_table
from difflm_core.training import latent_run
from difflm_core.training.latent_recipes import DenoiserSize, LatentRecipe
from difflm_core.training.latent_tasks import DenoiserTraining, LD4LGTask, TEncDMTask
from difflm_core.training.piece_sentences import PieceSentences, until_sign

TASKS = {
    "ld4lg-wikipedia": LD4LGTask(N=2, D_ae=4, width=16, layers=1, tune_encoder=False, pretraining_steps=1, steps=1),
    "tencdm-wikipedia": TEncDMTask(width=16, layers=1, tuning_steps=0, steps=1),
}


@pytest.fixture
def stand_ins(monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path))
    monkeypatch.setattr("difflm_core.training.latent_tasks.MEASURED", 2)
    monkeypatch.setattr(latent_run, "measured", lambda system: ({}, []))
    size, how = DenoiserSize(16, 1), DenoiserTraining(steps=1)
    systems = {
        name: latent_run.train_latents(
            name, LatentRecipe(task, TinyStates(), size, how, batch_size=8, sample_steps=2, seed=1), progress=False
        )  # hardly trained: with seed 0 it writes nothing but ends, and there is nothing to judge
        for name, task in TASKS.items()
    }
    big = wordpiece_encoder()
    tokenizer = frequent_pieces(big, sentences(40, 0), 62)
    model = Transformer(TransformerConfig(62, 20, 16, 1, 2)).eval()
    monkeypatch.setattr(latents_table, "course_latents", systems.__getitem__)
    monkeypatch.setattr(latents_table, "course_checkpoint", lambda name: (model, tokenizer))
    monkeypatch.setattr(latents_table, "WikipediaStates", TinyStates)
    monkeypatch.setattr(latents_table, "load_judge", tiny_judge)
    monkeypatch.setitem(latents_table.SETTINGS, "systems", list(TASKS))
    monkeypatch.setitem(latents_table.SETTINGS, "samples", 4)
    monkeypatch.setattr(TinyStates, "held_out", 8)
    monkeypatch.setattr(
        latents_table, "judge_features", lambda judge, texts: torch.tensor([[1.0, len(t)] for t in texts])
    )


def test_rows_are_those_of_all_systems_and_of_human_texts(stand_ins):
    rows = list(latents_table.run(0))
    assert [row["system"] for row in rows] == ["human", "shuffled words", *TASKS, "mdlm-sentences"]
    ld4lg, tencdm, mdlm = rows[2:]
    assert "bleu" in ld4lg and "tokens_read" in tencdm and "bleu" not in mdlm
    assert tencdm["network_calls"] == 3 and mdlm["network_calls"] == 20
    assert all(row["seconds_per_1000_tokens"] > 0 for row in rows[2:])
    assert rows[0]["words"] == 6 and rows[1]["perplexity"] != rows[0]["perplexity"]
    assert all(isinstance(latents_table.told(row), str) for row in rows)

    table = lesson_06.on_real_text({"runs": rows, "settings": {"samples": 4}, "command": "this"}).splitlines()
    assert [line[:16].strip() for line in table[1:6]] == ["LD4LG", "TEncDM", "MDLM", "human texts", "human, shuffled"]
    assert f"{ld4lg['bleu']:.2f}" in table[1] and table[4].split()[2:4] == ["-", "-"]  # no parameters, nothing back
    assert len({len(line) for line in table[:6]}) == 1 and max(map(len, table)) < 125


def test_tokens_are_counted_up_to_the_end():
    tokens = torch.tensor([[5, 3, 3, 3], [5, 6, 7, 8], [3, 0, 0, 3]])
    assert latents_table.pieces(Sample(tokens, torch.ones(3)), 3) == 2 + 4 + 1


def test_sentences_as_rows_of_pieces(monkeypatch):
    tokenizer = frequent_pieces(wordpiece_encoder(), sentences(40, 0), 62)
    rows = PieceSentences(length=12).rows(
        {"text": ["the fox hops.", "the the the the the the the the zebra."]}, tokenizer
    )
    assert len(rows) == 1, "the longer one is left out"
    ids = torch.tensor(rows[0]["ids"])
    assert ids[0] == 2 and ids[8:].tolist() == [0] * 4 and ids.tolist().count(3) == 1
    assert until_sign(tokenizer, ids) == "the fox hops."
