"""Spelling (codespell's list of common mistakes), one English (British), and nothing left lying about in the text."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import codespell_lib
import pytest
from prose import CODE, MARKDOWN, ROOT, SOURCES, Passage, blank, passages, without_code

WORDS = ROOT / "tests" / "words.txt"  # right here, wrong for codespell; one a line, in small letters
# In codespell's American list, and right in British English too: as another word, or as somebody's name for a thing.
BRITISH_TOO = set("analog biased license program programs prize size sized stories story tokenizer tokenizers".split())
BRITISH_TOO |= {"writable"}
IZE = re.compile(r"\b\w{3,}i(?:z(?:e[ds]?|ers?|ing|ations?))\b")
LEFT = {
    "a note to oneself": re.compile(r"\b(?:TODO|FIXME|XXX|TBC)\b|(?i:\blorem ipsum\b)"),
    "a path of one machine": re.compile(r"(?<![\w.:/~-])(?:/(?:home|root|Users|work|mnt|opt|var|srv)/|[A-Z]:\\\w)"),
    "a dash for decoration": re.compile(r"\u2014"),
    "a picture sign": re.compile("[\U0001f300-\U0001faff\u2600-\u26ff\u2705\u274c\u2b50]"),
}


def codespell(*files: Path) -> str:
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words", WORDS, *files]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False).stdout


def test_spelling():
    """Samples of a small model, in the checkpoints' cards, are spelled as it likes; notebooks follow their sources."""
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path.name != Path(__file__).name]
    files = [path for path in [*MARKDOWN, *SOURCES, *CODE, *tests] if "checkpoints" not in path.parts]
    assert codespell(*files, ROOT / "Makefile") == ""


def test_a_mistake_is_found(tmp_path):
    (tmp_path / "x.md").write_text("A langauge model,\nand the noize that it recieves in vermillion.")
    assert re.findall(r":(\d): (\w+) ==>", codespell(tmp_path / "x.md")) == [("1", "langauge"), ("2", "recieves")]


@cache
def american() -> dict[str, str]:
    """Codespell's British to American list, read backwards, without words that are British in another sense."""
    lines = (Path(codespell_lib.__file__).parent / "data" / "dictionary_en-GB_to_en-US.txt").read_text().splitlines()
    pairs = [(us.strip(), gb) for gb, _, uss in (line.partition("->") for line in lines) for us in uss.split(",")]
    return {us: gb for us, gb in pairs if us and us not in BRITISH_TOO}


def plain(passage: Passage) -> str:
    """Prose alone: no code, formulas, addresses, markup, and no titles (three words or more in italics)."""
    text = blank(without_code(passage.text), r"(?<![*\w])\*\w+(?:[\s:-]+\w+){2,}\*(?![*\w])")
    return blank(blank(text, r"https?://\S+"), r"<[^>\n]*>|\w*[_(.=/]\w+[\w(.=/]*|\w+=")


def foreign(passage: Passage) -> Iterator[str]:
    text = plain(passage)
    for found in re.finditer(r"[A-Za-z]+", text):
        word = found.group().lower()
        if word in american():
            yield f"{passage.place(found.start())}: {found.group()}, in British {american()[word]}"
        elif IZE.fullmatch(word) and word not in BRITISH_TOO:
            yield f"{passage.place(found.start())}: {found.group()}, in British {word.replace('iz', 'is')}"


def test_one_english():
    found = [problem for passage in passages() for problem in foreign(passage)]
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(
    "text, words",
    [
        ("the color of a normalized vector", ["color", "normalized"]),
        ("discretize the favorite behavior", ["discretize", "favorite", "behavior"]),
        ("Colour, `color=`, $color$, a prize of any size, `normalize`", []),
        ("an optimizer: `optimizer.step()`, torch.nn.functional.normalize(x)", ["optimizer"]),
        ("*Generalized interpolating\ndiscrete diffusion* is a title", []),
        ("see https://example.org/color", []),
    ],
)
def test_american_words_are_found(text, words):
    assert [problem.split(": ")[1].split(",")[0] for problem in foreign(Passage(ROOT / "x.md", 1, text))] == words


def left(passage: Passage) -> Iterator[str]:
    for what, pattern in LEFT.items():
        for found in pattern.finditer(passage.text):
            yield f"{passage.place(found.start())}: {what}: {found.group()}"


def test_nothing_is_left_lying_about():
    found = [problem for passage in passages() for problem in left(passage)]
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(
    "text, what",
    [
        ("TODO: measure", "note"),
        ("TODO-NUMBER nats", "note"),
        ("saved to /home/ada/x.pt", "path"),
        ("in C:\\Users\\ada", "path"),
        ("good \u2014 better", "dash"),
        ("well done \U0001f389", "picture sign"),
    ],
)
def test_what_is_left_is_found(text, what):
    assert any(what in problem for problem in left(Passage(ROOT / "x.md", 1, text)))


@pytest.mark.parametrize(
    "text", ["https://example.org/home/x", "lessons/work/x", "1/opt/2", "2012\u20132014", "autodoc"]
)
def test_what_may_stand_passes(text):
    assert not list(left(Passage(ROOT / "x.md", 1, text)))
