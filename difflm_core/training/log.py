"""log.jsonl: one JSON object per evaluation, appended as training goes on, the same rows as the history in memory."""

import json
from pathlib import Path

from difflm_core.training.folders import write_text

NAME = "log.jsonl"


def rewrite(folder: Path, history: list[dict]) -> None:
    """Exactly these rows: what a killed run wrote after its last checkpoint is dropped when it is resumed."""
    write_text(folder / NAME, "".join(json.dumps(row) + "\n" for row in history))


def append(folder: Path, row: dict) -> None:
    try:
        with open(folder / NAME, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        raise OSError(
            error.errno,
            f"Could not write {folder / NAME} ({error.strerror or error}); the checkpoints are untouched. Free some "
            "space and resume.",
        ) from error
