"""Links and commands in the text: every relative one leads somewhere, addresses are whole, and what is called exists.

Nothing is fetched: whether a page on the network still stands is not tested.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from prose import MARKDOWN, NOTEBOOKS, ROOT, Passage, blank, in_file, in_notebook, passages, without_code

LINK = re.compile(r"\]\(\s*<?([^)\s>]*)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]\n]+\]:\s+(\S+)", re.M)  # inline, by reference
HTML = re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)=[\"']([^\"']*)[\"']")
ADDRESS = re.compile(r"\b[a-z]+://[^\s<>\"'`)\]}]*")
NAMESPACE = "http://www.w3.org/"  # names of XML, not pages
FILE = re.compile(r"`((?:docs|figures|lessons|tests|difflm_core)/[\w./-]+\.(?:py|md|json|tsv|txt|ipynb))`")
MODULE = re.compile(r"-m (difflm_core(?:\.\w+)*)")
TARGET = re.compile(r"(?:`|^|&& |\b(?:run|with|by|of) )make ([a-z]+)\b", re.M)


@cache
def anchors(path: Path) -> frozenset[str]:
    """What may follow # in a link to this file: headings, named as GitHub does (.md) or as JupyterLab does (.ipynb)."""
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    else:
        texts = [path.read_text(encoding="utf-8")]
    found: dict[str, int] = {}
    for text in texts:
        for heading in re.findall(
            r"^#{1,6} +(.+?)(?: #+)?$", blank(text, r"^ *(```+|~~~+).*?^ *\1", re.M | re.S), re.M
        ):
            heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
            github = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            name = heading.replace(" ", "-") if path.suffix == ".ipynb" else github
            found[name] = found.get(name, 0) + 1
    repeated = {f"{name}-{copy}" for name, times in found.items() for copy in range(1, times)}
    named = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", "\n".join(texts)))
    return frozenset(found.keys() | repeated | named)


def fault(target: str, base: Path) -> str | None:
    """What is wrong with a link in the file `base`, or None."""
    if "://" in target:
        return None  # see `addresses`
    if not target or re.match(r"[a-z]+:", target) or target.startswith("/"):
        return "leads nowhere: write a relative path or an https address"
    name, _, anchor = unquote(target).partition("#")
    path = (base.parent / name).resolve() if name else base
    if not path.exists() or not path.is_relative_to(ROOT):
        return "is not there"
    if anchor and anchor not in anchors(path):
        return f"has no such heading; there are: {', '.join(sorted(anchors(path)))}"
    return None


def links(passage: Passage) -> Iterator[str]:
    text = without_code(passage.text)
    for found in [*LINK.finditer(text), *HTML.finditer(text)]:
        target = found[found.lastindex or 1] or ""
        if wrong := fault(target, passage.path):
            yield f"{passage.place(found.start())}: {target or 'an empty link'} {wrong}"


def addresses(passage: Passage) -> Iterator[str]:
    for found in ADDRESS.finditer(passage.text):
        address = found.group().rstrip(".,;:!?*")
        parts = urlsplit(address)
        host = parts.hostname or ""
        whole = re.fullmatch(r"(?:[a-z0-9-]+\.)+[a-z]{2,}", host) and not re.search(r"[^\w./~%?=&#:@+,;!()-]", address)
        if not address.startswith(NAMESPACE) and not (parts.scheme == "https" and whole):
            yield f"{passage.place(found.start())}: {address} is no whole https address"


def called(passage: Passage) -> Iterator[str]:
    """Files, modules and make's targets that the text names."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for found in FILE.finditer(passage.text):
        if not re.search(r"NAME|NN", found[1]) and not (ROOT / found[1]).exists():
            yield f"{passage.place(found.start())}: there is no {found[1]}"
    for found in MODULE.finditer(passage.text):
        path = ROOT / found[1].replace(".", "/")
        if not path.with_suffix(".py").is_file() and not (path / "__main__.py").is_file():
            yield f"{passage.place(found.start())}: python -m {found[1]} does not exist"
    for found in TARGET.finditer(passage.text):
        if found[1] not in targets:
            yield f"{passage.place(found.start())}: make has no target {found[1]}"


@pytest.mark.parametrize("path", [*MARKDOWN, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    read = in_notebook if path.suffix == ".ipynb" else in_file
    found = [problem for passage in read(path) for problem in links(passage)]
    assert not found, "\n".join(["", *found])


def test_addresses_are_whole():
    found = [problem for passage in passages() for problem in addresses(passage)]
    assert not found, "\n".join(["", *found])


def test_what_the_text_calls_exists():
    pages = [passage for passage in passages() if passage.path in MARKDOWN or "lessons" in passage.path.parts]
    found = [problem for passage in pages for problem in called(passage)]
    assert not found, "\n".join(["", *found])


def page(text: str) -> Passage:
    return Passage(ROOT / "docs" / "x.md", 1, text)


GOOD = """[a](../README.md), [b](grading.md#what-is-graded), ![picture [1]](../figures/timeline.png)
<img src="../LICENSE">
[![badge](../figures/timeline.png)](https://example.org/x_(y)?a=1#b), `[code](nowhere.md)` and $f[x](t)$
[reference]: ../README.md
```
[fenced](nowhere.md)
```
`make lab`, `python -m difflm_core.training x`, `tests/run.py`"""


def test_good_links_pass():
    assert not [*links(page(GOOD)), *addresses(page(GOOD)), *called(page(GOOD))]


@pytest.mark.parametrize(
    "text, message",
    [
        ("[a](nowhere.md)", "is not there"),
        ("[a](../../outside.md)", "is not there"),
        ("![a](grading.md#no-such-heading)", "no such heading"),
        ("[a](#here)", "is not there"),
        ("[a]: nowhere.md", "is not there"),
        ("[a]()", "leads nowhere"),
        ("[a](/README.md)", "leads nowhere"),
        ("[a](mailto:a@b.org)", "leads nowhere"),
        ('<a href="nowhere.html">x</a>', "is not there"),
        ("[![badge](nowhere.png)](https://example.org)", "is not there"),
        ("see http://example.org", "no whole https"),
        ("see https://localhost/x", "no whole https"),
        ("see https://", "no whole https"),
        ("see https://example.org/a|b", "no whole https"),
        ("`tests/test_nothing.py`", "there is no tests/test_nothing.py"),
        ("python -m difflm_core.nothing x", "does not exist"),
        ("python -m difflm_core.samplers", "does not exist"),
        ("`make nothing`", "no target nothing"),
    ],
)
def test_bad_links_are_found(text, message):
    found = [*links(page(f"\n{text}")), *addresses(page(f"\n{text}")), *called(page(f"\n{text}"))]
    assert any(message in problem for problem in found), found
    assert all(problem.startswith("docs/x.md:2: ") for problem in found)


def test_anchors_are_those_of_the_pages():
    assert {"what-is-graded", "handing-over-to-nbgrader"} <= anchors(ROOT / "docs" / "grading.md")
    first = NOTEBOOKS[0]
    assert any(re.match(r"\d+-·-\w", name) for name in anchors(first)) and "END" not in anchors(
        ROOT / "docs/grading.md"
    )
