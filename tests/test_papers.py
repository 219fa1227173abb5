"""Every arXiv id in the course belongs to the author, the year and the title beside it (the list: tests/papers.tsv)."""

import csv
import re
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import pytest
from prose import ROOT, Passage, passages

ID = re.compile(r"(?<![\d.])(?:0[7-9]|[12]\d)(?:0[1-9]|1[0-2])\.\d{4,5}(?![\d.]*\d)")
CLAIMED = re.compile(r"(?i)arxiv(?:\.org/abs/|[:\s]+)(\d[\w./]*)")  # what is said to be an id
BEFORE = 250  # characters in which the paper must be named; in a table its row
CITED = re.compile(
    r"[A-Z]\w+,? (?:et al\. |(?:&|and) \w+ )?(?:19|20)\d\d\W*$"
)  # somebody's name and a year, then the id


class Paper(NamedTuple):
    id: str
    year: str
    author: str
    names: str
    title: str

    def called(self) -> str:
        """A pattern for the first author or a short name, over the end of a line too; - and _ pass for a space."""
        names = [self.author, *filter(None, map(str.strip, self.names.split(",")))]
        return r"\b(?:" + "|".join(re.sub(r"[\s_-]", r"[\\s_-]+", name) for name in names) + r")\b"


def papers() -> dict[str, Paper]:
    lines = (ROOT / "tests" / "papers.tsv").read_text(encoding="utf-8").splitlines()
    rows = csv.reader((line for line in lines if not line.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE)
    return {row[0]: Paper(*row) for row in rows}


PAPERS = papers()


def well_formed(id: str) -> bool:
    """YYMM.NNNN up to 2014, YYMM.NNNNN since."""
    return bool(re.fullmatch(r"\d{4}\.\d{4,5}(v\d+)?", id)) and len(re.split("[.v]", id)[1]) == 4 + (id >= "1501")


def problems(*passages: Passage) -> Iterator[str]:
    """Of the passages of one file. Its first mention names the paper; a later one may be the id alone."""
    named, bare = set(), []
    for passage in passages:
        text, end = passage.text, 0
        for found in CLAIMED.finditer(text):
            if not well_formed(id := found[1].rstrip(".")):
                yield f"{passage.place(found.start())}: {id} is no arXiv id"
        for found in ID.finditer(text):
            place, id, start = passage.place(found.start()), found.group(), found.start()
            row = text.rfind("\n", 0, start) + 1
            begin = row if text[row] == "|" else max(end, start - BEFORE)
            before, end = text[begin:start].split("\n\n")[-1], found.end()
            if id not in PAPERS:
                yield f"{place}: {id} is not in tests/papers.tsv"
            elif mentions := list(re.finditer(PAPERS[id].called(), before, re.I)):
                named.add(id)
                yield from (f"{place}: {id} {what}" for what in disagreements(PAPERS[id], before[mentions[0].end() :]))
            else:
                bare.append((id, f"{place}: {id} is by {PAPERS[id].author}, who is not named here", before))
    yield from (said for id, said, before in bare if id not in named or CITED.search(before))


def disagreements(paper: Paper, between: str) -> Iterator[str]:
    """What stands between the author's name and the id: the year, and perhaps the title in italics."""
    for year in re.findall(r"\b(?:19|20)\d\d\b(?!\.\d)", between):
        if year != paper.year:
            yield f"is cited as of {paper.year}, not {year}"
    for title in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", between):
        words = re.sub(r"\s+", " ", title).lower()
        if len(words.split()) >= 3 and words not in (paper.title.lower(), paper.title.lower().split(": ")[-1]):
            yield f"is {paper.title!r}, not {title!r}"


def test_every_id_belongs_to_what_is_said_of_it():
    files = groupby(passages(), lambda passage: passage.path)
    found = [problem for _, of_file in files for problem in problems(*of_file)]
    assert not found, "\n".join(["", *found])


def test_the_list_itself():
    assert all(map(well_formed, PAPERS)) and list(PAPERS) == sorted(PAPERS)
    assert len({paper.title.lower() for paper in PAPERS.values()}) == len(PAPERS)
    assert all(int("20" + id[:2]) <= int(paper.year) <= int("20" + id[:2]) + 1 for id, paper in PAPERS.items())


@pytest.mark.parametrize(
    "text",
    [
        "Sahoo et al. 2024 (arXiv 2406.07524), MDLM. Austin et al. 2021 (2107.03006)",
        "von\nRütte et al. 2025, *Generalized interpolating\ndiscrete diffusion* (arXiv 2503.04482 v2)",
        "`entropy_bound` (arXiv 2505.24857), and a loss of 2201.5 nats",
        "[MDLM](https://arxiv.org/abs/2406.07524)",
        "| MDLM and LLaDA | 8B | 2502.09992; 2406.07524 |",
        "The loss (2406.07524).\n\nSahoo et al. 2024 (2406.07524)",
    ],
)
def test_right_mentions_pass(text):
    assert not list(problems(Passage(ROOT / "x.md", 1, text)))


@pytest.mark.parametrize(
    "text, message",
    [
        ("Sahoo et al. 2024 (arXiv 2406.0752)", "no arXiv id"),
        ("Kingma 2014 (arXiv 1312.61145)", "no arXiv id"),
        ("see arXiv:24067524", "no arXiv id"),
        ("Sahoo et al. 2024 (arXiv 2406.07525)", "not in tests/papers.tsv"),
        ("Austin et al. 2021 (2406.07524)", "by Sahoo"),
        ("Sahoo et al. 2024 (2406.07524), and its twin (2406.04329)", "by Shi"),
        ("Sahoo et al. 2024 (2406.07524). Austin et al. 2021 (2406.07524)", "by Sahoo"),
        ("MDLM |\n| LLaDA | 2406.07524 |", "by Sahoo"),
        ("Sahoo et al. 2023 (2406.07524)", "cited as of 2024"),
        ("Sahoo et al. 2024, *Simple masked diffusion language models* (2406.07524)", "not 'Simple masked"),
    ],
)
def test_wrong_mentions_are_found(text, message):
    assert any(message in problem for problem in problems(Passage(ROOT / "x.md", 1, text)))


def test_a_place_counts_lines():
    assert next(problems(Passage(ROOT / "x.md", 5, "one\ntwo\nSahoo (2406.07525)"))).startswith("x.md:7:")
