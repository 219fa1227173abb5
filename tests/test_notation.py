"""The notation sheet holds what the lessons use, and what it says exists."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
SHEET = (TOP / "lessons" / "notation.md").read_text(encoding="utf-8")
SOURCES = sorted((TOP / "lessons" / "source").glob("[0-9]*.py"))

FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)
# Words inside a formula explain it; they are prose.
PROSE = re.compile(r"\\(?:text|textbf|textit)\{[^{}]*\}|_\{\\text\{[^{}]*\}\}")
# A name is set upright, `\mathrm{SNR}`; letters side by side are a product, so each is a symbol of its own.
NAME = re.compile(r"\\(?:mathrm|operatorname)\{([A-Za-z]+)\}")
TOKEN = re.compile(r"\\[A-Za-z]+|[A-Za-z]")
# How a formula is set, and signs that mean the same in every book.
TYPOGRAPHY = set(
    r"""\frac \tfrac \dfrac \sqrt \sum \prod \int \log \exp \max \min \arg \cos \sin \tan \arccos \left \right \big \Big
    \bigg \Bigg \bigl \bigr \qquad \quad \cdot \cdots \dots \ldots \mid \to \le \ge \ne \neq \approx \propto \sim \in
    \times \pm \odot \infty \top \prime \Vert \lVert \rVert \lvert \rvert \lceil \rceil \lfloor \rfloor \underbrace
    \overbrace \overline \boxed \hat \tilde \bar \mathrm \mathbf \mathbb \mathcal \operatorname \text \Rightarrow
    \Longrightarrow \longrightarrow \mapsto \lesssim \gtrsim \ll \gg \square \begin \end aligned cases \partial \nabla
    \pi \quad \, \; \! \mathit \circ \langle \rangle \lVert \limits \substack \forall \equiv \star \subset \cup
    \notin \setminus \emptyset \ell \bigl \bigr \color \small \ e""".split()
)


def tokens(formula: str) -> set[str]:
    formula = PROSE.sub(" ", formula)
    return set(NAME.findall(formula)) | set(TOKEN.findall(NAME.sub(" ", formula)))


def formulas(text: str) -> list[str]:
    return [one or two for one, two in FORMULA.findall(text)]


def known(lesson: str) -> set[str]:
    """Tokens in the first column of the common table, and in the rows of one lesson."""
    found = set()
    for line in SHEET.split("## The same thing in the papers")[0].splitlines():
        cells = [cell.strip() for cell in re.split(r" \| ", line.strip("| "))]
        lessons = re.findall(r"\d\d", cells[0]) if re.fullmatch(r"(\d\d(, )?)+", cells[0]) else None
        if line.startswith("|") and (lessons is None or lesson in lessons):
            found |= set().union(*map(tokens, formulas(cells[0] if lessons is None else cells[1])))
    return found


def markdown_of(source: Path) -> str:
    return "\n".join(line[2:] for line in source.read_text(encoding="utf-8").splitlines() if line.startswith("# "))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_symbol_of_a_lesson_is_on_the_sheet(source):
    used = set().union(*map(tokens, formulas(markdown_of(source))))
    missing = sorted(used - known(source.stem[:2]) - TYPOGRAPHY)
    assert not missing, f"lessons/notation.md does not say what these mean in lesson {source.stem[:2]}: {missing}"


def test_a_new_symbol_would_be_noticed():
    assert tokens(r"\frac{\Omega_t}{\text{of words}} + \mathrm{KL}") == {r"\frac", r"\Omega", "t", "KL"}
    assert not tokens(r"\Omega") & (known("08") | TYPOGRAPHY)
    assert "Q" in known("07") and "Q" not in known("08")


def test_tests_that_the_sheet_names_exist():
    code = "\n".join(path.read_text(encoding="utf-8") for path in (TOP / "tests").glob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", SHEET):
        assert f"def {name}(" in code, name


def test_no_word_is_explained_twice():
    words = re.findall(r"^\| ([^|]+) \|", SHEET.split("## Words")[1], re.MULTILINE)
    assert len(words) == len(set(words))
