"""What every lesson calls: the first cell, progress bars, figures, tables of sentences, stored results.

Environment: DIFFLM_FAST=1 small sizes for tests · DIFFLM_STRICT=1 a wrong exercise is an error · DIFFLM_STATIC=1 (or
CI) no live widgets · DIFFLM_NO_BAR=1 no progress bars · DIFFLM_THREADS=n · DIFFLM_DEVICE=cpu|cuda|mps
"""

import base64
import io
import json
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
from tqdm.auto import tqdm

from difflm_core.classroom import plots
from difflm_core.classroom.sentences import Word, legend, to_html, to_text

T = TypeVar("T")
LARGEST_PNG = 60_000  # bytes


def flag(name: str) -> bool:
    """Whether an environment variable is switched on (set, and not "" or "0")."""
    return os.environ.get(name, "") not in ("", "0")


def is_static() -> bool:
    """Whether widgets show only their static twin: DIFFLM_STATIC=1, or on a CI machine."""
    return flag("DIFFLM_STATIC") or flag("CI")


@dataclass(frozen=True)
class Lesson:
    """How this notebook runs: sizes (`fast`), exercises (`strict`), where (`device`) and from which `seed`."""

    fast: bool
    strict: bool
    device: torch.device
    seed: int

    def pick(self, full: T, fast: T) -> T:
        """The value for this mode: `steps = lesson.pick(full=1500, fast=150)`."""
        return fast if self.fast else full

    def generator(self, offset: int = 0) -> torch.Generator:
        """A fresh generator on the lesson's device, so that re-running one cell does not change later ones."""
        return torch.Generator(self.device).manual_seed(self.seed + offset)


def setup(seed: int = 0) -> Lesson:
    """The first cell of a lesson: seeds, threads, device, figure style, and one line that says what was chosen."""
    threads = os.environ.get("DIFFLM_THREADS")
    # more than 8 threads slow a model of this size down; fewer (OMP_NUM_THREADS) are respected
    torch.set_num_threads(int(threads) if threads else min(torch.get_num_threads(), 8))
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    plots.use_style()
    # an Apple GPU is used when asked for: CPU numbers are the reference of the course
    device = torch.device(os.environ.get("DIFFLM_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))
    lesson = Lesson(flag("DIFFLM_FAST"), flag("DIFFLM_STRICT"), device, seed)
    n = torch.get_num_threads()
    where = f"CPU, {n} thread{'s' if n > 1 else ''}" if device.type == "cpu" else str(device)
    print(f"torch {torch.__version__} · {where} · {'fast' if lesson.fast else 'full'} mode · seed {seed}")
    return lesson


def progress(iterable: Iterable[T], label: str, total: int | None = None) -> tqdm:
    """A progress bar, drawn at most once a second; `.set_postfix_str` adds a figure. DIFFLM_NO_BAR=1 silences it."""
    return tqdm(iterable, desc=label, total=total, mininterval=1.0, disable=flag("DIFFLM_NO_BAR"), dynamic_ncols=True)


def png(fig: Figure) -> bytes:
    """The figure as a PNG of at most 60 kB (256 colours, the sharpest of three resolutions that fits)."""
    for dpi in (160, 120, 90):
        raw, small = io.BytesIO(), io.BytesIO()
        fig.savefig(raw, format="png", dpi=dpi, metadata={"Software": None})
        Image.open(raw).convert("RGB").quantize(256).save(small, format="png", optimize=True)
        if small.tell() <= LARGEST_PNG:
            return small.getvalue()
    raise ValueError(
        f"the figure takes {small.tell()} bytes as PNG, more than {LARGEST_PNG}; draw fewer points or panels."
    )


def show(fig: Figure, alt: str, caption: str = "", details: str = "") -> None:
    """Display a matplotlib figure with alternative text, then its caption, and close it.

    `alt` says what the picture shows (its content, with numbers), `caption` what to notice. The alternative text is
    stored with the image, and printed folded below it because not every viewer hands the stored one on; `details`
    adds to the folded text what is too long for an alternative text.
    """
    if not alt.strip():
        raise ValueError("show() needs alt text that says what the figure shows.")
    data = png(fig)
    width = round(fig.get_figwidth() * 100)
    plt.close(fig)
    image = {"image/png": base64.b64encode(data).decode(), "text/plain": f"[figure: {alt}]"}
    display(image, raw=True, metadata={"image/png": {"alt": alt, "width": width}})
    more = f"<p>{escape(details)}</p>" if details else ""
    folded = f"<details><summary>What the picture shows</summary><p>{escape(alt)}</p>{more}</details>"
    below = f"<p><em>{escape(caption)}</em></p>" if caption else ""
    display({"text/html": below + folded, "text/plain": caption}, raw=True)


Row = tuple[str, Sequence[Word] | str] | tuple[str, Sequence[Word] | str, str]


def samples_table(rows: Iterable[Row], title: str = "", head: tuple[str, str, str] = ("", "sentence", "")) -> None:
    """Sample sentences in a fixed-width table, marks explained below it.

    A row is (label, sentence) or (label, sentence, note); a sentence is plain text or a list of `Word` (sentences.py):

        samples_table([("4 steps", sentence(ids, decode, V), "✗ broken")], head=("sampler", "sentence", "grammar"))
    """
    table = [
        (label, [Word(words)] if isinstance(words, str) else words, *(note or [""])) for label, words, *note in rows
    ]
    signs = legend(words for _, words, _ in table)
    lines = [head, *((label, to_text(words), note) for label, words, note in table)]
    lines = lines if any(head) else lines[1:]
    widths = [max((len(line[i]) for line in lines), default=0) for i in range(3)]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
    left = 'style="text-align:left;font-family:monospace;white-space:pre-wrap"'
    header = "".join(f'<th scope="col" style="text-align:left">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(label)}</th><td {left}>{to_html(words)}</td>'
        f"<td {left}>{escape(note)}</td></tr>"
        for label, words, note in table
    )
    caption = f'<caption style="text-align:left">{escape(title)}</caption>' if title else ""
    foot = f"<p><small>{escape(signs)}</small></p>" if signs else ""
    html = f"<table>{caption}<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>{foot}"
    plain = "\n".join(part for part in (title, text, signs) if part)
    display({"text/html": html, "text/plain": plain}, raw=True)


def lessons_folder(start: Path | None = None) -> Path:
    """The folder lessons/ of this checkout, found from the working directory upwards, then beside the package."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents, Path(__file__).resolve().parents[2]):
        for candidate in (folder, folder / "lessons"):
            if candidate.name == "lessons" and (candidate / "source").is_dir():
                return candidate
    raise FileNotFoundError("cannot find the folder lessons/; run this from inside the course's folder.")


def load_results(name: str) -> Any:
    """A stored study, lessons/results/NAME.json; if it is missing, the error says which command makes it."""
    command = f"python -m difflm_core.studies.{name.replace('-', '_')}"
    path = lessons_folder() / "results" / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"lessons/results/{name}.json is missing; make it with: {command}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"lessons/results/{name}.json is damaged ({error}); make it again with: {command}") from error
