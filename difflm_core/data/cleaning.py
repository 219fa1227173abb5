"""From the archives' mark-up to plain text: pure functions of a string.

Plays come as Markdown (`**SPEAKER**`, `_stage direction_`, two blanks per verse line); summaries come as plain prose,
which has to be cut into sentences.
"""

import re

_HEADING = re.compile(r"^#+ .*$|^\*\*(?:ACT|SCENE) .*$", re.M)
_SPEAKER = re.compile(r"^\*\*(.+)\*\*[ \t]*$", re.M)
_BRACKETS_ALONE = re.compile(r"^[_*]*\[[^\]]*\][_*]*[ \t]*\n", re.M)
# Emphasis that fills its lines; it may run over several of them, but not over a blank one.
_DIRECTION = re.compile(r"^([_*])(?:(?!\1)[^\n]|\n(?![ \t]*\n))+\1[ \t]*$\n?", re.M)

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(0-9])")
_ABBREVIATION = re.compile(
    r"\b(?:[A-HJ-Z]|[A-Z]\.[A-Z]|St|Dr|Mr|Mrs|Ms|Mt|Jr|Sr|vs|ca?|cf|No|Co|Inc|Ltd|Gen|Lt|Col|Sgt|Capt|Rev|Fr|Prof|Gov|Sen|fl"
    r"|[rbd]|ed|vol|pp|approx|Bros|Ph\.D|e\.g|i\.e)\.$"
)
_WELL_FORMED = re.compile(r"[\"(]?[A-Z0-9].*[.!?][\"')]?")


def play_title(markdown: str, file: str) -> str:
    """The play's first heading; one play lacks it, and takes its title from the name of its file."""
    if heading := re.match(r"# (.+)", markdown):
        return heading.group(1).strip()
    return file.removesuffix(".md").replace("-", " ").title().replace(" For ", " for ")


def play_text(markdown: str) -> str:
    """`SPEAKER:` lines, each followed by what is spoken; headings, stage directions and stray marks are removed.

    The text is ASCII, its lines have no blanks at their ends, and speeches are one empty line apart.
    """
    text = markdown.replace("\u2014", "--").replace("\\", "").replace("sha$l", "shall")  # a slip in the source
    text = _SPEAKER.sub(lambda match: re.sub(r"[*:]", "", match.group(1)) + ":", _HEADING.sub("", text))
    text = _DIRECTION.sub("", _BRACKETS_ALONE.sub("", text))
    text = re.sub(r"[*_\[\]]", "", text).replace("& c", "&c")
    text = re.sub(r"[ \t]+$|^[ \t]+", "", text, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def sentences(text: str) -> list[str]:
    """The sentences of a prose text, in order; an initial or a common abbreviation does not end one."""
    found: list[str] = []
    for piece in _SENTENCE_END.split(text):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] += " " + piece
        else:
            found.append(piece)
    return found


def well_formed(sentence: str) -> bool:
    """ASCII, capital letter or digit first, full stop last, quotes and brackets closed, nothing cut out.

    Two blanks in a row or a line break show where the summaries' source lost a formula, a foreign name or a list.
    """
    return (
        sentence.isascii()
        and _WELL_FORMED.fullmatch(sentence) is not None
        and "  " not in sentence
        and "\n" not in sentence
        and sentence.count('"') % 2 == 0
        and sentence.count("(") == sentence.count(")")
    )
