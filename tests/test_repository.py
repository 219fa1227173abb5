"""The pages at the top of the repository: who wrote it, how it is cited, how it is changed."""

import re
import tomllib

import pytest
import yaml
from prose import ROOT

import difflm_core
from difflm_core.classroom.results_table import PAPERS, results_table, with_table

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Of the schema of the Citation File Format 1.2.0: what must be there, and what may be beside it at the top level.
NEEDED = {"authors", "cff-version", "message", "title"}
ALLOWED = NEEDED | set(
    """abstract commit contact date-released doi identifiers keywords license license-url preferred-citation references
    repository repository-artifact repository-code type url version""".split()
)


def faults(citation: dict) -> list[str]:
    """What a reader of the schema would refuse."""
    found = [f"{key} is missing" for key in sorted(NEEDED - citation.keys())]
    found += [f"{key} is no key" for key in sorted(citation.keys() - ALLOWED)]
    if citation.get("cff-version") != "1.2.0":
        found.append("cff-version is not 1.2.0")
    if citation.get("type", "software") not in ("software", "dataset"):
        found.append("type is neither software nor dataset")
    for author in citation.get("authors") or [{}]:
        if not ("name" in author or "family-names" in author):
            found.append("an author has no name")
    if not all(isinstance(word, str) for word in citation.get("keywords", [])):
        found.append("a keyword is no text")
    return found


def test_the_citation_file_is_valid_and_agrees_with_the_rest():
    assert not faults(CITATION)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [author["name"] for author in CITATION["authors"]]
    assert names == [author["name"] for author in project["authors"]] and CITATION["license"] == project["license"]
    assert all(name in (ROOT / "LICENSE").read_text(encoding="utf-8") for name in names)
    assert str(CITATION["version"]) == difflm_core.__version__
    assert README.startswith(f"# {CITATION['title']}\n")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"message": None}, "message is missing"),
        ({"author": "me"}, "author is no key"),
        ({"cff-version": 1.2}, "not 1.2.0"),
        ({"authors": [{"given-names": "Ada"}]}, "no name"),
        ({"authors": []}, "no name"),
        ({"type": "course"}, "neither"),
        ({"keywords": [2026]}, "no text"),
    ],
)
def test_a_bad_citation_file_is_refused(change, message):
    changed = {key: value for key, value in (CITATION | change).items() if value is not None}
    assert any(message in fault for fault in faults(changed))


def test_the_language_of_ones_own_runs(capsys):
    """The Python of CONTRIBUTING.md: the exact denoiser's bound is the entropy, up to the draws."""
    [code] = re.findall(r"^```python\n(.+?)^```", CONTRIBUTING, re.M | re.S)
    exec(compile(code, "CONTRIBUTING.md", "exec"), {})
    entropy, bound = re.findall(r"\d\.\d+", capsys.readouterr().out)
    assert abs(float(entropy) - float(bound)) < 0.03


def test_readme_names_every_target_of_make_and_every_lesson():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M)) - {"help", "environment"}
    assert not [target for target in sorted(targets) if f"make {target}" not in README + CONTRIBUTING]
    for path in (ROOT / "lessons").glob("[0-9]*.ipynb"):
        assert f"](lessons/{path.name})" in README, f"README has no row for {path.name}"
    for page in ("CONTRIBUTING.md", "CITATION.cff", "LICENSE", *sorted(p.name for p in (ROOT / "docs").glob("*.md"))):
        assert f"{page})" in README, f"README does not link {page}"


def test_minutes_in_readme_are_those_of_the_lessons():
    for path in (ROOT / "lessons" / "source").glob("[0-9]*.py"):
        said = re.search(rf"{path.stem}\.ipynb\).*?(\d+) minutes to read, (\d+) of computing", README)
        stated = re.search(r"\*\*Minutes\*\* (\d+) to read, (?:about )?(\d+) of computing", path.read_text("utf-8"))
        if said:
            assert stated and said.groups() == stated.groups(), path.stem


def test_contributing_stays_short():
    assert len(CONTRIBUTING.splitlines()) <= 120


def test_the_table_of_results_is_that_of_the_stored_studies():
    """Else run `python -m difflm_core.classroom.results_table`."""
    assert with_table(README) == README
    table = results_table().splitlines()
    assert len({line.count("|") for line in table}) == 1, "every row has all columns"
    for line, (said, _, paper) in zip(table[2:], PAPERS.values()):
        assert f"arxiv.org/abs/{paper}" in line and (said or "") in line
