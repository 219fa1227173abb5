"""Pretrained networks that are only looked through, never trained: an encoder of text and a judge of text.

Without a hub both come out of pinned package archives: MiniLM as encoder (6 layers of 384, 22.7 M parameters, a
bidirectional BERT) and SmolLM2-135M as autoregressive judge. They are unpacked or converted once, kept in `models/` of
the cache folder, and loaded with transformers; nothing of the packages is imported. With a hub the same calls take any
name: `load_encoder("bert-base-cased")`, `load_encoder("facebook/bart-base")` (its encoder half),
`load_judge("gpt2-large")`. `transformers` takes seconds to import: functions import it when called.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from difflm_core.data.tokenizers import END_OF_TEXT
from difflm_core.models.frozen import Encoder, Judge
from difflm_core.models.packaged import minilm_folder, smollm2_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_encoder(source: str | Path | None = None, device: torch.device | str | None = None) -> Encoder:
    """A frozen encoder in float32: MiniLM by default, else a name on the hub or a folder written by transformers.

    Raises ArchiveError where MiniLM's archive cannot be had, ConnectionError where the hub is out of reach, ValueError
    for a name that the hub does not know. Source: Wang et al. 2020 (MiniLM), fine-tuned as all-MiniLM-L6-v2.
    """
    from transformers import AutoModel

    place = minilm_folder() if source is None else source
    model, tokenizer = _load(AutoModel, place, "load_encoder")
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    return Encoder("all-MiniLM-L6-v2" if source is None else str(source), _frozen(model, device), tokenizer)


def load_judge(source: str | Path | None = None, device: torch.device | str | None = None) -> Judge:
    """A frozen autoregressive judge in float32: SmolLM2-135M-Instruct by default (4-bit weights, unpacked), else a name
    on the hub or a folder written by transformers.

    Perplexities of different judges do not compare. Errors as for `load_encoder`; ValueError also for a model without a
    sign that ends documents. Source: Allal et al. 2025 (SmolLM2).
    """
    from transformers import AutoModelForCausalLM

    model, tokenizer = _load(AutoModelForCausalLM, smollm2_folder() if source is None else source, "load_judge")
    name = "SmolLM2-135M-Instruct" if source is None else str(source)
    # <|endoftext|> before all others: SmolLM2's begin sign opens a chat turn, after which plain text is a surprise.
    known = tokenizer.get_vocab().get(END_OF_TEXT)
    start = next((i for i in (known, tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None), None)
    if start is None:
        raise ValueError(f"The tokenizer of {name} has no sign for the end of a document: take another judge.")
    return Judge(name, _frozen(model, device), tokenizer, start)


def _load(auto: type, place: str | Path, call: str) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    from transformers import AutoTokenizer

    if isinstance(place, Path) and not place.is_dir():
        raise ValueError(f"There is no folder {place}: give one that transformers wrote, or a name on the hub.")
    try:
        return auto.from_pretrained(place, dtype=torch.float32), AutoTokenizer.from_pretrained(place)
    except OSError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError | HFValidationError):
            raise ValueError(f"The hub has no model {place!s} that you may read: check its name, or log in.") from error
        raise ConnectionError(
            f"Model {place!s} could not be loaded (no network, the hub is out of reach, or a file is missing): connect "
            f"and run this again, or use {call}(), which needs no hub."
        ) from error


def _frozen(model: "PreTrainedModel", device: torch.device | str | None) -> "PreTrainedModel":
    return model.requires_grad_(False).eval().to(device or "cpu")
