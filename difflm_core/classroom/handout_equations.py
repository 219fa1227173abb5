"""Equations as MathML, which browsers draw by themselves: no script and no network. latex2mathml translates.

What is mended: browsers ignore the alphabets that MathML asks for by attribute (double-struck E, script L), so those
letters become characters of their own; in a displayed equation limits belong below the sum, inside of a box too; and
spellings that latex2mathml does not know are respelt.
"""

import re
import unicodedata
from html import escape
from importlib.util import find_spec
from xml.etree import ElementTree

RESPELT = ((r"\\arg(?![a-zA-Z])", r"\\operatorname{arg}"), (r"\\[bB]igg?[lr]?\\\|", r"\\|"))
NAMESPACE = "http://www.w3.org/1998/Math/MathML"
ALPHABETS = {
    "double-struck": ("MATHEMATICAL DOUBLE-STRUCK", "DOUBLE-STRUCK"),
    "script": ("MATHEMATICAL SCRIPT", "SCRIPT"),  # the older letters of Unicode have the shorter names
    "bold": ("MATHEMATICAL BOLD",),
}
DIGITS = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split()
WITH_LIMITS = {"∑", "∏", "min", "max"}
LIMITS = {"msub": "munder", "msubsup": "munderover"}

ElementTree.register_namespace("", NAMESPACE)


def available() -> bool:
    """Whether latex2mathml is installed; without it equations stay TeX, and MathJax draws them, from the network."""
    return find_spec("latex2mathml") is not None


def mathml(tex: str, display: bool) -> str:
    """The equation as a `<math>` element; what cannot be translated stays readable, as TeX in a `<code>` element."""
    from latex2mathml.converter import convert

    spelt = tex
    for pattern, spelling in RESPELT:
        spelt = re.sub(pattern, spelling, spelt)
    try:
        root = ElementTree.fromstring(convert(spelt, display="block" if display else "inline"))
    except Exception:  # latex2mathml raises many kinds of error
        return f"<code>{escape(tex)}</code>"
    for element in root.iter():
        mend(element, display)
    made = ElementTree.tostring(root, encoding="unicode")
    return f"<code>{escape(tex)}</code>" if "\\" in made else made  # a command that it does not know


def mend(element: ElementTree.Element, display: bool) -> None:
    """One element of the tree, in place."""
    tag = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    if display and tag in LIMITS and element[0].text in WITH_LIMITS:
        element.tag = f"{{{NAMESPACE}}}{LIMITS[tag]}"
    alphabet = element.get("mathvariant", "")
    if alphabet in ALPHABETS and (letter := own_character(element.text or "", alphabet)):
        element.text = letter
        element.set("mathvariant", "normal")


def own_character(letter: str, alphabet: str) -> str:
    """The letter's own character in that alphabet; "" where Unicode has none."""
    if len(letter) != 1 or not letter.isascii() or not letter.isalnum():
        return ""
    case = "DIGIT" if letter.isdigit() else "CAPITAL" if letter.isupper() else "SMALL"
    name = f"{case} {DIGITS[int(letter)] if letter.isdigit() else letter.upper()}"
    for prefix in ALPHABETS[alphabet]:
        try:
            return unicodedata.lookup(f"{prefix} {name}")
        except KeyError:
            continue
    return ""
