"""Data at scale: token files hold what the text says, survive what happens to them, and resume to the very batch."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import SIZE, TINY, assert_same_run, at_call, interrupt, same, write_text
from two_processes import first_steps, rank, together

from difflm_core import data
from difflm_core.data import Origin, StreamedBatches, local_text, open_token_files, pack, prepare
from difflm_core.data.prepare import prepare as write_tokens
from difflm_core.data.token_files import LostText, damaged_files
from difflm_core.data.tokenizers import word_tokenizer
from difflm_core.training import TrainingStopped, train
from difflm_core.training.checkpoints import checkpoints
from difflm_core.training.sources import PreparedText, StreamedText, prepared
from difflm_core.training.state import State

PORTION = 2000  # characters: several files out of a small text
needs_fork = pytest.mark.skipif(os.name == "nt", reason="these tests start their processes by forking")


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    return write_text(tmp_path_factory.mktemp("corpus") / "text.txt", paragraphs=400)


@pytest.fixture(scope="module")
def folder(text) -> Path:
    made = text.parent / "tokens"
    write_tokens(Origin(text=text), made, portion=PORTION, progress=False)
    return made


@pytest.fixture(autouse=True)
def opened_anew():
    prepared.cache_clear()


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def source(folder: Path, **changes) -> PreparedText:
    return replace(PreparedText(str(folder), length=16, held_out=8), **changes)


def on_tokens(folder: Path, **changes):
    return replace(TINY, data=source(folder), size=replace(SIZE, dropout=0.2), batch_size=300, **changes)


# --- what is written, and read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bpe", [None, 300], ids=["characters", "bpe"])
def test_one_file_is_what_pack_makes(bpe, text, tmp_path):
    about = write_tokens(Origin(text=text, bpe=bpe), tmp_path / "tokens", progress=False)
    rows, tokenizer = open_token_files(tmp_path / "tokens", 16)
    documents = local_text(text, paragraphs=True)
    packed = pack(documents.select(range(380)), tokenizer, 16)
    assert len(about["files"]) == 2 and about["V"] == tokenizer.get_vocab_size()
    assert np.array_equal(rows[range(len(rows))], np.array(packed["ids"]))
    held_out, _ = open_token_files(tmp_path / "tokens", 16, "held_out")
    assert np.array_equal(
        held_out[range(3)], np.array(pack(documents.select(range(380, 400)), tokenizer, 16)["ids"][:3])
    )


def test_rows_are_cut_from_every_file(folder):
    rows, _ = open_token_files(folder, 24)
    assert len(rows.files) > 5
    streams = [np.fromfile(folder / file.name, np.uint16) for file in rows.files]
    expected = np.concatenate([stream[: len(stream) // 24 * 24].reshape(-1, 24) for stream in streams])
    assert len(rows) == len(expected)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).numpy()
    assert np.array_equal(rows[order], expected[order]) and rows[[3, 3]].shape == (2, 24)
    assert sum(file.documents for file in rows.files) == 380
    with pytest.raises(ValueError, match="No file in .* has as many as 100000 tokens"):
        open_token_files(folder, 100_000)


def test_large_vocabularies_take_four_bytes(tmp_path):
    words = [f"w{i}" for i in range(70_000)]
    word_tokenizer(words).save(str(tmp_path / "words.json"))
    (tmp_path / "mine.txt").write_text("\n\n".join(" ".join(words[i::7000]) for i in range(40)))
    origin = Origin(text=tmp_path / "mine.txt", tokenizer=str(tmp_path / "words.json"))
    assert write_tokens(origin, tmp_path / "tokens", progress=False)["dtype"] == "uint32"
    rows, _ = open_token_files(tmp_path / "tokens", 10)
    assert rows[[1]][0].tolist() == list(range(1, 70_000, 7000))


def test_pieces_and_a_known_alphabet(tmp_path):
    (tmp_path / "text8").write_text("abc def " * 500)
    origin = replace(data.CORPORA["text8"], text=tmp_path / "text8", piece=100)
    about = write_tokens(origin, tmp_path / "tokens", progress=False)
    assert (about["V"], about["train_tokens"], about["held_out_tokens"]) == (27, 3800, 200)
    (tmp_path / "text8").write_text("abc def " * 499 + "ABC")
    with pytest.raises(ValueError, match="Row 1: Character 'A' at position 92 is not among the 27"):
        write_tokens(replace(origin, held_out="x"), tmp_path / "others", progress=False)


# --- cut off, damaged, changed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [1, 5, 12])
def test_cut_off_anywhere_and_run_again(call, text, folder, tmp_path, monkeypatch):
    """A file is written in one `write`; a preparation cut off at the `call`-th goes on to the very same folder."""
    again = tmp_path / "tokens"
    with monkeypatch.context() as patch:
        at_call(patch, prepare, "write", call, interrupt, before=call % 2 == 0)
        with pytest.raises(KeyboardInterrupt):
            write_tokens(Origin(text=text), again, portion=PORTION, progress=False)
    finished = {p: p.stat().st_mtime_ns for p in again.rglob("*.bin") if p.with_suffix(".json").exists()}
    with pytest.raises(FileNotFoundError, match="a preparation was cut off: run the same command again"):
        open_token_files(again, 16)
    (again / "train").mkdir(exist_ok=True)
    (again / "train" / "00001.bin.part").write_bytes(b"half")
    write_tokens(Origin(text=text), again, portion=PORTION, progress=False)
    assert written(again) == written(folder)
    assert all(path.stat().st_mtime_ns == when for path, when in finished.items()), "finished files are kept"


def test_damage_is_found_and_repaired(text, folder, tmp_path):
    write_tokens(Origin(text=text), tmp_path / "tokens", portion=PORTION, progress=False)
    lost, short, bent = (tmp_path / "tokens" / "train" / f"0000{i}.bin" for i in (0, 1, 2))
    lost.unlink()
    with pytest.raises(LostText, match=r"00000.bin cannot be used \(it is missing\).*prepare writes anew only what is"):
        open_token_files(tmp_path / "tokens", 16)
    lost.write_bytes((folder / "train" / "00000.bin").read_bytes())
    short.write_bytes(short.read_bytes()[:-2])
    with pytest.raises(LostText, match=r"00001.bin cannot be used \(it has [\d,]+ bytes, not"):
        open_token_files(tmp_path / "tokens", 16)
    bent.write_bytes(bytes([1]) + bent.read_bytes()[1:])
    assert damaged_files(tmp_path / "tokens") == ["train/00001.bin", "train/00002.bin"]
    write_tokens(Origin(text=text), tmp_path / "tokens", portion=PORTION, progress=False)
    assert written(tmp_path / "tokens") == written(folder) and damaged_files(tmp_path / "tokens") == []


def test_refused(text, folder, tmp_path):
    with pytest.raises(ValueError, match="was begun with other settings"):
        write_tokens(Origin(text=text, bpe=300), folder, portion=PORTION, progress=False)
    with pytest.raises(ValueError, match="holds other files: name an empty folder"):
        write_tokens(Origin(text=text), text.parent, progress=False)
    with pytest.raises(ValueError, match="Name one source"):
        write_tokens(Origin(), tmp_path / "none", progress=False)
    with pytest.raises(ValueError, match="There is no file or folder .*nothing.txt"):
        write_tokens(Origin(text=tmp_path / "nothing.txt"), tmp_path / "none", progress=False)
    with pytest.raises(ValueError, match="Choose one of"):
        write_tokens(Origin(text=text, bpe=300, tokenizer="gpt2"), tmp_path / "none", progress=False)
    assert not (tmp_path / "none").exists()
    (tmp_path / "one.txt").write_text("one document")
    with pytest.raises(ValueError, match="one document only"):
        write_tokens(Origin(text=tmp_path / "one.txt"), tmp_path / "one", progress=False)


def test_the_command(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path))
    assert prepare.main(["mine", "--text", str(text), "--workers", "1"]) == 0
    assert "V = 2" in capsys.readouterr().out and (tmp_path / "tokens" / "mine" / "about.json").exists()
    assert prepare.main(["mine"]) == 1 and "Stopped: Name one source" in capsys.readouterr().err
    assert prepare.main(["mine", "--text", str(text), "--workers", "0"]) == 1
    assert "At least one process" in capsys.readouterr().err

    def hub(name, split, column, streaming):
        assert (name, column, streaming) == ("some/texts", "words", False)
        from datasets import Dataset

        return Dataset.from_dict({"text": [f"{split} a b", "b a"] * 3})

    monkeypatch.setattr("difflm_core.data.origins.hub", hub)
    command = ["theirs", "--hub", "some/texts", "--column", "words", "--held-out", "other", "--workers", "1"]
    assert prepare.main(command) == 0
    assert open_token_files(tmp_path / "tokens" / "theirs", 2)[1].token_to_id("b") is not None


@pytest.mark.slow
def test_several_workers_write_the_same(text, folder, tmp_path):
    write_tokens(Origin(text=text), tmp_path / "tokens", workers=2, portion=PORTION, progress=False)
    assert written(tmp_path / "tokens") == written(folder)


# --- training on them -------------------------------------------------------------------------------------------------


def test_resumed_in_the_middle_of_a_pass(folder, tmp_path, monkeypatch):
    """Batches of 300 of some 850 rows: several passes in twelve steps, cut off in the fourth and in the ninth."""
    recipe = on_tokens(folder)
    assert 2 * 300 < len(prepared(recipe.data)[0]) < 4 * 300
    assert train(recipe, tmp_path / "whole", progress=False).finished
    for call in (5, 5):
        with monkeypatch.context() as patch:
            at_call(patch, State, "gradient", call, interrupt)
            assert not train(recipe, tmp_path / "cut", bool(checkpoints(tmp_path / "cut")), progress=False).finished
    assert train(recipe, tmp_path / "cut", resume=True, progress=False).finished
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


def test_a_lost_file_stops_the_run_and_loses_nothing(text, tmp_path):
    folder = tmp_path / "tokens"
    write_tokens(Origin(text=text), folder, portion=PORTION, progress=False)
    recipe = on_tokens(folder)
    assert train(recipe, tmp_path / "whole", progress=False).finished
    prepared.cache_clear()
    file, original = folder / "train" / "00003.bin", State.one_step

    def one_step(state):
        if state.step == 6:
            file.rename(tmp_path / "elsewhere")
        original(state)

    State.one_step = one_step
    try:
        with pytest.raises(TrainingStopped, match=r"00003.bin cannot be used .* Interrupted after 6 steps; saved in"):
            train(recipe, tmp_path / "run", progress=False)
    finally:
        State.one_step = original
    prepared.cache_clear()
    with pytest.raises(LostText, match="it is missing"):
        train(recipe, tmp_path / "run", resume=True, progress=False)
    (tmp_path / "elsewhere").rename(file)
    assert train(recipe, tmp_path / "run", resume=True, progress=False).finished
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_other_text_is_not_taken_for_the_same(text, tmp_path):
    """As many rows of the same characters in another order."""
    write_tokens(Origin(text=text), tmp_path / "one", portion=PORTION, progress=False)
    words = text.read_text(encoding="utf-8")
    (tmp_path / "other.txt").write_text(words.replace("fox", "xof"), encoding="utf-8")
    write_tokens(Origin(text=tmp_path / "other.txt"), tmp_path / "two", portion=PORTION, progress=False)
    train(replace(on_tokens(tmp_path / "one"), steps=4), tmp_path / "run", progress=False)
    (tmp_path / "one").rename(tmp_path / "three")
    (tmp_path / "two").rename(tmp_path / "one")
    prepared.cache_clear()
    with pytest.raises(ValueError, match="The training text has changed"):
        train(replace(on_tokens(tmp_path / "one"), steps=4), tmp_path / "run", resume=True, progress=False)


def test_not_prepared_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="run python -m difflm_core.data.prepare owt-gpt2 once"):
        prepared(PreparedText())
    with pytest.raises(FileNotFoundError, match="No text has been prepared in"):
        prepared(PreparedText(str(tmp_path / "mine")))


# --- streams ----------------------------------------------------------------------------------------------------------


def documents(count: int = 60) -> list[str]:
    return [" ".join(f"w{(i * j) % 17}" for j in range(1, 12)) for i in range(count)]


def stream(count: int = 60):
    from datasets import Dataset

    return Dataset.from_dict({"text": documents(count)}).to_iterable_dataset(num_shards=min(3, count))


WORDS = word_tokenizer([f"w{i}" for i in range(17)])


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr("difflm_core.data.streams.AT_ONCE", 100)  # a few documents at once


def streamed(count: int = 60, **changes) -> StreamedBatches:
    return StreamedBatches(stream(count), WORDS, **({"length": 8, "batch_size": 4, "seed": 3, "rows": 16} | changes))


def test_a_stream_gives_whole_documents_in_shuffled_blocks(small_groups):
    """60 documents of 11 words in blocks of at least 16 rows; a pass holds no row twice, and then it begins again."""
    batches, seen = streamed(), []
    assert all(batch.shape == (4, 8) for batch in (next(batches) for _ in range(3)))
    plain = [WORDS.token_to_id(word) for text in documents() for word in text.split()]
    batches = streamed(rows=10_000, batch_size=1)  # one block: all of the stream
    seen = torch.cat([next(batches) for _ in range(len(plain) // 8)])
    expected = torch.tensor(plain[: len(plain) // 8 * 8]).view(-1, 8)
    assert not torch.equal(seen, expected)
    assert sorted(seen.tolist()) == sorted(expected.tolist())
    second = torch.cat([next(batches) for _ in range(len(plain) // 8)])
    assert sorted(second.tolist()) == sorted(expected.tolist()) and not torch.equal(second, seen)


def test_a_stream_goes_on_at_the_very_batch(small_groups):
    """Through several blocks and past the end of the stream; the state is JSON."""
    batches = streamed()
    told = []
    for _ in range(40):
        told.append((json.dumps(batches.state_dict()), next(batches)))
    assert len({json.loads(state)["blocks"] for state, _ in told}) > 6
    for start in (0, 1, 7, 13, 29):
        again = streamed()
        again.load_state_dict(json.loads(told[start][0]))
        assert all(torch.equal(next(again), batch) for _, batch in told[start:])
        again.load_state_dict(json.loads(told[3][0]))  # and back
        assert torch.equal(next(again), told[3][1])


def test_a_stream_that_is_too_short():
    with pytest.raises(ValueError, match="gives 2 rows of 8 tokens, one batch needs 4"):
        next(streamed(2))


def from_here(name, split, column, streaming):
    assert streaming and column == "text"
    return stream()


STREAMED = replace(TINY, data=StreamedText("some/stream", "here", length=8, shuffled=16, held_out=8), steps=20)


def use_streams(patch) -> None:
    """The hub's streams are here, and its tokenizer."""
    patch("difflm_core.data.hub", from_here)
    patch("difflm_core.training.sources.named_tokenizer", lambda name: WORDS)
    patch("difflm_core.data.streams.AT_ONCE", 100)


def test_training_on_a_stream_resumes(tmp_path, monkeypatch):
    use_streams(monkeypatch.setattr)
    assert train(STREAMED, tmp_path / "whole", progress=False).finished
    with monkeypatch.context() as patch:
        at_call(patch, State, "gradient", 11, interrupt)
        assert not train(STREAMED, tmp_path / "cut", progress=False).finished
    prepared.cache_clear()
    assert train(STREAMED, tmp_path / "cut", resume=True, progress=False).finished
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


def steps_of_both(tokens: Path, folder: Path) -> None:
    """In a process of a team: the first steps on token files and on a stream."""
    use_streams(put)
    for name, recipe in {"files": replace(TINY, data=source(tokens)), "stream": STREAMED}.items():
        torch.save(first_steps(recipe), folder / f"{name}-{rank()}.pt")


def put(name: str, value) -> None:
    """monkeypatch.setattr of a dotted name, for a process that ends with the change."""
    import importlib

    owner, attribute = name.rsplit(".", 1)
    setattr(importlib.import_module(owner), attribute, value)


def run_on_tokens(tokens: Path, folder: Path, resume: bool, lost: Path | None) -> None:
    """In a process of a team; before the seventh step one of the files goes away."""
    original = State.one_step

    def one_step(state):
        if state.step == 6 and rank() == 1:
            lost.rename(lost.with_suffix(".away"))
        original(state)

    if lost is not None:
        State.one_step = one_step
    assert train(on_tokens(tokens), folder, resume, progress=False).finished


@pytest.mark.slow
@needs_fork
def test_a_file_lost_to_one_of_two_processes_stops_both(text, tmp_path):
    tokens, runs = tmp_path / "tokens", tmp_path / "runs"
    write_tokens(Origin(text=text), tokens, portion=PORTION, progress=False)
    file = tokens / "train" / "00003.bin"
    assert together(run_on_tokens, tokens, runs / "whole", False, None) == [0, 0]
    assert together(run_on_tokens, tokens, runs / "cut", False, file) == [1, 1]
    assert checkpoints(runs / "cut")[-1].name == "step-000006"
    file.with_suffix(".away").rename(file)
    assert together(run_on_tokens, tokens, runs / "cut", True, None) == [0, 0]
    assert_same_run(runs / "cut", runs / "whole")


@needs_fork
def test_two_processes_see_the_batches_of_one(folder, tmp_path, monkeypatch):
    assert together(steps_of_both, folder, tmp_path) == [0, 0]
    use_streams(monkeypatch.setattr)
    for name, recipe in {"files": replace(TINY, data=source(folder)), "stream": STREAMED}.items():
        alone, (first, second) = first_steps(recipe), (torch.load(tmp_path / f"{name}-{i}.pt") for i in (0, 1))
        assert same(first, second)
        for key, value in alone.items():
            torch.testing.assert_close(first[key], value, rtol=1e-9, atol=1e-12)
