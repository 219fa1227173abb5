"""The thirteen lessons: what each asks, whether it is here, and the minutes that its first cell states."""

import re
from dataclasses import dataclass
from pathlib import Path

QUESTIONS = {
    "00_start_here": "Why generate text by diffusion at all?",
    "01_gaussian_ddpm": "How does one learn to undo Gaussian noise?",
    "02_diffusion_lm": "What if tokens are vectors?",
    "03_latent_ld4lg": "Can a frozen language model's states be the canvas?",
    "04_latent_planner": "What does a variational autoencoder buy?",
    "05_latent_tencdm": "Diffusion straight in encoder states?",
    "06_latent_cosmos": "What makes a latent space diffusable?",
    "07_d3pm": "How does diffusion work on symbols?",
    "08_mdlm": "Why is masking + cross-entropy enough?",
    "09_gidd": "Can a token be corrected?",
    "10_star_and_gstar": "Can the sampler revise?",
    "11_large_diffusion_lms": "What do the large diffusion models add?",
    "12_scoreboard_and_scaling": "Which one, when, at what cost?",
}
STATED = re.compile(
    r"\*\*Minutes\*\*\s*(\d+) to read(?:, (?:about |under )?(\d+|a minute|one) (?:minutes? )?of computing)?"
)


@dataclass(frozen=True)
class Entry:
    """One lesson. `reading` and `computing` are minutes (the latter on the reference machine), None if not stated."""

    name: str
    question: str
    here: bool
    reading: int | None = None
    computing: int | None = None


def course_map(lessons: Path) -> list[Entry]:
    """All lessons in order; `lessons` is the folder with the notebooks and source/."""
    return [entry(name, question, lessons) for name, question in QUESTIONS.items()]


def entry(name: str, question: str, lessons: Path) -> Entry:
    source = lessons / "source" / f"{name}.py"
    if not source.is_file() or not (lessons / f"{name}.ipynb").is_file():
        return Entry(name, question, here=False)
    stated = STATED.search(source.read_text(encoding="utf-8")[:2000])
    if stated is None:
        return Entry(name, question, here=True)
    reading, computing = stated.groups()
    minutes = None if computing is None else 1 if computing in ("a minute", "one") else int(computing)
    return Entry(name, question, True, int(reading), minutes)
