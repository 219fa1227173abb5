"""A run as a model folder that stands alone: same logits, a card, and a hub that is a fake here."""

from pathlib import Path

import pytest
import torch
from tiny_runs import TINY

from difflm_core.training import export, train
from difflm_core.training.checkpoints import load_model
from difflm_core.training.export import from_pretrained, push, save_pretrained


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    assert train(TINY, folder, progress=False).finished
    return folder


def test_opens_again_to_the_same_logits(run, tmp_path):
    out = save_pretrained(run, tmp_path / "model")
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    model, tokenizer = from_pretrained(out)
    z = torch.randint(model.V + 1, (3, 12), generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(z), load_model(run)(z)) and not model.training
    assert tokenizer.get_vocab() == TINY.data.tokenizer().get_vocab()
    said = (out / "README.md").read_text()
    assert f"{model.parameters_count():,} parameters" in said and "| size.width | 16 |" in said and "| 12 | " in said
    save_pretrained(run, out)  # over the older one
    assert save_pretrained(out, tmp_path / "copy").is_dir()  # and from a model folder


def test_refused(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no checkpoint in"):
        save_pretrained(tmp_path, tmp_path / "out")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other files"):
        save_pretrained(run, tmp_path)


def test_command(run, tmp_path, capsys):
    assert export.main([str(run), str(tmp_path / "out")]) == 0
    assert "Written to" in capsys.readouterr().out
    assert export.main([str(tmp_path / "nothing"), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("Stopped: There is no checkpoint in")


class FakeHub:
    """What HfApi is asked: a repository, and the files that go there."""

    def __init__(self, fails: bool = False):
        self.fails, self.asked = fails, []

    def create_repo(self, repository, private, exist_ok):
        if self.fails:
            raise RuntimeError("401 Client Error.\nlong story")
        self.asked.append((repository, private, exist_ok))
        return f"https://hub/{repository}"

    def upload_folder(self, repo_id, folder_path, allow_patterns):
        self.asked.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir()), sorted(allow_patterns)))


def test_push_and_fetch(run, tmp_path, monkeypatch, capsys):
    hub = FakeHub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    assert export.main([str(run), str(tmp_path / "out"), "--push", "me/mine"]) == 0
    assert "Pushed to https://hub/me/mine" in capsys.readouterr().out
    names = ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
    assert hub.asked == [("me/mine", True, True), ("me/mine", names, names)]
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, allow_patterns: str(tmp_path / "out"))
    assert from_pretrained("me/mine")[0].V == TINY.data.V


def test_a_hub_out_of_reach(run, tmp_path, monkeypatch):
    out = save_pretrained(run, tmp_path / "out")
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: FakeHub(fails=True))
    with pytest.raises(ConnectionError, match=r"could not be written on the hub \(401 Client Error\): .*hf auth login"):
        push(out, "me/mine")

    def unreachable(name, allow_patterns):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(ConnectionError, match="There is no folder 'me/mine'.*no network"):
        from_pretrained("me/mine")
    (out / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="damaged"):
        push(out, "me/mine")
