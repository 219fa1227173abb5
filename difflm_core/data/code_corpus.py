"""Python code that is on every machine: the functions of the standard library, each cut into a head and a body.

The standard library comes with Python under the PSF License Version 2, which permits use and redistribution. A few of
its files carry terms of their own: every file that speaks of a copyright or a licence is left out, and so are tests,
files that only hand on other packages, and what is no function of ordinary size. Nothing is imported or executed: the
files are read as text.

A head is all up to the body: decorators, `def`, arguments, and the docstring if there is one. Infilling a body from its
head is the task.
"""

import ast
import hashlib
import io
import json
import os
import re
import sys
import sysconfig
import textwrap
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer
from torch import Tensor

from difflm_core.data.cache import cache_folder, staging
from difflm_core.data.tokenizers import encode, separator_id

if TYPE_CHECKING:
    from datasets import Dataset

LICENCE = "PSF License Version 2 (Python Software Foundation)"
LEFT_OUT = {
    "test",
    "tests",
    "idle_test",
    "site-packages",
    "dist-packages",
    "_vendor",
    "_bundled",
    "lib2to3",
    "turtledemo",
}
OWN_TERMS = re.compile(r"copyright|licen[sc]e", re.IGNORECASE)


@dataclass(frozen=True)
class Function:
    """One function, at the margin: `head` ends with a line break, `body` is indented as it was under it."""

    name: str
    head: str
    body: str

    @property
    def text(self) -> str:
        return self.head + self.body


def library_files(folder: Path | None = None) -> list[Path]:
    """The files that are used, in sorted order; `folder` is the standard library of this Python by default."""
    root = Path(sysconfig.get_paths()["stdlib"]) if folder is None else folder
    found: list[Path] = []
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in LEFT_OUT]  # not even looked into
        found += [Path(place) / name for name in files if name.endswith(".py") and "test" not in name]
    return sorted(found)


def readable(path: Path) -> str | None:
    """The text of a file under the library's own licence; None for terms of its own, or no UTF-8."""
    try:
        text = path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):
        return None
    return None if OWN_TERMS.search(text) else text.expandtabs(8)


def functions(source: str) -> Iterator[Function]:
    """The functions of a file, methods too, but none inside another function; none of a file that does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    lines = lines_of(source)
    for holder in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]:
        for node in holder.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (found := cut(node, lines)):
                yield found


def cut(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> Function | None:
    """Head and body, moved to the margin; None for a function without a body of its own, or on one line."""
    has_docstring = ast.get_docstring(node, clean=False) is not None
    inside = node.body[has_docstring:]
    ends = node.body[0].end_lineno if has_docstring else signature_end(lines, node.lineno)
    if not inside or inside[0].lineno <= ends or all(says_nothing(statement) for statement in inside):
        return None
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    pieces = lines_of(textwrap.dedent("".join(lines[first : node.end_lineno])))
    return Function(node.name, "".join(pieces[: ends - first]), "".join(pieces[ends - first :]))


def lines_of(source: str) -> list[str]:
    """As Python counts them: `str.splitlines` would also cut at form feeds, which old files hold."""
    return io.StringIO(source).readlines()


def says_nothing(statement: ast.stmt) -> bool:
    """`pass` and `...`"""
    return (
        isinstance(statement, ast.Pass) or isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def signature_end(lines: list[str], start: int) -> int:
    """The number of the line with the colon that ends the `def` of line `start`, both counted from 1."""
    depth = 0
    for token in tokenize.generate_tokens(iter(lines[start - 1 :]).__next__):
        depth += (token.string in ("(", "[", "{")) - (token.string in (")", "]", "}"))
        if token.string == ":" and not depth:
            return start - 1 + token.end[0]
    return start


def parses(source: str) -> bool:
    """Is this Python? No line of it is executed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _functions_of(folder: Path | None, shortest: int, longest: int) -> tuple[tuple[str, Function], ...]:
    """(module, function), each text once."""
    found: dict[str, tuple[str, Function]] = {}
    for path in library_files(folder):
        if (text := readable(path)) is None:
            continue
        for function in functions(text):
            small = shortest <= len(function.text) <= longest and function.text.isascii()
            if small and function.text not in found and parses(function.text):
                found[function.text] = (path.stem, function)
    return tuple(found.values())


def library_functions(shortest: int = 60, longest: int = 800, folder: Path | None = None) -> "Dataset":
    """Functions of `shortest` to `longest` ASCII characters, each once and each one parsing by itself: columns module,
    name, head, body, text. 8,000 of them, 2.3 MB, with Python 3.11; which, depends on its version. Found once (13
    seconds of one core), then kept in the cache folder.

    Licence: PSF License Version 2. Raises ValueError where there is none of that size.
    """
    if not 1 <= shortest <= longest:
        raise ValueError(f"shortest = {shortest} and longest = {longest} characters: need 1 <= shortest <= longest.")
    if folder is not None:
        return _dataset(_columns(folder, shortest, longest))
    kept = cache_folder() / "corpora" / f"python-functions-{shortest}-{longest}-{_edition()}.json"
    if not kept.exists():
        columns = _columns(None, shortest, longest)
        with staging(kept.parent) as scratch:
            (scratch / kept.name).write_text(json.dumps(columns), encoding="utf-8")
            os.replace(scratch / kept.name, kept)
    return _dataset(json.loads(kept.read_text(encoding="utf-8")))


def _columns(folder: Path | None, shortest: int, longest: int) -> dict[str, list[str]]:
    rows = _functions_of(folder, shortest, longest)
    if not rows:
        raise ValueError(f"There is no function of {shortest} to {longest} characters in the standard library here.")
    columns = {"module": [module for module, _ in rows]}
    return columns | {part: [getattr(f, part) for _, f in rows] for part in ("name", "head", "body", "text")}


def _dataset(columns: dict[str, list[str]]) -> "Dataset":
    from datasets import Dataset, DatasetInfo

    return Dataset.from_dict(columns, info=DatasetInfo(description="Python's standard library", license=LICENCE))


def _edition() -> str:
    """Changes with the version of Python and with this file, so that stale functions are never taken."""
    digest = hashlib.sha256(sys.version.encode() + Path(__file__).read_bytes())
    return digest.hexdigest()[:10]


def infilling_rows(
    heads: list[str], bodies: list[str], tokenizer: Tokenizer, length: int, end: int | None = None
) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
    """(x, answer) for `objectives.answer_nelbo`: head, body, and the end token up to `length`; `answer` is True from
    the body on. `end` is the tokenizer's separator by default. Raises ValueError for a function that does not fit.
    """
    from difflm_core.objectives import answer_rows  # the room of objectives stands behind this one

    end = separator_id(tokenizer) if end is None else end
    if end is None:
        raise ValueError("The tokenizer has no token that ends a text: give one as `end`.")
    cut_up = lambda texts: [encode(tokenizer, text, None) for text in texts]  # noqa: E731
    return answer_rows(cut_up(heads), cut_up(bodies), length, end)


def completed(tokenizer: Tokenizer, row: Int[Tensor, "L"], end: int) -> str:
    """The code on a canvas, up to the first end token."""
    ids = row.tolist()
    return tokenizer.decode(ids[: ids.index(end)] if end in ids else ids, skip_special_tokens=False)


def holes(body: str, generator: torch.Generator | None = None) -> tuple[str, str, str]:
    """(before, line, after): a body with one of its lines taken out, each equally likely, for infilling between two
    sides. Empty lines are not taken. Raises ValueError for a body without a line.
    """
    lines = body.splitlines(keepends=True)
    chosen = [i for i, line in enumerate(lines) if line.strip()]
    if not chosen:
        raise ValueError("The body has no line to take out.")
    i = chosen[int(torch.randint(len(chosen), (1,), generator=generator))]
    return "".join(lines[:i]), lines[i], "".join(lines[i + 1 :])
