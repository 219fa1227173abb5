"""Where a slide ends: a rule that turns a lesson's cells into slides, without a mark in the lesson's source.

- Each `##` heading begins a slide, each `###` heading a sub-slide below it.
- What does not fit on a page goes on on the next sub-slide; text is cut between paragraphs, and a cell between outputs.
- A caption stays with its picture; a heading, a line of code and a text that ends in a colon with what follows.
- Checked cells (NBVAL_CHECK_OUTPUT) are left out.

Heights are estimated in lines of text, which is coarse; a page that is too tall scrolls.
"""

import re
from collections.abc import Iterator
from copy import deepcopy

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

LINES, WIDTH = 19, 95  # of a page: lines, and characters in a line
PICTURE, EQUATION = 15, 3  # lines that they take, about


def as_slides(nb: NotebookNode, code: str = "folded") -> NotebookNode:
    """A copy of the notebook, cut into pieces of which each says where it stands (`slideshow.slide_type`)."""
    nb = deepcopy(nb)
    cells: list[NotebookNode] = []
    heights: list[int] = []
    first = 0  # of the page
    for piece, height in pieces(nb, code):
        kind = begins(piece)
        if kind == "subslide" and len(cells) - first == 1 and begins(cells[-1]) == "slide":
            kind = "-"  # no page for a heading alone
        elif kind == "-" and sum(heights[first:]) + height > LINES and not belongs_to_previous(piece):
            first = turned(cells, first)
            kind = "subslide" if first == len(cells) else "-"
        if kind != "-":
            first = len(cells)
        piece.metadata["slideshow"] = {"slide_type": kind}
        cells.append(piece)
        heights.append(height)
    nb.cells = cells
    return nb


def turned(cells: list[NotebookNode], first: int) -> int:
    """Where the next page begins: what only leads to the next piece goes there with it, if anything stays behind."""
    start = len(cells)
    while start - 1 > first and leads(cells[start - 1]):
        start -= 1
    if start < len(cells):
        cells[start].metadata["slideshow"] = {"slide_type": "subslide"}
    return start


def pieces(nb: NotebookNode, code: str) -> Iterator[tuple[NotebookNode, int]]:
    """The parts that must not be cut, each with its height in lines."""
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for number, block in enumerate(blocks(cell.source)):
                yield new_markdown_cell(block, id=f"{cell.id}-{number}"), text_height(block)
        elif not cell.source.startswith("# NBVAL_CHECK_OUTPUT"):
            yield from code_pieces(cell, code)


def code_pieces(cell: NotebookNode, code: str) -> Iterator[tuple[NotebookNode, int]]:
    """The code, unless it is hidden, and each output by itself."""
    outputs, cell.outputs = cell.outputs, []
    if code != "hidden":
        yield cell, 1 if code == "folded" else 1 + cell.source.count("\n")
    for number, output in enumerate(outputs):
        alone = deepcopy(cell)
        alone.id, alone.outputs, alone.metadata["transient"] = f"{cell.id}-{number}", [output], {"remove_source": True}
        yield alone, output_height(output)


def blocks(source: str) -> list[str]:
    """Markdown cut at blank lines, but not inside of ``` fences and <details>; headings stand alone."""
    found, inside = [[]], ""
    for line in source.split("\n"):
        if inside:
            inside = "" if inside in line else inside
        elif line.startswith("```"):
            inside = "```"
        elif "<details>" in line and "</details>" not in line:
            inside = "</details>"
        elif not line.strip():
            found.append([])
            continue
        elif line.startswith("#"):
            found += [[line], []]
            continue
        found[-1].append(line)
    return ["\n".join(block) for block in found if block]


def text_height(block: str) -> int:
    """Lines that a block of Markdown takes, with the space below it; what is folded away takes one."""
    if block.startswith("<details>"):
        return 2
    if block.startswith("#"):
        return 2
    rows = sum(1 if line.startswith(("|", "```")) else -(-len(line) // WIDTH) for line in block.split("\n"))
    return max(rows, EQUATION * block.count("$$") // 2) + 1


def output_height(output: NotebookNode) -> int:
    """Lines that an output takes; a caption's alternative text is folded away."""
    data = output.get("data", {})
    html = data.get("text/html", "")
    if "image/png" in data or "<img" in html:
        return PICTURE * max(1, html.count("<img"))
    if html:
        return 2 + sum(html.count(tag) for tag in ("<tr", "<p>", "<br"))
    return 1 + min(LINES, output.get("text", data.get("text/plain", "")).count("\n"))


def begins(piece: NotebookNode) -> str:
    """What a piece begins by its heading: "slide", "subslide", or "-" for neither."""
    heading = re.match(r"(#{1,3}) ", piece.source) if piece.cell_type == "markdown" else None
    return "-" if heading is None else "subslide" if heading[1] == "###" else "slide"


def belongs_to_previous(piece: NotebookNode) -> bool:
    """Whether it is the caption of the picture before it."""
    return any(
        "<summary>What the picture shows" in o.get("data", {}).get("text/html", "") for o in piece.get("outputs", [])
    )


def leads(piece: NotebookNode) -> bool:
    """Whether it must not end a page: a heading, a folded line of code, a text that ends in a colon."""
    if piece.cell_type == "code":
        return not piece.outputs
    return begins(piece) != "-" or piece.source.rstrip().endswith(":")
