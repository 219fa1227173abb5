"""Build the notebooks: `python -m difflm_core.classroom.build [NAME ...] [--check] [--prose] [--no-execute]`.

lessons/source/NN_name.py  ->  lessons/NN_name.ipynb (student) and lessons/solutions/NN_name.ipynb (solved), both
executed, in full mode unless DIFFLM_FAST=1. The rules for the source stand in `notebooks.py`. A lesson that fails keeps
the notebooks it had.
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

from difflm_core.classroom.notebooks import Pair, SourceError, parse, source_hash
from difflm_core.classroom.outputs import tidy

LARGEST_NOTEBOOK = 1_000_000  # bytes
CELL_TIMEOUT_S = 1800


class BuildError(RuntimeError):
    """A lesson could not be built; the message says where and why."""


def targets(source: Path) -> dict[str, Path]:
    """Where the two notebooks of lessons/source/NN_name.py go."""
    lessons = source.parent.parent
    return {"student": lessons / f"{source.stem}.ipynb", "solved": lessons / "solutions" / f"{source.stem}.ipynb"}


def build(source: Path, execute: bool = True) -> None:
    """Write both notebooks of one lesson, or neither. Raises BuildError or SourceError."""
    pair = parse(source.stem, source.read_text(encoding="utf-8"))
    finished = []
    for kind, path in targets(source).items():
        nb = getattr(pair, kind)
        path.parent.mkdir(exist_ok=True)
        if execute:
            run(nb, path, pair, source)
            nb.metadata.difflm.mode = "fast" if os.environ.get("DIFFLM_FAST", "") not in ("", "0") else "full"
        tidy(nb)
        nbformat.validate(nb)
        text = nbformat.writes(nb) + "\n"
        size = len(text.encode())
        if size > LARGEST_NOTEBOOK:
            raise BuildError(f"{path.name} ({kind}) has {size} bytes, more than {LARGEST_NOTEBOOK}; show less.")
        finished.append((path, text))
    write(finished)


def renew_prose(source: Path) -> None:
    """Both notebooks with the source's text of now and the outputs of their last run; nothing is executed.

    Allowed only where every code cell is as it was: then a run would show the same again, and minutes are saved after
    a mended sentence. Raises BuildError otherwise, and writes neither.
    """
    pair = parse(source.stem, source.read_text(encoding="utf-8"))
    finished = []
    for kind, path in targets(source).items():
        nb = getattr(pair, kind)
        if not path.is_file():
            raise BuildError(f"{path.name} ({kind}) is not there yet: build it without --prose.")
        old = nbformat.read(path, 4)
        ran = [cell for cell in old.cells if cell.cell_type == "code"]
        codes = [cell for cell in nb.cells if cell.cell_type == "code"]
        changed = next((new for new, was in zip(codes, ran) if new.source != was.source), None)
        if changed is not None or len(codes) != len(ran):
            where = f"line {pair.lines[changed.id]}" if changed is not None else "their number"
            raise BuildError(
                f"{source.stem} ({kind}): code cells changed ({where}), so it has to run: leave out --prose."
            )
        for new, was in zip(codes, ran, strict=True):
            new.outputs, new.execution_count = was.outputs, was.execution_count
        nb.metadata.difflm.mode = old.metadata.difflm.mode
        finished.append((path, nbformat.writes(nb) + "\n"))
    write(finished)


def write(finished: list[tuple[Path, str]]) -> None:
    """Each text beside its file first, then renamed."""
    for path, text in finished:
        beside = path.with_suffix(".ipynb.part")
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)


def kernel_environment(kind: str) -> dict[str, str]:
    """The kernel's environment: this very package, static widgets, strict exercises in the solved notebook only."""
    unwanted = ("MPLBACKEND", "DIFFLM_STRICT", "DIFFLM_NO_BAR")  # each of them changes what is stored
    env = {key: value for key, value in os.environ.items() if key not in unwanted}
    package = str(Path(__file__).resolve().parents[2])
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (package, env.get("PYTHONPATH"))))
    # a stored live widget would be an error message to a reader without its kernel
    return {**env, "DIFFLM_STATIC": "1"} | ({"DIFFLM_STRICT": "1"} if kind == "solved" else {})


def run(nb: NotebookNode, path: Path, pair: Pair, source: Path) -> None:
    """Execute the notebook in place, in its own folder, with a bar that counts cells."""
    kind = nb.metadata.difflm.kind
    codes = sum(cell.cell_type == "code" for cell in nb.cells)
    with tqdm(total=codes, desc=f"{source.stem} {kind}", unit="cell", file=sys.stderr) as bar:
        client = NotebookClient(
            nb,
            timeout=CELL_TIMEOUT_S,
            kernel_name="python3",
            record_timing=False,
            extra_arguments=["--log-level=ERROR"],  # a warning about the connection would break the bar
            resources={"metadata": {"path": str(path.parent)}},
            on_cell_executed=lambda cell, cell_index, execute_reply: bar.update(),
        )
        try:
            client.execute(env=kernel_environment(kind))
        except NoSuchKernel as error:
            raise BuildError("there is no Jupyter kernel 'python3' here; install requirements.txt.") from error
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise BuildError(explain(error, nb, pair, source)) from error


def explain(error: Exception, nb: NotebookNode, pair: Pair, source: Path) -> str:
    """The lesson, the line of the text source, and the traceback of a cell that failed."""
    unfinished = [cell for cell in nb.cells if cell.cell_type == "code" and not cell.get("execution_count")]
    failed = [c for c in nb.cells if any(o.output_type == "error" for o in c.get("outputs", [])) and not allowed(c)]
    cell = (failed or unfinished or nb.cells)[-1 if failed else 0]
    line = pair.lines[cell.id]
    where = re.search(r"Cell In\[\d+\], line (\d+)", re.sub(r"\x1b\[[0-9;]*m", "", str(error)))
    original = next(c for c in pair.solved.cells if c.id == cell.id)
    if where and original.source == cell.source:  # in a cell without its solution the lines no longer correspond
        line += int(where.group(1)) - 1
    return f"{source.stem} ({nb.metadata.difflm.kind}) failed at {source.name}, line {line}:\n{error}"


def allowed(cell: NotebookNode) -> bool:
    """Whether the cell is meant to fail."""
    return "raises-exception" in cell.metadata.get("tags", [])


def out_of_step(source: Path) -> list[str]:
    """One sentence for each notebook of the lesson that does not belong to its source as it is now."""
    wanted = source_hash(source.read_text(encoding="utf-8"))
    problems = []
    for kind, path in targets(source).items():
        if not path.is_file():
            problems.append(f"{source.stem} ({kind}): the notebook is missing.")
            continue
        stamp = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("difflm", {})
        if stamp.get("hash") != wanted:
            problems.append(f"{source.stem} ({kind}): the source has changed since the notebook was built.")
        elif stamp.get("mode") != "full":
            problems.append(
                f"{source.stem} ({kind}): the notebook is {stamp.get('mode')}; the committed one is run in full."
            )
    return problems


def chosen(names: list[str]) -> list[Path]:
    """The sources meant on the command line: all of them, or those whose name begins as given ("08")."""
    from difflm_core.classroom.lesson import lessons_folder  # imports torch, which --help does without

    sources = sorted((lessons_folder() / "source").glob("[0-9][0-9]_*.py"))
    for name in names:
        if not any(source.stem.startswith(name) for source in sources):
            raise BuildError(
                f"no lesson begins with {name!r}; there are: {', '.join(s.stem for s in sources) or 'none'}."
            )
    return [source for source in sources if not names or any(source.stem.startswith(name) for name in names)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m difflm_core.classroom.build", description=__doc__.split("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="lessons by the beginning of their name, e.g. 08 (default: all)"
    )
    parser.add_argument(
        "--check", action="store_true", help="only say which notebooks are out of step with their source"
    )
    parser.add_argument("--no-execute", action="store_true", help="write the notebooks without running them")
    parser.add_argument(
        "--prose", action="store_true", help="only text cells changed: take them over and keep the outputs, run nothing"
    )
    arguments = parser.parse_args()
    try:
        sources = chosen(arguments.names)
        if arguments.check:
            problems = [problem for source in sources for problem in out_of_step(source)]
            print("\n".join(problems) or f"{len(sources)} lessons in step with their source.")
            return 1 if problems else 0
        for source in sources:
            if arguments.prose:
                renew_prose(source)
            else:
                build(source, execute=not arguments.no_execute)
            print(f"{source.stem}: built lessons/{source.stem}.ipynb and lessons/solutions/{source.stem}.ipynb")
    except (BuildError, SourceError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
