"""The training loop: it learns, says what it did, goes on bit for bit after an interruption, stops at bad numbers."""

import json
import math
import os
import re
import signal
from dataclasses import replace

import pytest
import torch
from tiny_runs import (
    SIZE,
    TINY,
    assert_same_run,
    at_call,
    everything,
    interrupt,
    on_text,
    same,
    usual_ctrl_c,
    weights,
    write_text,
)
from torch.optim.swa_utils import AveragedModel

from difflm_core.data.toy_language import toy_language
from difflm_core.evaluation import Estimate
from difflm_core.samplers import Sample
from difflm_core.training import (
    RECIPES,
    Autoregressive,
    Block,
    EmbeddingDiffusion,
    Hybrid,
    Masked,
    Recipe,
    ToyLanguage,
    TrainingStopped,
    evaluate,
    loop,
    train,
)
from difflm_core.training import report as reports
from difflm_core.training.checkpoints import checkpoints, load_model
from difflm_core.training.recipe import Decay
from difflm_core.training.resume import differences, plain
from difflm_core.training.state import State, build, learning_rate


def quietly(recipe, folder=None, **options):
    return train(recipe, folder, progress=False, **options)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("corpus") / "text.txt")


def recipes(text):
    """All that has its own way of being resumed: sources, dropout (torch's global random numbers), time, both tasks."""
    return {
        "toy": TINY,
        "toy, time and dropout": replace(TINY, size=replace(SIZE, time_conditioning=True, dropout=0.2)),
        "twin, dropout": replace(TINY, task=Autoregressive(), size=replace(SIZE, dropout=0.2)),
        "characters, dropout": replace(on_text(text), size=replace(SIZE, dropout=0.2)),
        "bpe": on_text(text, bpe=300),
        "hybrid noise": replace(TINY, task=Hybrid()),
        "vectors, dropout": replace(TINY, task=EmbeddingDiffusion(D=4, T=20, steps=5), size=replace(SIZE, dropout=0.2)),
        "blocks": replace(TINY, task=Block(3)),
        "passes": replace(on_text(text), batch_size=500),  # several shuffled passes in twelve steps
    }


CASES = list(recipes(None))


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """Folder of the uninterrupted run of a case, trained once."""
    folders = {}

    def run(case):
        if case not in folders:
            folders[case] = tmp_path_factory.mktemp("whole") / "run"
            assert quietly(recipes(text)[case], folders[case]).finished
        return folders[case]

    return run


# --- it learns, and says what it did -------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [Masked(), Autoregressive()], ids=["masked", "autoregressive"])
def test_loss_falls(task):
    recipe = replace(TINY, task=task, steps=25, batch_size=32, learning_rate=2e-2, ema=0.5, evaluate_every=5)
    history = quietly(recipe).history
    bounds = [row["bound"] for row in history]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < 0.8 * math.log(toy_language().V)
    assert bounds[-1] > toy_language().entropy() / toy_language().length


def test_history_and_log(tmp_path):
    run = quietly(replace(TINY, ema=0.0), tmp_path)
    assert run.finished and run.folder == tmp_path and not run.model.training
    assert [row["step"] for row in run.history] == [5, 10, 12]
    names = "step loss bound standard_error learning_rate tokens seconds".split()
    for row in run.history:
        assert list(row) == names and all(math.isfinite(value) for value in row.values())
        assert row["tokens"] == row["step"] * 8 * 12
        assert row["learning_rate"] == learning_rate(TINY, row["step"] - 1)
        assert row["standard_error"] > 0
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail) for line in lines] == run.history
    estimate = evaluate(TINY, run.model)
    assert (estimate.mean, estimate.standard_error) == tuple(run.history[-1][k] for k in ("bound", "standard_error"))
    assert same(load_model(tmp_path).state_dict(), run.model.state_dict())
    assert same(  # ema = 0: the average is the weights themselves
        {f"model.{name}": value for name, value in run.model.state_dict().items()},
        {name: value for name, value in everything(tmp_path)[0].items() if name.startswith("model.")},
    )


def test_learning_rate_goes_up_then_down_to_a_tenth():
    recipe = replace(TINY, steps=100, warmup=10, learning_rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[10] == 1.0
    assert 0.1 < rates[-1] < 0.101 and learning_rate(recipe, 1000) == pytest.approx(0.1)


def test_evaluation_is_deterministic_and_leaves_random_numbers_alone(text):
    for recipe in (TINY, on_text(text)):
        model = build(replace(recipe, size=replace(SIZE, dropout=0.5)))
        torch.manual_seed(1)
        first, after = evaluate(recipe, model), torch.rand(())
        torch.manual_seed(2)
        assert evaluate(recipe, model.train()) == first
        torch.manual_seed(1)
        assert torch.rand(()) == after


def test_seed_and_progress_bar(capsys):
    runs = [quietly(TINY), train(TINY, progress=True), quietly(replace(TINY, seed=1))]
    assert same(runs[0].model.state_dict(), runs[1].model.state_dict())
    assert not same(runs[0].model.state_dict(), runs[2].model.state_dict())
    shown = capsys.readouterr()
    entropy = toy_language().entropy() / 12
    assert (
        len(re.findall(rf"step +\d+   bound \d\.\d+ ± \d\.\d+ nats/token   entropy {entropy:.4f}   gap", shown.out))
        == 3
    )
    assert "12/12" in shown.err


# --- resumed = uninterrupted, bit for bit ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_resumed_is_uninterrupted(case, whole, text, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        at_call(patch, State, "gradient", 7, interrupt)  # random numbers and batch are used up, weights not changed
        run = quietly(recipes(text)[case], tmp_path)
    assert not run.finished and run.history[-1]["step"] == 5
    assert checkpoints(tmp_path)[-1].name == "step-000006"
    said = capsys.readouterr().out
    assert f"saved in {tmp_path / 'step-000006'}" in said and "--resume" in said and "after 6 steps" in said
    torch.manual_seed(12345)
    assert quietly(recipes(text)[case], tmp_path, resume=True).finished
    assert_same_run(tmp_path, whole(case))


POINTS = {  # owner, function, its call, before its work?, the step that is then on the disk
    "before the first step": (State, "one_step", 1, True, 0),
    "before a step": (State, "one_step", 9, True, 8),
    "after a step": (State, "one_step", 9, False, 9),
    "in the first loss": (Masked, "loss", 1, False, 0),
    "in the last gradient": (State, "gradient", 12, False, 11),
    "weights half changed": (AveragedModel, "update_parameters", 11, True, 8),  # the last checkpoint must do
    "in an evaluation": (loop, "evaluate", 2, False, 10),
    "in the last evaluation": (loop, "evaluate", 3, True, 12),
    "between log and history": (loop.log, "append", 2, False, 10),
    "in a save": (loop, "save", 2, True, 8),
    "after a save": (loop, "save", 2, False, 8),
}


@pytest.mark.parametrize("point", POINTS)
def test_interrupted_anywhere(point, whole, tmp_path, monkeypatch, capsys):
    owner, name, number, before, saved = POINTS[point]
    with monkeypatch.context() as patch:
        at_call(patch, owner, name, number, interrupt, before)
        assert not quietly(TINY, tmp_path).finished
    assert everything(tmp_path)[1]["step"] == saved
    assert f"step-{saved:06d}" in capsys.readouterr().out
    run = quietly(TINY, tmp_path, resume=True)
    assert run.finished
    assert_same_run(tmp_path, whole("toy"))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows == run.history  # no row twice, none missing


def test_resume_again_and_again(whole, text, tmp_path, monkeypatch):
    recipe = recipes(text)["passes"]
    for session in range(5):  # two steps in each
        with monkeypatch.context() as patch:
            at_call(patch, State, "one_step", 3, interrupt, before=True)
            run = quietly(recipe, tmp_path, resume=session > 0)
    assert not run.finished
    assert quietly(recipe, tmp_path, resume=True).finished
    assert_same_run(tmp_path, whole("passes"))
    assert quietly(recipe, tmp_path, resume=True).finished  # a finished run is loaded, and nothing is trained
    assert_same_run(tmp_path, whole("passes"))


def test_seconds_go_on(tmp_path, monkeypatch):
    at_call(monkeypatch, State, "one_step", 7, interrupt)
    monkeypatch.setattr(State, "seconds", lambda state, original=State.seconds: 100.0 + original(state))
    quietly(TINY, tmp_path)
    monkeypatch.undo()
    assert quietly(TINY, tmp_path, resume=True).history[-1]["seconds"] >= 100


def test_rows_after_the_checkpoint_are_dropped(whole, tmp_path):
    quietly(TINY, tmp_path)
    (tmp_path / "step-000012").rename(tmp_path / "step-000012.part")  # as if killed while writing the last checkpoint
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 12, "lo')  # and in the middle of a row
    quietly(TINY, tmp_path, resume=True)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [5, 10, 12]
    assert not list(tmp_path.glob("*.part"))
    assert_same_run(tmp_path, whole("toy"))


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


def ctrl_c(times=1):
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no os.kill with SIGINT for one process")
@pytest.mark.parametrize("times, done", [(1, 7), (2, 6)], ids=["waits for the step", "twice does not"])
def test_ctrl_c_in_a_step(times, done, whole, tmp_path, monkeypatch):
    with usual_ctrl_c(), monkeypatch.context() as patch:
        at_call(patch, Masked, "loss", 7, lambda: ctrl_c(times))
        assert not quietly(TINY, tmp_path).finished
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert checkpoints(tmp_path)[-1].name == f"step-{done:06d}"
    quietly(TINY, tmp_path, resume=True)
    assert_same_run(tmp_path, whole("toy"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no os.kill with SIGINT for one process")
@pytest.mark.parametrize("again", [False, True], ids=["once", "again while saving"])
def test_ctrl_c_while_saving(again, whole, tmp_path, monkeypatch, capsys):
    from difflm_core.training import folders

    with usual_ctrl_c(), monkeypatch.context() as patch:
        at_call(patch, folders, "save_file", 3, lambda: ctrl_c(1 + again))  # in the checkpoint of step 8
        assert not quietly(TINY, tmp_path).finished
    newest = "step-000008"
    assert checkpoints(tmp_path)[-1].name == newest and newest in capsys.readouterr().out
    quietly(TINY, tmp_path, resume=True)
    assert_same_run(tmp_path, whole("toy"))


def test_ctrl_c_in_the_last_save_loses_nothing(whole, tmp_path, monkeypatch, capsys):
    """Interrupted in a step, and again while that state is written: the earlier checkpoint stands."""
    from difflm_core.training import folders

    with monkeypatch.context() as patch:
        at_call(patch, State, "gradient", 7, interrupt)
        at_call(patch, folders, "save_file", 4, interrupt)
        assert not quietly(TINY, tmp_path).finished
    said = capsys.readouterr().out
    assert "Interrupted while saving" in said and f"the last good checkpoint is {tmp_path / 'step-000004'}" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "step-000004"]
    quietly(TINY, tmp_path, resume=True)
    assert_same_run(tmp_path, whole("toy"))


def test_ctrl_c_without_a_folder(monkeypatch, capsys):
    at_call(monkeypatch, State, "gradient", 7, interrupt)
    run = quietly(TINY)
    assert not run.finished and len(run.history) == 1
    assert "nothing was saved, since no folder was given" in capsys.readouterr().out


# --- numbers that are not finite -------------------------------------------------------------------------------------


def spoil(monkeypatch, step, change):
    """Let `change(nats)` be the nats of that step's loss."""
    original, calls = Masked.loss, []

    def loss(task, model, x, generator=None):
        calls.append(1)
        nats = original(task, model, x, generator)
        return change(nats) if len(calls) == step else nats

    monkeypatch.setattr(Masked, "loss", loss)


def one_entry(value):
    return lambda nats: nats.index_put((torch.tensor(3), torch.tensor(2)), torch.tensor(value))


def bad_gradient(nats):
    nats.register_hook(lambda gradient: gradient * math.nan)
    return nats


BAD = {
    "nan": (one_entry(math.nan), r"loss of step 7 is nan \(batch row 3: '{text}'\)"),
    "inf": (one_entry(math.inf), r"loss of step 7 is inf \(batch row 3: '{text}'\)"),
    "overflow of the mean": (lambda nats: nats + 3e38, r"loss of step 7 is inf \(batch row \d: '"),
    "gradient": (
        bad_gradient,
        r"gradient of step 7 has norm nan, though the loss is \d\.\d+ \(largest in batch row \d: '",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_stops_at_a_bad_number(case, tmp_path, monkeypatch):
    change, sentence = BAD[case]
    batches = ToyLanguage().train(8, torch.Generator().manual_seed(TINY.seed + 1))
    text = [ToyLanguage().decode(next(batches)[3]) for _ in range(7)][-1]
    with monkeypatch.context() as patch:
        spoil(patch, 7, change)
        with pytest.raises(TrainingStopped, match=sentence.format(text=text[:80])) as stop:
            quietly(TINY, tmp_path)
    assert f"the last good checkpoint is {tmp_path / 'step-000004'}" in str(stop.value)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [5]
    assert everything(tmp_path)[1]["step"] == 4
    assert quietly(TINY, tmp_path, resume=True).finished


@pytest.mark.parametrize("case", BAD)
def test_weights_are_untouched_by_a_bad_number(case, monkeypatch):
    spoil(monkeypatch, 3, BAD[case][0])
    state, twin = State(TINY), State(TINY)
    for _ in range(2):
        state.one_step()
    before = weights(state)
    with pytest.raises(TrainingStopped, match="nothing was saved, since no folder was given"):
        state.one_step()
    assert state.step == 2 and state.whole and same(weights(state), before)
    assert all(value.isfinite().all() for value in before.values())
    for _ in range(2):
        twin.one_step()
    assert same(state.chance(), {**twin.chance(), "torch_generator": state.chance()["torch_generator"]})


def test_a_bad_number_before_any_checkpoint(tmp_path, monkeypatch):
    spoil(monkeypatch, 2, one_entry(math.nan))
    with pytest.raises(TrainingStopped, match="no checkpoint had been written yet"):
        quietly(TINY, tmp_path)


def test_a_bad_bound_is_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "evaluate", lambda *a, **k: Estimate(math.nan, math.nan, 4, 1))
    with pytest.raises(TrainingStopped, match="After step 5 the bound on held-out text is nan.*step-000004"):
        quietly(TINY, tmp_path)
    assert (tmp_path / "log.jsonl").read_text() == ""


# --- what cannot be trained or resumed is refused in one sentence ----------------------------------------------------


def test_resume_refuses_another_run(text, tmp_path):
    with pytest.raises(ValueError, match="which folder"):
        quietly(TINY, resume=True)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        quietly(TINY, tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        quietly(TINY, tmp_path / "file")
    quietly(TINY, tmp_path / "run")
    log = (tmp_path / "run" / "log.jsonl").read_text()
    with pytest.raises(FileExistsError, match="already holds a run: add --resume"):
        quietly(TINY, tmp_path / "run")
    changed = {
        r"\(steps was 12, is 20\)": replace(TINY, steps=20),
        r"\(size.width was 16, is 32, seed was 0, is 1\)": replace(TINY, size=replace(SIZE, width=32), seed=1),
        r"\(task was Masked, is Autoregressive\)": replace(TINY, task=Autoregressive()),
        r"\(data was ToyLanguage, is LocalText\)": on_text(text),
    }
    for sentence, recipe in changed.items():
        with pytest.raises(ValueError, match=f"other settings {sentence}"):
            quietly(recipe, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "log.jsonl").read_text() == log
    assert differences(plain(TINY), plain(TINY)) == []


def as_stored_before(checkpoint, absent) -> None:
    """The recipe as a version of the course wrote it that had none of these settings."""
    about = json.loads((checkpoint / "config.json").read_text())
    settings = about["recipe"]["settings"]
    for name in absent:
        *inner, last = name.split(".")
        place = settings
        for key in inner:
            place = place[key]
        del place[last]
    (checkpoint / "config.json").write_text(json.dumps(about))


def test_runs_older_than_a_setting_go_on(whole, tmp_path, monkeypatch):
    """They had what is now its default; what was never a default is a change."""
    with monkeypatch.context() as patch:
        at_call(patch, State, "gradient", 7, interrupt)
        quietly(TINY, tmp_path)
    as_stored_before(checkpoints(tmp_path)[-1], ["engine", "decay", "beta2", "start"])
    for changed in (replace(TINY, beta2=0.95), replace(TINY, engine=replace(TINY.engine, bf16=True))):
        with pytest.raises(ValueError, match=r"beta2 was 0.99, is 0.95|engine.bf16 was False, is True"):
            quietly(changed, tmp_path, resume=True)
    assert quietly(TINY, tmp_path, resume=True).finished
    assert_same_run(tmp_path, whole("toy"))
    as_stored_before(checkpoints(tmp_path)[-1], ["engine.fsdp", "data.held_out"])
    with pytest.raises(ValueError, match="data.held_out was 4096, is 32"):
        quietly(TINY, tmp_path, resume=True)


def test_a_run_begins_with_the_weights_of_another(whole, tmp_path):
    began = State(replace(TINY, start=whole("toy"), task=Block(3)))
    assert same(began.model.state_dict(), load_model(whole("toy")).state_dict())
    with pytest.raises(ValueError, match="do not fit this recipe's network: give both the same size"):
        State(replace(TINY, start=whole("toy"), size=replace(SIZE, width=32)))
    with pytest.raises(FileNotFoundError, match="There is no checkpoint in"):
        State(replace(TINY, start=tmp_path))


@pytest.mark.parametrize("decay", Decay)
def test_learning_rates(decay):
    recipe = replace(TINY, steps=100, warmup=10, decay=decay, learning_rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)]) and max(rates) == pytest.approx(1)
    last = {Decay.COSINE: 0.1, Decay.CONSTANT: 1.0, Decay.ROOT: (10 / 100) ** 0.5, Decay.LINEAR: 1 / 90}
    last[Decay.PLATEAU] = 1 - 0.9 * 9 / 10
    assert rates[-1] == pytest.approx(last[decay], abs=1e-3) and rates[10:] == sorted(rates[10:], reverse=True)


def test_warm_up_stable_decay():
    """Up in 10 steps, level until 60, then a line that would be at a tenth after step 100."""
    recipe = replace(TINY, steps=100, warmup=10, decay=Decay.PLATEAU, cooldown=0.4, learning_rate=2.0)
    rates = [learning_rate(recipe, step) for step in range(101)]
    assert rates[10:61] == [2.0] * 51 and rates[0] == pytest.approx(0.2)
    assert rates[60:] == pytest.approx([2 - 1.8 * i / 40 for i in range(41)])
    assert learning_rate(replace(recipe, cooldown=1.0, warmup=0), 50) == pytest.approx(2 * 0.55)
    for share in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="cooldown is the share of the steps that end a plateau"):
            replace(recipe, cooldown=share)


def test_diffusion_lm_falls_in_a_line_from_the_first_step():
    """The authors' 1 - step / steps, without a warm-up."""
    recipe = RECIPES["diffusion-lm-e2e"][1]
    for step in (0, 1000, 199_999):
        assert learning_rate(recipe, step) == pytest.approx(1e-4 * (1 - step / 200_000))


def test_resumed_within_the_decay_is_uninterrupted(tmp_path, monkeypatch):
    """The rate falls from step 6 on; the run is cut off in step 9."""
    recipe = replace(TINY, decay=Decay.PLATEAU, cooldown=0.5)
    assert learning_rate(recipe, 6) == recipe.learning_rate > learning_rate(recipe, 7)
    assert quietly(recipe, tmp_path / "whole").finished
    with monkeypatch.context() as patch:
        at_call(patch, State, "gradient", 9, interrupt)
        assert not quietly(recipe, tmp_path / "cut").finished
    assert quietly(recipe, tmp_path / "cut", resume=True).finished
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("new", ["the fox sees a dog.", "Q!"], ids=["same letters, fewer rows", "other letters"])
def test_resume_refuses_a_changed_text(new, tmp_path):
    from difflm_core.training.sources import prepared

    path = write_text(tmp_path / "text.txt")
    old = path.read_text(encoding="utf-8")
    quietly(on_text(path), tmp_path / "run")
    prepared.cache_clear()  # as in a new process
    path.write_text(old[: len(old) // 2] + "\n\n" + new, encoding="utf-8")
    with pytest.raises(ValueError, match="The training text has changed since the run in .* began"):
        quietly(on_text(path), tmp_path / "run", resume=True)


def test_recipes_refuse_nonsense():
    for change in ({"steps": 0}, {"batch_size": -1}, {"evaluate_every": 0}, {"data": ToyLanguage(held_out=0)}):
        with pytest.raises(ValueError, match="at least 1"):
            replace(TINY, **change)
    for change in ({"learning_rate": 0.0}, {"learning_rate": math.nan}, {"clip": -1.0}, {"warmup": -1}):
        with pytest.raises(ValueError, match="above 0"):
            replace(TINY, **change)
    with pytest.raises(ValueError, match="ema"):
        Recipe(ema=1.0)


@pytest.mark.parametrize(
    "content, sentence",
    [
        ("", "There is no text in"),
        (" \n\n \n", "There is no text in"),
        ("a", "leaves one side empty"),
        ("aaaa\n\naaa\n\naa", "1 distinct character"),
        ("ab ba\n\nba ab", "0 tokens|[0-9]+ tokens, a row needs 16"),
        ("ab\n\n" + "abba baab " * 10, "held out for evaluation are too short|a row needs 16"),
    ],
    ids=["empty", "blank", "one character", "one letter", "less than a row", "too little to hold out"],
)
def test_text_that_is_too_small(content, sentence, tmp_path):
    (tmp_path / "small.txt").write_text(content)
    with pytest.raises(ValueError, match=sentence) as error:
        quietly(on_text(tmp_path / "small.txt"), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_batch_larger_than_the_text(text):
    with pytest.raises(ValueError, match=r"batch_size = 100000: it must lie in 1 to \d+, the rows"):
        quietly(replace(on_text(text), batch_size=100_000))


# --- the report ------------------------------------------------------------------------------------------------------


def test_report_counts_broken_sentences(monkeypatch, capsys):
    language = toy_language()
    tokens = language.sample(200, generator=torch.Generator().manual_seed(0))
    tokens[::4, 0] = tokens[::4, 1]  # no determiner in front
    broken = 1 - language.grammatical(tokens).double().mean().item()
    assert broken == 0.25
    sample = Sample(tokens, torch.full((200,), 3), None)
    monkeypatch.setattr(Masked, "samplers", lambda *a: [("by hand", sample)])
    monkeypatch.setattr(reports, "estimate_nelbo", lambda *a: Estimate(2.0, 0.01, 8, 8192 * 12))
    reports.report_toy(TINY, build(TINY), sentences=200)
    said = capsys.readouterr().out
    assert "by hand: 3.0 network calls, 25.0 % broken" in said and "impossible: 25.0%" in said
    assert "counted over 200 by the exact grammar" in said
    assert f"entropy        {language.entropy() / 12:.4f}" in said
    marks = [line[2] for line in said.splitlines() if re.match(r"  [* ] [a-z]", line)]
    assert marks == ["*", " ", " ", " "]


@pytest.mark.parametrize("bpe", [None, 300])
def test_report_on_text_gives_bits_per_character(bpe, text, capsys):
    recipe = on_text(text, bpe=bpe)
    model = build(recipe)
    reports.report(recipe, model)
    said = capsys.readouterr().out
    estimate = evaluate(recipe, model, draws=8)
    shown = "".join(recipe.data.decode(row) for x in recipe.data.evaluation() for row in x)
    characters = len(shown.replace("<|endoftext|>", "|"))
    per_character = estimate.mean / math.log(2) * estimate.tokens / characters
    assert f"{per_character:.3f} bits per character, on held-out text" in said
    assert bpe is not None or characters == estimate.tokens
    assert f"bound   {estimate}" in said
