"""What the course says to its readers, in passages that know where they stand: Markdown, text cells, docstrings,
comments and longer strings. test_links.py, test_papers.py and test_prose.py hold rules against them.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARKDOWN = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "figures/*.md", "lessons/*.md", "lessons/checkpoints/*/*.md")
    for path in ROOT.glob(pattern)
)
SOURCES = sorted((ROOT / "lessons" / "source").glob("*.py"))
NOTEBOOKS = sorted([*(ROOT / "lessons").glob("*.ipynb"), *(ROOT / "lessons" / "solutions").glob("*.ipynb")])
CODE = sorted([*(ROOT / "difflm_core").rglob("*.py"), ROOT / "setup_env.py"])
SAID = 4  # a string of as many words is read by somebody
COMMENT = re.compile(r"(?:^\s*|  )#+ (.*)")  # ruff asks for the spaces
STYLE = re.compile(r"<style|<script|\{ ?[\w-]+: ")  # a string for a browser, not for a reader


@dataclass(frozen=True)
class Passage:
    """Text of one file from one line on, with the line breaks of the file."""

    path: Path
    line: int
    text: str

    def place(self, offset: int = 0) -> str:
        """file:line of a character of the text."""
        return f"{self.path.relative_to(ROOT)}:{self.line + self.text.count(chr(10), 0, offset)}"


def blank(text: str, pattern: str, flags: int = 0) -> str:
    """The text with spaces where the pattern was, so that lines and offsets stay."""
    return re.sub(pattern, lambda found: re.sub(r"[^\n]", " ", found.group()), text, flags=flags)


def without_code(text: str) -> str:
    """Markdown without fenced blocks, code and formulas."""
    text = blank(text, r"^ *(```+|~~~+).*?^ *\1", re.M | re.S)
    text = blank(text, r"(`+)(?!`).+?(?<!`)\1(?!`)", re.S)
    return blank(blank(text, r"\$\$.+?\$\$", re.S), r"(?<!\\)\$[^$\n]+?\$")


def in_file(path: Path) -> list[Passage]:
    return [Passage(path, 1, path.read_text(encoding="utf-8"))]


def in_cells(path: Path) -> list[Passage]:
    """The text cells of a lesson's source, without their comment signs."""
    found, start, lines = [], 0, []
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), "# %%"], 1):
        if line.startswith("# %%"):
            if lines:
                found.append(Passage(path, start, "\n".join(lines)))
            start, lines = (number + 1 if "[markdown]" in line else 0), []
        elif start:
            lines.append(line.removeprefix("#").removeprefix(" "))
    return found


def in_notebook(path: Path) -> list[Passage]:
    """Text cells; the line is that of the cell in the file, roughly."""
    raw, found, at = path.read_text(encoding="utf-8"), [], 0
    for cell in json.loads(raw)["cells"]:
        at = max(at, raw.find(f'"id": "{cell["id"]}"', at))
        if cell["cell_type"] == "markdown":
            found.append(Passage(path, raw.count("\n", 0, at) + 1, "".join(cell["source"])))
    return found


def in_code(path: Path, cells: bool = False) -> Iterator[Passage]:
    """Docstrings, strings of at least four words and comments; `cells`: comments that are no text cell."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if len(text.split()) >= SAID and not STYLE.search(text):
            yield Passage(path, node.lineno, text)
    comments = {}
    for number, line in enumerate(source.splitlines(), 1):
        if (found := COMMENT.search(line)) and not (cells and line.startswith("#")):
            comments[number] = found[1]
    for first in sorted(number for number in comments if number - 1 not in comments):
        block = []
        while first + len(block) in comments:
            block.append(comments[first + len(block)])
        yield Passage(path, first, "\n".join(block))


@cache
def passages() -> tuple[Passage, ...]:
    """Everything but tests and notebooks; the text of these is that of their sources (test_notebooks.py)."""
    markdown = [passage for path in MARKDOWN for passage in in_file(path)]
    lessons = [passage for path in SOURCES for passage in [*in_cells(path), *in_code(path, cells=True)]]
    return (*markdown, *lessons, *(passage for path in CODE for passage in in_code(path)))
