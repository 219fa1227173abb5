"""Where else a run's numbers go, beside log.jsonl: TensorBoard, Weights & Biases and others, by name, through
Accelerate. None of them is a dependency of the course.
"""

import difflib
from pathlib import Path

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from tqdm import tqdm

PACKAGES = {"comet_ml": "comet_ml", "wandb": "wandb", "tensorboard": "tensorboard"}


class Trackers:
    """The trackers of these names, which write into `folder` where they write files. Only the main process speaks to
    them.
    """

    def __init__(self, names: tuple[str, ...], accelerator: Accelerator, folder: Path, settings: dict):
        self.accelerator, self.open = accelerator, bool(names)
        if self.open:
            accelerator.project_configuration.set_directories(str(folder))
            accelerator.log_with = list(names)
            accelerator.init_trackers(folder.name, {key: _plain(value) for key, value in settings.items()})

    def log(self, row: dict) -> None:
        """One row of the history. A tracker that fails is left alone from then on: it must not end a run."""
        if self.open:
            try:
                self.accelerator.log({key: value for key, value in row.items() if key != "step"}, step=row["step"])
            except Exception as error:  # whatever a service on the other side of a network may raise
                self.open = False
                tqdm.write(f"The tracker failed and gets nothing more ({error}); log.jsonl goes on.")

    def close(self) -> None:
        if self.open:
            self.accelerator.end_training()


def check_tracker(name: str) -> None:
    """ValueError for a name that Accelerate does not know, and for one whose package is not installed."""
    if name not in LOGGER_TYPE_TO_CLASS:
        near = difflib.get_close_matches(name, LOGGER_TYPE_TO_CLASS, n=1)
        said = f"did you mean {near[0]}?" if near else f"choose from {', '.join(LOGGER_TYPE_TO_CLASS)}."
        raise ValueError(f"There is no tracker {name!r}: {said}")
    if name not in map(str, get_available_trackers()):
        package = PACKAGES.get(name, name)
        raise ValueError(
            f"Tracker {name!r} needs a package that is not installed: run python -m pip install {package}, or leave "
            "the tracker out (log.jsonl is always written)."
        )


def _plain(value):
    return value if isinstance(value, bool | int | float | str) else str(value)
