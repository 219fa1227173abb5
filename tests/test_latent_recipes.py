"""Latent systems as recipes: stages, checkpoints, resuming, and an encoder with fewer pieces."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from tiny_latents import TinyStates, sentences, wordpiece_encoder
from tiny_runs import at_call
from tokenizers import Tokenizer, models

from difflm_core.data.cache import ArchiveError
from difflm_core.models.fewer_pieces import frequent_pieces, with_pieces
from difflm_core.samplers import sample_latents
from difflm_core.training import latent_checkpoints, latent_run
from difflm_core.training.__main__ import main
from difflm_core.training.latent_checkpoints import course_latents, load_latents, recipe_from, save_latents
from difflm_core.training.latent_course import publish_latents
from difflm_core.training.latent_plan import latent_needs, plan_latents, untrained_parts, weights
from difflm_core.training.latent_recipes import LATENT_RECIPES, DenoiserSize, LatentRecipe
from difflm_core.training.latent_run import train_latents, untrained
from difflm_core.training.latent_sources import StoredStates, ToyStates
from difflm_core.training.latent_tasks import (
    CosmosTask,
    DenoiserTraining,
    LD4LGTask,
    PlannerTask,
    TEncDMTask,
    Training,
)
from difflm_core.training.resume import plain
from difflm_core.training.states import States, hidden_states, swapped_states

SYSTEMS = ("ld4lg", "planner", "tencdm", "cosmos")


def short(recipe: LatentRecipe, steps: int = 2) -> LatentRecipe:
    """The recipe with `steps` of each stage on few texts."""
    names = [name for name in ("steps", "pretraining_steps", "tuning_steps") if getattr(recipe.task, name, 0)]
    return replace(
        recipe,
        task=replace(recipe.task, **dict.fromkeys(names, steps)),
        diffusion=replace(recipe.diffusion, steps=steps),
        data=replace(recipe.data, held_out=8),
        batch_size=4,
        sample_steps=2,
    )


def tiny(system: str) -> LatentRecipe:
    return short(LATENT_RECIPES[f"{system}-tiny"][1])


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Few batches for statistics, few samples for the report."""
    monkeypatch.setattr("difflm_core.training.latent_tasks.MEASURED", 2)
    whole = latent_run.measured
    monkeypatch.setattr(latent_run, "measured", lambda system: whole(system, 4))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- an encoder with fewer pieces


def test_the_same_pieces_have_the_same_states():
    big = wordpiece_encoder()
    small = with_pieces(big, frequent_pieces(big, sentences(50, 0), 5 + 53 + 4))
    ids, mask = small.tokenise(["the fox hops.", "a dog sleeps over the cat."], 20)
    names = small.tokenizer.convert_ids_to_tokens(ids.flatten().tolist())
    theirs = torch.tensor(big.tokenizer.convert_tokens_to_ids(names)).view(ids.shape)
    assert torch.equal(small.states(ids, mask), big.states(theirs, mask))
    assert len(small.embeddings) == 62 and int(ids.max()) < 62
    assert small.special_ids.tolist() == [0, 1, 2, 3, 4]
    assert small.fingerprint != big.fingerprint


def test_rare_words_are_spelled_and_come_back():
    big = wordpiece_encoder()
    tokenizer = frequent_pieces(big, sentences(50, 0), 5 + 53 + 4)
    row = tokenizer.encode("The zebra sees a fox.")
    assert row.tokens[0] == "[CLS]" and row.tokens[-1] == "[SEP]" and "[UNK]" not in row.tokens
    assert row.tokens[2:7] == ["z", "##e", "##b", "##r", "##a"]  # known to the encoder, but not frequent
    assert tokenizer.decode(row.ids) == "the zebra sees a fox."


@pytest.mark.parametrize("V", [57, 1000])
def test_an_impossible_number_of_pieces_is_refused(V):
    with pytest.raises(ValueError, match="take a number between"):
        frequent_pieces(wordpiece_encoder(), sentences(50, 0), V)


def test_pieces_of_another_encoder_are_refused():
    big = wordpiece_encoder()
    other = Tokenizer(models.WordPiece({"[UNK]": 0, "owl": 1}, unk_token="[UNK]"))
    with pytest.raises(ValueError, match="does not know the piece 'owl'"):
        with_pieces(big, other)


# --- corrupted states


def test_hidden_states_are_zero_and_words_stay():
    h, ids = torch.ones(50, 20, 3), torch.arange(20).expand(50, 20)
    (hidden,) = hidden_states([States(h, torch.ones(50, 20, dtype=torch.bool), ids)], 0.3, seeded())
    assert set(hidden.h.unique().tolist()) == {0.0, 1.0}
    assert abs((hidden.h[..., 0] == 0).double().mean().item() - 0.3) < 0.05
    assert torch.equal(hidden.ids, ids)


def test_swapped_states_come_from_real_places():
    mask = torch.arange(6).expand(40, 6) < 4
    h = torch.where(mask, torch.arange(1.0, 241.0).view(40, 6), -1.0)[..., None]
    (swapped,) = swapped_states([States(h, mask, torch.zeros(40, 6, dtype=torch.long))], 0.5, seeded())
    assert bool((swapped.h[~mask] == -1).all()) and bool((swapped.h[mask] > 0).all())
    changed = (swapped.h != h)[mask].double().mean().item()
    assert 0.3 < changed < 0.7
    assert float(h.min()) == -1.0 and torch.equal(h[mask], torch.arange(1.0, 241.0).view(40, 6)[mask][:, None])


# --- runs and checkpoints


def told(recipe: LatentRecipe, folder, resume: bool = False) -> int:
    return latent_run.run("planner", recipe, folder, resume, "cpu")


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_ends_a_stage_and_says_resume(tmp_path, monkeypatch, capsys):
    """In the second of the denoiser's five steps: the stage before stands, and the run ends as an uninterrupted one."""
    recipe = replace(tiny("planner"), diffusion=replace(tiny("planner").diffusion, steps=5))
    with monkeypatch.context() as patch:
        at_call(patch, PlannerTask, "encode", 2, terminate)
        assert told(recipe, tmp_path) == 75
    said = capsys.readouterr().out
    assert f"{tmp_path / 'stage-1'}; to go on: the same command with --resume" in said
    assert [stage.name for stage in latent_run.finished_stages(tmp_path)] == ["stage-1"]
    assert told(recipe, tmp_path, resume=True) == 0
    whole, resumed = train_latents("planner", recipe, progress=False), load_latents(tmp_path / "stage-2")
    for name, value in whole.parts.state_dict().items():
        assert torch.equal(value, resumed.parts.state_dict()[name]), name
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 2 + 5 + 1 + 1))
    assert [row["loss of denoiser"] for row in rows[2:7]] == whole.report.losses["denoiser"]
    assert rows[-1]["bleu"] == resumed.report.figures["bleu"]


def test_sigterm_while_a_stage_is_written_loses_nothing(tmp_path, monkeypatch, capsys):
    at_call(monkeypatch, latent_run, "save_latents", 1, terminate, before=True)
    assert told(tiny("planner"), tmp_path) == 75 and load_latents(tmp_path / "stage-1", unfinished=True)
    at_call(monkeypatch, Training, "generator", 1, terminate)  # in the first stage
    assert told(tiny("planner"), tmp_path / "other") == 75
    assert "no stage was finished: start again without --resume" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_resumed_run_ends_as_an_uninterrupted_one(system, tmp_path, monkeypatch):
    recipe = tiny(system)
    whole = train_latents(system, recipe, progress=False)
    stages = recipe.stages()
    cut = list(stages)[-1]

    def killed(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(LatentRecipe, "stages", lambda self: stages | {cut: killed})
    with pytest.raises(KeyboardInterrupt):
        train_latents(system, recipe, tmp_path, progress=False)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="not trained to its end"):
        load_latents(latent_run.finished_stages(tmp_path)[-1])
    resumed = train_latents(system, recipe, tmp_path, resume=True, progress=False)
    assert whole.parts.state_dict().keys() == resumed.parts.state_dict().keys()
    for name, value in whole.parts.state_dict().items():
        assert torch.equal(value, resumed.parts.state_dict()[name]), name

    loaded = load_latents(tmp_path / f"stage-{len(stages)}", V=whole.canvas.V)
    for label, weight in ((None, 1.0), (1, 2.0)):
        ours, theirs = (some.sample(3, seeded(4), 3, label, weight) for some in (whole, loaded))
        assert torch.equal(ours.tokens, theirs.tokens) and torch.equal(ours.network_calls, theirs.network_calls)
    batch, _ = recipe.data.evaluation()
    assert torch.equal(whole.encode(batch), loaded.encode(batch))
    tuned = system != "planner"
    assert loaded.encoder.name == ("mdlm-tiny, tuned" if tuned else "mdlm-tiny")
    assert loaded.recipe == recipe and loaded.labels == recipe.data.labels


def test_the_plain_recipe_gives_the_recipe_back():
    for _, recipe in LATENT_RECIPES.values():
        assert recipe_from(json.loads(json.dumps(plain(recipe)))) == recipe


def test_samples_are_those_of_the_parts():
    system = untrained("tencdm", tiny("tencdm"))
    batches = [system.parts.seen(batch) for batch, _ in [system.recipe.data.evaluation()]]
    system.autoencoder.measure(batches)
    sample = system.sample(3, seeded(1), 4)
    shape = (3, system.canvas.length, system.canvas.dim)
    x = sample_latents(system.process, system.denoiser, shape, 4, seeded(1), "x").x
    assert torch.equal(sample.tokens, system.autoencoder.decode(x).argmax(-1))
    assert sample.network_calls.tolist() == [5, 5, 5]  # four of the denoiser, one of the decoder
    assert sample.tokens.shape == (3, system.canvas.length)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    system = untrained("planner-tiny", tiny("planner"))
    folder = tmp_path_factory.mktemp("latents") / "planner"
    return system, save_latents(folder, system, list(system.recipe.stages()))


def broken(stored, tmp_path):
    system, _ = stored
    return save_latents(tmp_path / "copy", system, list(system.recipe.stages()))


def test_another_vocabulary_is_refused(stored):
    with pytest.raises(ValueError, match="made for a vocabulary of .* not 7"):
        load_latents(stored[1], V=7)
    system = load_latents(stored[1])
    ids = torch.full((1, system.canvas.length), system.canvas.V)
    with pytest.raises(ValueError, match="use the tokenizer that is stored"):
        system.encode(States(torch.zeros(1, *ids.shape[1:], system.canvas.dim), ids >= 0, ids))


def test_another_encoder_is_refused(stored, monkeypatch):
    system = load_latents(stored[1])
    monkeypatch.setattr(ToyStates, "fingerprint", "another")
    with pytest.raises(ValueError, match="states of another mdlm-tiny"):
        _ = system.encoder


def test_damaged_folders_are_refused(stored, tmp_path):
    folder = broken(stored, tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged: model.safetensors cannot be read"):
        load_latents(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        load_latents(folder)
    about = json.loads((folder / "config.json").read_text())
    (folder / "model.safetensors").write_bytes(whole)
    changed = about | {"canvas": about["canvas"] | {"V": 50}}
    (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="weights do not fit"):
        load_latents(folder)
    (folder / "config.json").write_text(json.dumps({"latent": {}}))
    with pytest.raises(ValueError, match="does not describe a latent system"):
        load_latents(folder)
    (folder / "config.json").write_text(json.dumps({"model": {}}))
    with pytest.raises(ValueError, match="holds no latent system"):
        load_latents(folder)
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        load_latents(tmp_path / "nowhere")


def test_a_full_disk_keeps_the_former_checkpoint(stored, tmp_path, monkeypatch):
    folder = broken(stored, tmp_path)
    before = (folder / "model.safetensors").read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("difflm_core.training.folders.save_file", full)
    with pytest.raises(OSError, match="free some space"):
        save_latents(folder, stored[0], [])
    assert (folder / "model.safetensors").read_bytes() == before
    assert load_latents(folder).name == "planner-tiny"


def test_runs_refuse_other_settings_and_folders(tmp_path):
    recipe = tiny("planner")
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        train_latents("planner", recipe, tmp_path, resume=True, progress=False)
    train_latents("planner", recipe, tmp_path, progress=False)
    with pytest.raises(FileExistsError, match="already holds a run"):
        train_latents("planner", recipe, tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"d was 1.0, is 3.0"):
        train_latents("planner", replace(recipe, d=3.0), tmp_path, resume=True, progress=False)


def test_course_latents_name_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(latent_checkpoints, "CHECKPOINTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="training.course cosmos-tiny"):
        course_latents("cosmos-tiny")
    with pytest.raises(ValueError, match="no latent system 'cosmo'"):
        course_latents("cosmo")


def test_a_published_system_says_how_it_was_made(tmp_path, monkeypatch):
    monkeypatch.setattr("difflm_core.training.latent_course.measured", latent_run.measured)
    system = replace(train_latents("planner-tiny", tiny("planner"), progress=False), name="planner-tiny")
    folder = publish_latents(system, tmp_path / "planner-tiny")
    card = (folder / "README.md").read_text()
    for wanted in ("training.course planner-tiny", "seed 0", "sha256", "paragraph embedder", "bleu_of_anothers"):
        assert wanted in card
    assert torch.equal(load_latents(folder).sample(2, seeded(), 2).tokens, system.sample(2, seeded(), 2).tokens)


# --- a pretrained encoder


@pytest.mark.parametrize(
    "task",
    [
        LD4LGTask(N=2, D_ae=4, width=16, layers=1, tune_encoder=False, pretraining_steps=2, steps=2),
        PlannerTask(N=2, D_ae=4, width=16, steps=2),
        TEncDMTask(width=16, layers=1, tuning_steps=0, steps=2),
        CosmosTask(N=2, width=16, layers=1, tuning_steps=0, steps=2),
    ],
    ids=SYSTEMS,
)
def test_systems_on_stored_states(task, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path))
    monkeypatch.setitem(latent_checkpoints.SOURCES, "TinyStates", TinyStates)
    size, diffusion = DenoiserSize(16, 1), DenoiserTraining(steps=2)
    recipe = LatentRecipe(task, TinyStates(), size, diffusion, batch_size=8, sample_steps=2)
    system = train_latents("tiny", recipe, tmp_path / "run", progress=False)
    assert system.canvas.end == 3 and system.canvas.V == 62
    assert {"tokens_read", "bleu", "distinct_2"} <= system.report.figures.keys()
    loaded = load_latents(tmp_path / "run" / f"stage-{len(recipe.stages())}")
    assert torch.equal(system.sample(2, seeded(), label=1).tokens, loaded.sample(2, seeded(), label=1).tokens)
    assert loaded.encoder.fingerprint == loaded.fingerprint
    batch, _ = recipe.data.evaluation()
    assert system.decode(batch.ids[0]) == sentences(40, 1)[0]
    with pytest.raises(ValueError, match="too large to be tuned"):
        untrained("tiny", replace(recipe, task=LD4LGTask()))


# --- what the papers state


def test_paper_recipes_have_the_papers_sizes():
    needs = {name: latent_needs(LATENT_RECIPES[f"{name}-rocstories"][1]) for name in SYSTEMS}
    assert needs["ld4lg"].latents == (32, 64)  # 2,048 numbers
    assert needs["planner"].latents == (16, 1024)
    assert needs["tencdm"].latents == (64, 768)
    assert needs["cosmos"].latents == (16, 768)
    assert needs["tencdm"].stored == 2 * 98_000 * 64 * 768


def test_ld4lg_between_its_two_language_models():
    """26 M trainable in the paper (3 + 3 layers of 768); ours has MLPs of twice that size (4 x 768), hence more."""
    model = untrained_parts(LATENT_RECIPES["ld4lg-rocstories"][1]).autoencoder
    blocks = weights(model.resampler.blocks) + weights(model.reconstruction.blocks)
    assert blocks == pytest.approx(6 * 12 * 768**2, rel=0.01)


@pytest.mark.parametrize("name", ["ld4lg-wikipedia", "cosmos-rocstories", "planner-tiny"])
def test_plans_need_no_data(name, monkeypatch):
    monkeypatch.setattr(StoredStates, "encoder", lambda self: pytest.fail("the plan fetched an encoder"))
    page = plan_latents(name, LATENT_RECIPES[name][1])
    assert "one A100" in page and "denoiser" in page


def test_without_the_archive_one_sentence_is_said(tmp_path, monkeypatch, capsys):
    def missing(*arguments):
        raise ArchiveError("no network: connect once")

    monkeypatch.setattr("difflm_core.models.pretrained.load_encoder", missing)
    assert main(["ld4lg-wikipedia", "--folder", str(tmp_path), "--device", "cpu"]) == 1
    assert capsys.readouterr().err == "Stopped: no network: connect once\n"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["ld4lg-tiny", "--folder", str(tmp_path), "--device", "cpu"]) == 1
    assert "trained in one process" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_line_knows_latent_recipes(capsys):
    assert main(["cosmos-tiny", "--plan", "--diffusion.steps", "7"]) == 0
    assert "7 steps" in capsys.readouterr().out
    assert main(["ld4lg-tinny"]) == 2
    assert "ld4lg-tiny" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in LATENT_RECIPES if not name.endswith("rocstories")])
def test_every_plan_on_this_machine_is_told(name):
    """Nothing is fetched for it; the toy language's encoder is opened for its sizes only."""
    assert "parameters" in plan_latents(name, LATENT_RECIPES[name][1])
