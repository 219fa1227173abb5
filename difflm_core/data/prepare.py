"""`python -m difflm_core.data.prepare NAME`: a corpus of any size into token files, in parallel.

    python -m difflm_core.data.prepare owt-gpt2                            OpenWebText, the GPT-2 tokenizer
    python -m difflm_core.data.prepare mine --text books --bpe 8192        your own .txt files, a BPE learned from them
    python -m difflm_core.data.prepare stories --hub roneneldan/TinyStories --held-out validation --bpe 8192

One process reads, the others tokenise; each portion of documents becomes one file, written beside and renamed. Whatever
cuts the work off, the same command goes on: a file whose texts and bytes are as they were is kept, the rest is made.
So it also repairs a folder, and says of a whole one that it is whole.
"""

import errno
import hashlib
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import tyro
from tokenizers import Tokenizer
from tqdm.auto import tqdm

from difflm_core.data.batches import encoded, grouped
from difflm_core.data.cache import cache_folder, hash_of_texts
from difflm_core.data.origins import CORPORA, Origin
from difflm_core.data.token_files import FORMAT, TokenFile, hash_of

PORTION = 50_000_000  # characters: about 12 million BPE tokens, 25 MB a file
PARTS = ("train", "held_out")


def prepared_folder(name: str) -> Path:
    """Where the corpus of that name is kept: in the cache folder, or where `name`, a path, says."""
    return cache_folder() / "tokens" / name if os.sep not in name and "/" not in name else Path(name)


def prepare(origin: Origin, folder: Path, workers: int = 1, portion: int = PORTION, progress: bool = True) -> dict:
    """Write the token files of a corpus, or those that are missing; returns what about.json says.

    Raises ValueError for a folder that holds another corpus and for text outside the vocabulary, OSError where nothing
    can be written, ConnectionError without a network, RuntimeError where a worker was killed.
    """
    folder = Path(folder)
    origin.check()
    claim(folder, origin, portion)
    tokenizer = tokenizer_of(folder, origin)
    dtype = np.dtype(np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32)
    about = {"format": FORMAT, "origin": plain(origin), "V": tokenizer.get_vocab_size(), "dtype": dtype.name}
    files: list[dict] = []
    for part in PARTS:
        (folder / part).mkdir(exist_ok=True)
        written = in_parallel(
            Work(folder, part, dtype.name), portions_of(origin, part, portion), tokenizer.to_str(), workers
        )
        done = list(with_bar(written, part, progress))
        remove_strays(folder / part, {Path(file.name).stem for file in done})
        about[f"{part}_tokens"] = sum(file.tokens for file in done)
        files += map(asdict, done)
    write(folder / "about.json", (json.dumps(about | {"files": files}, indent=1) + "\n").encode())
    return about | {"files": files}


def with_bar(files: Iterable[TokenFile], part: str, progress: bool) -> Iterator[TokenFile]:
    with tqdm(desc=part, unit=" documents", unit_scale=True, disable=not progress, mininterval=1.0) as bar:
        for file in files:
            yield file
            bar.update(file.documents)


def remove_strays(folder: Path, numbers: set[str]) -> None:
    """What a killed worker had begun, and files of a longer text before."""
    for path in folder.iterdir():
        if path.suffix == ".part" or path.stem not in numbers:
            path.unlink()


@dataclass(frozen=True)
class Portion:
    """Some documents; `first` is the number of the first one in its part."""

    number: int
    first: int
    texts: list[str]


def portions_of(origin: Origin, part: str, characters: int) -> Iterator[Portion]:
    """Documents in order, as many together as have that many characters."""
    first = 0
    for number, texts in enumerate(grouped(origin.documents(part), characters)):
        if texts:
            yield Portion(number, first, texts)
        first += len(texts)


@dataclass(frozen=True)
class Work:
    """What a worker does with a portion: tokenise, write the file, and a note on it."""

    folder: Path
    part: str
    dtype: str

    def __call__(self, portion: Portion, tokenizer: Tokenizer) -> TokenFile:
        path = self.folder / self.part / f"{portion.number:05d}.bin"
        note, texts = path.with_suffix(".json"), hash_of_texts(portion.texts)
        if (done := noted(note, path, texts)) is not None:
            return done
        tokens = np.concatenate(list(encoded(grouped(portion.texts), tokenizer, portion.first))).astype(self.dtype)
        (self.folder / "about.json").unlink(missing_ok=True)  # until it is back, the folder is not whole
        write(path, tokens.tobytes())
        file = TokenFile(
            f"{self.part}/{path.name}", len(tokens), len(portion.texts), hashlib.sha256(tokens.tobytes()).hexdigest()
        )
        write(note, json.dumps({"texts": texts, **asdict(file)}).encode())
        return file


def noted(note: Path, path: Path, texts: str) -> TokenFile | None:
    """The file that a worker finished for the same texts, if its bytes are still what they were."""
    try:
        said = json.loads(note.read_text())
        same = said.pop("texts") == texts
        file = TokenFile(**said)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return file if same and hash_of(path) == file.sha256 else None


_tokenizer: Tokenizer | None = None  # a worker's own


def start_worker(tokenizer: str) -> None:
    global _tokenizer
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    _tokenizer = Tokenizer.from_str(tokenizer)


def in_worker(work: Callable[[Portion, Tokenizer], TokenFile], portion: Portion) -> TokenFile:
    return work(portion, _tokenizer)


def in_parallel(
    work: Callable[[Portion, Tokenizer], TokenFile], portions: Iterable[Portion], tokenizer: str, workers: int
) -> Iterator[TokenFile]:
    """work(portion, tokenizer) of every portion, in order, by so many processes; twice as many portions wait in
    memory.
    """
    if workers == 1:
        yield from (work(portion, Tokenizer.from_str(tokenizer)) for portion in portions)
        return
    waiting: deque[Future] = deque()
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, start_worker, (tokenizer,)) as pool:
        try:
            for portion in portions:
                waiting.append(pool.submit(in_worker, work, portion))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                "One of the processes was killed, perhaps for want of memory: take fewer --workers, and run the same "
                "command again; what is finished stays."
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def claim(folder: Path, origin: Origin, portion: int) -> None:
    """Say in the folder what it is for; refuse one that is for something else."""
    path, wanted = folder / "origin.json", {"portion": portion, **plain(origin)}
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder} holds other files: name an empty folder, or one that does not exist yet.")
        make_folder(folder)
        write(path, (json.dumps(wanted, indent=1) + "\n").encode())
    elif json.loads(path.read_text(encoding="utf-8")) != wanted:
        raise ValueError(
            f"{folder} was begun with other settings (they are in {path.name}): name another folder, or delete it."
        )


def tokenizer_of(folder: Path, origin: Origin) -> Tokenizer:
    """The folder's tokenizer, made or fetched once."""
    path = folder / "tokenizer.json"
    if not path.exists():
        write(path, origin.make_tokenizer().to_str(pretty=True).encode())
    return Tokenizer.from_file(str(path))


def write(path: Path, content: bytes) -> None:
    """The whole file or nothing, on the disk before it has its name. Raises OSError with a sentence."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        advice = (
            "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose a folder you may write to"
        )
        raise OSError(
            error.errno,
            f"Could not write {path} ({error.strerror or error}): {advice}, and run the same command again; finished "
            "files stay.",
        ) from error


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"Could not make {folder} ({error.strerror}): choose another folder.") from error


def plain(origin: Origin) -> dict:
    return json.loads(json.dumps(asdict(origin), default=str))


@dataclass(frozen=True)
class Command:
    """Turn a corpus into token files, which recipes read: --data.name NAME. Known names need nothing more:
    owt-gpt2, lm1b-bert, text8 (with the unpacked file text8 here, or --text PATH).
    """

    name: tyro.conf.Positional[str]
    """A known corpus, or the name that yours shall have; a path is taken as it is."""
    origin: tyro.conf.OmitArgPrefixes[Origin] = field(default_factory=Origin)
    workers: int = max(1, (os.cpu_count() or 1) - 1)
    """Processes that tokenise."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 stopped by an error (one sentence on it), 2 not understood, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name = next((word for word in arguments if word in CORPORA), None)
    try:
        known = {"default": Command(name, CORPORA[name])} if name else {}
        command = tyro.cli(Command, args=arguments, prog="python -m difflm_core.data.prepare", **known)
        if command.workers < 1:
            raise ValueError(f"At least one process must work, got --workers {command.workers}.")
        folder = prepared_folder(command.name)
        about = prepare(command.origin, folder, command.workers)
    except KeyboardInterrupt:
        print("Interrupted. Finished files stay: the same command goes on.", file=sys.stderr)
        return 130
    except (OSError, ValueError, RuntimeError) as error:
        print(f"Stopped: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
    print(
        f"{folder}: V = {about['V']:,}, {about['train_tokens']:,} tokens to train on and {about['held_out_tokens']:,} "
        f"held out, in {len(about['files'])} files."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
