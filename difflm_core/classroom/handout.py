"""Handouts and slides of the lessons: `python -m difflm_core.classroom.handout [NAME ...]`.

Each built notebook becomes handouts/NAME.html, a page to read or print, and handouts/NAME.slides.html, slides for
reveal.js, both with the outputs that the notebook has. Nothing is run. Where slides end: handout_slides.py.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

from difflm_core.classroom.build import BuildError, chosen, out_of_step, targets
from difflm_core.classroom.commands import status_of


def parser() -> argparse.ArgumentParser:
    said = argparse.ArgumentParser(
        prog="python -m difflm_core.classroom.handout",
        description="Write an HTML page and reveal.js slides of each lesson, with the outputs that its notebook has.",
    )
    said.add_argument("names", nargs="*", metavar="NAME", help="lessons by the beginning of their name (default: all)")
    said.add_argument("--solved", action="store_true", help="from the solved notebook, with answers and reasons")
    said.add_argument("--code", choices=("folded", "shown", "hidden"), default="folded", help="default: folded")
    said.add_argument("--only", choices=("page", "slides"), help="one of the two files")
    said.add_argument("--out", type=Path, help="folder to write to (default: handouts/ beside lessons/)")
    said.add_argument("--reveal", metavar="FOLDER", help="a copy of reveal.js, put into the slides (default: network)")
    return said


def write(source: Path, options: argparse.Namespace) -> list[Path]:
    """The files of one lesson. Raises BuildError if it is not built, ValueError for a wrong --reveal, OSError."""
    from difflm_core.classroom.handout_pages import REVEAL, handout, slides

    path = targets(source)["solved" if options.solved else "student"]
    if not path.is_file():
        raise BuildError(f"{source.stem}: there is no notebook yet; build it with: make lessons ARGS={source.stem[:2]}")
    for problem in out_of_step(source):
        print(f"Note: {problem}", file=sys.stderr)
    folder = options.out or source.parents[2] / "handouts"
    stem = f"{source.stem}.solved" if options.solved else source.stem
    made = {}
    if options.only != "slides":
        made[folder / f"{stem}.html"] = handout(nbformat.read(path, 4), options.code)
    if options.only != "page":
        made[folder / f"{stem}.slides.html"] = slides(nbformat.read(path, 4), options.code, options.reveal or REVEAL)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in made.items():
        file.write_text(text, encoding="utf-8")
    return list(made)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)

    def work() -> None:
        for source in chosen(options.names):
            for file in write(source, options):
                print(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")

    return status_of(work)


if __name__ == "__main__":
    sys.exit(main())
