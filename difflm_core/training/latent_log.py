"""What a latent run writes down while it goes on: log.jsonl, and the same rows for trackers."""

from pathlib import Path

from difflm_core.training import log
from difflm_core.training.latent_recipes import LatentRecipe
from difflm_core.training.latent_system import LatentSystem
from difflm_core.training.resume import flat, plain
from difflm_core.training.team import Team
from difflm_core.training.trackers import Trackers


class Journal:
    """log.jsonl of a run, and trackers that get the same rows: one for each twentieth of a stage, the last with the
    figures.
    """

    def __init__(self, trackers: tuple[str, ...], folder: Path, recipe: LatentRecipe):
        self.folder, self.logged, self.trackers = folder, 0, None
        if trackers:
            self.trackers = Trackers(trackers, Team().accelerator, folder, flat(plain(recipe)["settings"]))

    def about(self, system: LatentSystem, last: bool = False) -> None:
        """Everything that has been reached; trackers get what they have not got in this session."""
        rows = rows_of(system)
        log.rewrite(self.folder, rows)
        if self.trackers is not None:
            for row in rows[self.logged :]:
                self.trackers.log(row)
            if last:
                self.trackers.close()
        self.logged = len(rows)


def rows_of(system: LatentSystem) -> list[dict]:
    """{"step": 1, "loss of decoder": 5.1}, ...: step counts twentieths of stages; then the figures, where there are."""
    report, rows = system.report, []
    for stage, losses in report.losses.items():
        rows += [{"step": len(rows) + i, f"loss of {stage}": loss} for i, loss in enumerate(losses, start=1)]
    return rows + ([{"step": len(rows) + 1, **report.figures}] if report.figures else [])
