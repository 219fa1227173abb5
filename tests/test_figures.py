"""The pictures of README and the overview: the same bytes every time, alternative texts where they are shown."""

import re
from pathlib import Path

import torch

from difflm_core.classroom import figures
from difflm_core.classroom.pictures.families import FAMILIES, TIMELINE, latent_families, timeline
from difflm_core.classroom.pictures.overview import step_ends
from difflm_core.processes import masked
from difflm_core.samplers import Sample, random_remask, sample_remasking, star
from difflm_core.samplers.sample import frame

ROOT = Path(__file__).resolve().parents[1]
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")


def images(path: Path) -> dict[str, str]:
    return {Path(name).name: alt for alt, name in IMAGE.findall(path.read_text(encoding="utf-8"))}


def test_every_stored_picture_is_drawn_by_the_command_small_and_has_its_alternative_text():
    listed = images(ROOT / "figures" / "README.md")
    assert set(listed) == {f"{draw.__name__}.png" for draw in figures.STILLS} | {"two_ways_to_write.gif"}
    assert set(listed) == {path.name for path in (ROOT / "figures").iterdir()} - {"README.md"}
    for name, alt in listed.items():
        assert len(alt) > 80 and (ROOT / "figures" / name).stat().st_size < 1_000_000


def test_the_readme_shows_stored_pictures_with_their_alternative_texts():
    listed, shown = images(ROOT / "figures" / "README.md"), images(ROOT / "README.md")
    assert shown and all(listed[name] == alt for name, alt in shown.items())


def test_drawings_are_the_same_every_time_and_name_everything():
    first, again = figures.still(timeline), figures.still(timeline)
    assert first == again
    assert all(name in first[2] for name, *_ in TIMELINE)
    alt = latent_families()[1]
    assert all(family.name in alt and f"{family.vectors} × {family.width}" in alt for family in FAMILIES)


def test_grids_show_one_row_for_each_step_also_of_a_guided_one():
    class Coin:
        V = 2

        def hidden(self, z, t):
            return torch.zeros(*z.shape, 2)

        def logits(self, h):
            return h

    for rule in (star(), random_remask(1.0)):
        out = sample_remasking(Coin(), rule, 4, (3, 4), generator=torch.Generator().manual_seed(0), record=True)
        states = step_ends(out, 1)
        assert len(states) == 5 and torch.equal(states[-1], out.tokens[1]) and bool((states[0] == 2).all())
    counts = (states == masked(2).mask_id).sum(1).tolist()
    assert counts == [4, 3, 2, 1, 0]
    film = [frame(torch.tensor([[k]]), torch.tensor([1 - k / 2]), torch.tensor([[True]])) for k in range(2)]
    assert step_ends(Sample(torch.tensor([[1]]), torch.tensor([1]), film), 0).flatten().tolist() == [0, 1]
