"""A notebook as one HTML page, and as reveal.js slides: nbconvert's exporters with a small page around them.

Pages need no network: pictures are inside, equations are MathML. The slides' engine, reveal.js, comes from the network
or, put inside as well, from a folder; without it the same file is a plain page.
"""

import re
from copy import deepcopy
from html import escape
from pathlib import Path

from nbconvert import HTMLExporter, SlidesExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from difflm_core.classroom.handout_equations import available, mathml
from difflm_core.classroom.handout_slides import as_slides

REVEAL = "https://unpkg.com/reveal.js@5.2.1"
TEX = """<script>MathJax = {tex: {inlineMath: [["$", "$"]]}}</script>
<script async src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-mml-chtml.js"></script>"""
CODE = ("folded", "shown", "hidden")

STYLE = """
:root { --ink: #1a1a1a; --quiet: #595959; --line: #d0d0d0; --paper: #f6f6f4; }
body { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: var(--ink); line-height: 1.5; }
pre, code { font-family: ui-monospace, Menlo, Consolas, monospace, monospace; font-size: 0.88em; }
pre { line-height: 1.35; overflow-x: auto; margin: 0.4em 0; }
code { background: var(--paper); padding: 0 0.2em; } pre code { background: none; padding: 0; font-size: 1em; }
.highlight { background: var(--paper); padding: 0.3em 0.8em; border-left: 3px solid var(--line); }
.output { margin: 0.4em 0 0.8em; } .output img { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: 0.6em 0; font-size: 0.92em; }
th, td { border-bottom: 1px solid var(--line); padding: 0.15em 0.7em; text-align: left; vertical-align: top; }
details { margin: 0.3em 0; } summary { color: var(--quiet); cursor: pointer; }
.anchor-link, .prompt { display: none; }
math { font-size: 1.08em; } math[display="block"] { margin: 0.7em 0; overflow-x: auto; overflow-y: hidden; }
menclose { border: 1px solid var(--ink); padding: 0.4em; }
"""
HANDOUT_STYLE = """
body { max-width: 52rem; margin: 2rem auto; padding: 0 1.2rem; }
h2 { margin-top: 2.2em; border-bottom: 1px solid var(--line); }
@media print {
  body { max-width: none; margin: 0; } pre { white-space: pre-wrap; }
  .output, .highlight, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
"""
SLIDES_STYLE = """
.reveal { font-size: 25px; line-height: 1.35; } .reveal .slide-number { right: auto; left: 8px; }
.reveal .slides { text-align: left; line-height: 1.35; }
.reveal .slides section { padding: 0; } .reveal h1, .reveal h2, .reveal h3 { margin: 0 0 0.5em; line-height: 1.2; }
.reveal h1 { font-size: 1.9em; } .reveal h2 { font-size: 1.5em; } .reveal h3 { font-size: 1.2em; }
.reveal p { margin: 0 0 0.6em; } .reveal .output img { max-height: 500px; width: auto; }
.reveal.ready .slides section section { max-height: 700px; overflow-y: auto; }
.plain { max-width: 52rem; margin: 2rem auto; padding: 0 1.2rem; } .plain section section { margin-bottom: 2rem; }
.plain .needs { display: block; } .needs { display: none; color: var(--quiet); }
"""
CELLS = """
{%- block in_prompt -%}{%- endblock -%}{%- block empty_in_prompt -%}{%- endblock -%}
{%- block output_area_prompt -%}{%- endblock -%}
{%- block input -%}
{%- if resources.code == "folded" -%}<details><summary>code, {{ cell.source.split("\\n") | length }} lines</summary>
{{ cell.source | highlight_code(metadata=cell.metadata) }}</details>
{%- elif resources.code == "shown" -%}{{ cell.source | highlight_code(metadata=cell.metadata) }}{%- endif -%}
{%- endblock -%}
"""
HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ resources.title }}</title><style>{{ resources.style }}</style>{{ resources.scripts }}</head>
"""
HANDOUT = "{%- extends 'classic/base.html.j2' -%}{%- block header -%}" + HEAD + """<body>
{%- endblock -%}{%- block footer -%}</body></html>
{% endblock -%}""" + CELLS  # fmt: skip
SLIDES = "{%- extends 'classic/base.html.j2' -%}{%- block header -%}" + HEAD + """<body><div class="reveal">
<p class="needs">reveal.js could not be loaded, so this is a page and no slides.</p><div class="slides">
{%- endblock -%}
{%- block any_cell scoped -%}
{%- if cell.metadata.slide_start -%}<section>{%- endif -%}{%- if cell.metadata.subslide_start -%}<section>{%- endif -%}
{{ super() }}
{%- if cell.metadata.subslide_end -%}</section>{%- endif -%}{%- if cell.metadata.slide_end -%}</section>{%- endif -%}
{%- endblock -%}
{%- block footer -%}</div></div>{{ resources.engine }}</body></html>
{% endblock -%}""" + CELLS  # fmt: skip
START = """<script>
if (window.Reveal) Reveal.initialize({width: 1280, height: 720, margin: 0.03, center: false, hash: true,
    slideNumber: "c/t", transition: "none"});
else document.body.className = "plain";
</script>"""


class Equations(IPythonRenderer):
    """nbconvert's Markdown with MathML in the place of TeX."""

    def block_math(self, body: str) -> str:
        return mathml(body, display=True)

    def inline_math(self, body: str) -> str:
        return mathml(body, display=False)


def handout(nb: NotebookNode, code: str = "folded") -> str:
    """One HTML page; `code` is "folded", "shown" or "hidden"."""
    return exported(
        HTMLExporter(template_name="classic", raw_template=HANDOUT), deepcopy(nb), code, STYLE + HANDOUT_STYLE
    )


def slides(nb: NotebookNode, code: str = "folded", reveal: str = REVEAL) -> str:
    """reveal.js slides. `reveal` is the address of its files, or a folder, from which they are put inside."""
    style, script = engine(reveal)
    exporter = SlidesExporter(template_name="reveal", raw_template=SLIDES)  # its settings mark where sections begin
    return exported(exporter, as_slides(nb, code), code, style + STYLE + SLIDES_STYLE, script + START)


def engine(reveal: str) -> tuple[str, str]:
    """(style, script element) of reveal.js. Raises ValueError if the folder does not hold it."""
    if reveal.startswith(("http://", "https://")):
        return f'@import url("{reveal}/dist/reveal.css");\n', f'<script src="{reveal}/dist/reveal.js"></script>\n'
    style, script = (Path(reveal) / "dist" / f"reveal.{kind}" for kind in ("css", "js"))
    if not (style.is_file() and script.is_file()):
        raise ValueError(f"There is no dist/reveal.js in {reveal}: unpack a copy of reveal.js and name its folder.")
    text = script.read_text(encoding="utf-8").replace("</script", "<\\/script")
    return style.read_text(encoding="utf-8") + "\n", f"<script>{text}</script>\n"


def exported(exporter: HTMLExporter, nb: NotebookNode, code: str, style: str, script: str = "") -> str:
    """The exporter's page for the notebook, with our style, described pictures and equations."""
    if code not in CODE:
        raise ValueError(f"code must be one of {', '.join(CODE)}, not {code!r}.")
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = [described(output) for output in cell.outputs]
        else:
            cell.source = linked(cell.source)
    if available():
        exporter.register_filter("markdown2html", MarkdownWithMath(Equations(escape=False)).render)
    resources = {
        "code": code,
        "title": title_of(nb),
        "style": style + HtmlFormatter().get_style_defs(".highlight"),
        "scripts": "" if available() else TEX,
        "engine": script,
    }
    return exporter.from_notebook_node(nb, resources)[0]


def described(output: NotebookNode) -> NotebookNode:
    """A picture as an <img> with its alternative text, which nbconvert's own templates do not all hand on."""
    data = output.get("data", {})
    if "image/png" not in data:
        return output
    about = output.metadata.get("image/png", {})
    alt, width = escape(about.get("alt", ""), quote=True), about.get("width", "")
    html = f'<img alt="{alt}" width="{width}" src="data:image/png;base64,{data["image/png"].strip()}">'
    return NotebookNode(output_type="display_data", metadata={}, data={"text/html": html})


def linked(text: str) -> str:
    """A link to another lesson's notebook leads to its page."""
    return re.sub(r"\]\((\d\d_\w+)\.ipynb\)", r"](\1.html)", text)


def title_of(nb: NotebookNode) -> str:
    """The first heading, without its sign."""
    found = re.search(r"^# (.+)$", nb.cells[0].source, re.M) if nb.cells else None
    return escape(found[1]) if found else "A lesson"
