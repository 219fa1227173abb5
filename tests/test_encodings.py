"""Encodings on disk: equal to the encoder's own states, whole or not there, and never another encoder's."""

import errno
import json

import numpy as np
import pytest
import torch
from tiny_pretrained import WORDS, tiny_encoder

from difflm_core.data import archives, encodings
from difflm_core.data.cache import ArchiveError
from difflm_core.data.encodings import encode_texts, open_encodings


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path / "cache"))


def some_texts(count, seed=0):
    """Texts of 0 to 12 words."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda high, n: torch.randint(high, (n,), generator=generator).tolist()  # noqa: E731
    return [" ".join(WORDS[i] for i in draw(len(WORDS), words)) for words in draw(13, count)]


def everything(folder):
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


@pytest.mark.parametrize("batch_size", [3, 64])
def test_rows_are_the_states_of_their_texts(batch_size, tmp_path):
    encoder, texts = tiny_encoder(), some_texts(70)  # with batches of 3, more than one window of 48
    encoded = encode_texts(texts, encoder, 16, batch_size=batch_size, dtype="float32", progress=False)
    ids, mask = encoder.tokenise(texts, 16)
    expected = encoder.states(ids, mask)
    assert (len(encoded), encoded.length, encoded.dim, encoded.encoder) == (70, 16, 16, "tiny-bert-0")
    states, kept_mask, kept_ids = encoded[:]
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=0)
    assert torch.equal(kept_mask, mask) and torch.equal(kept_ids, ids) and (states[~mask] == 0).all()
    for rows in (torch.tensor([69, 0, 7, 7]), [69, 0, 7, 7]):
        some, some_mask, some_ids = encoded[rows]
        assert torch.equal(some, states[[69, 0, 7, 7]]) and torch.equal(some_ids, ids[[69, 0, 7, 7]])
        assert some.dtype == torch.float32 and some_mask.dtype == torch.bool and some_ids.dtype == torch.long


def test_states_stay_on_disk_in_half_precision():
    encoded = encode_texts(some_texts(40), tiny_encoder(), 16, progress=False)
    assert isinstance(encoded.states, np.memmap) and encoded.states.dtype == np.float16
    full = encode_texts(some_texts(40), tiny_encoder(), 16, dtype="float32", progress=False)
    torch.testing.assert_close(encoded[:][0], full[:][0], atol=1e-3, rtol=1e-3)
    batch = encoded[[1]][0]
    batch += 1  # what is read is the reader's own
    assert not torch.equal(encoded[[1]][0], batch)


def test_the_second_call_computes_nothing(monkeypatch, capsys):
    texts, encoder = some_texts(10), tiny_encoder()
    first = encode_texts(texts, encoder, 16)
    assert "encoding with tiny-bert-0" in capsys.readouterr().err
    monkeypatch.setattr(encodings, "_write_states", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(encode_texts(texts, tiny_encoder(), 16)[:][0], first[:][0])


@pytest.mark.parametrize("change", ["texts", "order", "length", "encoder", "dtype"])
def test_whatever_changes_the_states_has_a_place_of_its_own(change, tmp_path):
    texts, encoder = some_texts(10), tiny_encoder()
    encode_texts(texts, encoder, 16, progress=False)
    other = {"texts": texts[:9], "order": texts[::-1]}.get(change, texts)
    encoder = tiny_encoder(1) if change == "encoder" else encoder
    length, dtype = 17 if change == "length" else 16, "float32" if change == "dtype" else "float16"
    encode_texts(other, encoder, length, dtype=dtype, progress=False)
    assert len(list((tmp_path / "cache" / "encodings").iterdir())) == 2


def test_another_encoder_is_refused(tmp_path):
    folder = tmp_path / "mine"
    encode_texts(some_texts(5), tiny_encoder(0), 16, folder, progress=False)
    assert len(open_encodings(folder, tiny_encoder(0))) == 5
    for use in (lambda e: open_encodings(folder, e), lambda e: encode_texts(some_texts(5), e, 16, folder)):
        with pytest.raises(ValueError, match=r"made by tiny-bert-0 \(\w{10}\), not by tiny-bert-1 .* do not mix"):
            use(tiny_encoder(1))


def test_a_named_folder_with_other_texts_or_settings_is_refused(tmp_path):
    folder, encoder = tmp_path / "mine", tiny_encoder()
    encode_texts(some_texts(5), encoder, 16, folder, progress=False)
    for texts, length, dtype in ((some_texts(5, 1), 16, "float16"), (some_texts(5), 17, "float16")):
        with pytest.raises(ValueError, match="other texts or settings .5 texts on 16 tokens in float16.: name another"):
            encode_texts(texts, encoder, length, folder, dtype=dtype)
    with pytest.raises(ValueError, match="other texts or settings"):
        encode_texts(some_texts(5), encoder, 16, folder, dtype="float32")


def test_a_text_longer_than_the_canvas_is_named_and_nothing_is_kept(tmp_path):
    with pytest.raises(ValueError, match="Text 1 has 11 tokens for tiny-bert-0, the canvas takes 10: cut or drop"):
        encode_texts(["the fox", "the fox " * 4 + "."], tiny_encoder(), 10)
    with pytest.raises(ValueError, match="0 texts in float16"):
        encode_texts([], tiny_encoder(), 10)
    with pytest.raises(ValueError, match="1 texts in bfloat16"):
        encode_texts(["the fox"], tiny_encoder(), 10, dtype="bfloat16")
    assert everything(tmp_path / "cache") == []


def test_states_beyond_half_precision_are_refused(tmp_path):
    encoder = tiny_encoder()
    encoder.model.encoder.layer[1].output.LayerNorm.weight *= 1e6
    with pytest.raises(ValueError, match="states beyond float16, or not numbers: take dtype='float32'"):
        encode_texts(some_texts(5), encoder, 16, progress=False)
    assert everything(tmp_path / "cache" / "encodings") == []
    assert encode_texts(some_texts(5), encoder, 16, dtype="float32", progress=False)[:][0].abs().max() > 65504


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_cut_off_in_the_middle_nothing_is_left(error, tmp_path, monkeypatch):
    encoder, calls = tiny_encoder(), []

    class Breaking:
        def __getattr__(self, name):
            return getattr(encoder, name)

        def states(self, ids, mask):
            calls.append(1)
            if len(calls) == 3:
                raise error
            return encoder.states(ids, mask)

    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ArchiveError):
        encode_texts(some_texts(10), Breaking(), 16, batch_size=2, progress=False)
    assert everything(tmp_path / "cache" / "encodings") == []


def test_a_full_disk_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: encodings.np.rec.array([(1e6,)], names=["free"])[0])
    with pytest.raises(ArchiveError, match="has 1.0 MB free, encoding needs 1.0"):
        encode_texts(some_texts(10), tiny_encoder(), 16)


@pytest.mark.parametrize("damage", ["cut", "gone", "json", "version", "shape"])
def test_damaged_encodings_are_said_to_be_so(damage, tmp_path):
    folder, encoder = tmp_path / "mine", tiny_encoder()
    encode_texts(some_texts(8), encoder, 16, folder, progress=False)
    states, about = folder / "states.npy", folder / "about.json"
    if damage == "cut":
        states.write_bytes(states.read_bytes()[:-100])
    elif damage == "gone":
        (folder / "mask.npy").unlink()
    elif damage == "json":
        about.write_text("{")
    elif damage == "version":
        about.write_text(json.dumps(json.loads(about.read_text()) | {"format": 0}))
    else:
        np.save(folder / "ids.npy", np.zeros((7, 16), np.int32))
    with pytest.raises(ValueError, match="damaged.*delete that folder"):
        open_encodings(folder, encoder)


def test_where_there_are_none_that_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no encodings in .*nowhere: make them with encode_texts"):
        open_encodings(tmp_path / "nowhere", tiny_encoder())
