"""The pictures of README and the overview: the same bytes every time, alternative texts where they are shown."""

import io
import json
import re
from pathlib import Path

import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from difflm_core.classroom import figures
from difflm_core.classroom.course_map import QUESTIONS
from difflm_core.classroom.pictures import thumbnails
from difflm_core.classroom.pictures.families import FAMILIES, TIMELINE, latent_families, timeline
from difflm_core.classroom.pictures.lesson_12 import WRITERS
from difflm_core.classroom.pictures.overview import step_ends
from difflm_core.classroom.plots import BLUE
from difflm_core.processes import masked
from difflm_core.samplers import Sample, random_remask, sample_remasking, star
from difflm_core.samplers.sample import frame

ROOT = Path(__file__).resolve().parents[1]
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
SMALL = re.compile(r'<img src="([^"]+)" width="160" alt="([^"]+)">')


def images(path: Path) -> dict[str, str]:
    """The pictures that a page shows, {path inside figures/: alternative text}."""
    text = path.read_text(encoding="utf-8")
    found = [(name, alt) for alt, name in IMAGE.findall(text)] + SMALL.findall(text)
    assert len(found) == text.count("<img") + len(IMAGE.findall(text)), "an <img> is not written like the others"
    return {name.removeprefix("figures/"): alt for name, alt in found}


def is_small(name: str) -> bool:
    return name.startswith("lessons/")


def test_every_stored_picture_is_drawn_by_the_command_small_and_has_its_alternative_text():
    listed, folder = images(ROOT / "figures" / "README.md"), ROOT / "figures"
    drawn = {f"{draw.__name__}.png" for draw in figures.STILLS} | {"two_ways_to_write.gif"}
    assert set(listed) == drawn | {f"lessons/{number:02d}.png" for number in range(13)}
    stored = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(listed) == stored - {"README.md"}
    for name, alt in listed.items():
        least, most = (30, 25_000) if is_small(name) else (80, 1_000_000)
        assert len(alt) > least and (folder / name).stat().st_size < most, name


def test_the_readme_shows_stored_pictures_with_their_alternative_texts():
    listed, shown = images(ROOT / "figures" / "README.md"), images(ROOT / "README.md")
    assert shown and all(listed[name] == alt for name, alt in shown.items())


def test_every_lesson_has_its_small_picture_in_its_row_of_the_readme():
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if SMALL.search(line)]
    assert len(rows) == len(QUESTIONS) == len(thumbnails.THUMBNAILS)
    for row, (name, question) in zip(rows, QUESTIONS.items()):
        assert row.startswith(f'| <img src="figures/lessons/{name[:2]}.png"') and name in row and question in row


@pytest.mark.parametrize("number", range(13))
def test_small_pictures_are_small_the_same_every_time_and_said_as_they_are_listed(number):
    draw, open_before = thumbnails.THUMBNAILS[number], plt.get_fignums()
    first, again = figures.still(draw), figures.still(draw)
    assert first == again
    image = Image.open(io.BytesIO(first[1]))
    assert image.size == (320, 180) and len(image.convert("RGB").getcolors(1 << 20)) > 2
    assert first[2] == images(ROOT / "figures" / "README.md")[f"lessons/{number:02d}.png"]
    assert len(first[2]) <= 120 and not set(first[2]) & set('"|[]<>')  # it stands in an attribute, in a table
    assert plt.get_fignums() == open_before


def test_grids_of_writing_begin_masked_end_written_and_take_back_where_crosses_are():
    mask, language = thumbnails.MASK, figures.toy_language()
    states = torch.tensor([[9, 9, 9], [4, 9, 9], [9, 2, 9], [5, 2, 1]])
    expected = [[mask] * 3, [BLUE, mask, mask], [mask, BLUE, mask], [BLUE, thumbnails.PALE, BLUE]]
    assert thumbnails.faces(states, 9) == expected
    for draw, takes_back in ((thumbnails.masked_writing, False), (thumbnails.taking_back, True)):
        ax = draw()[0].axes[0]
        cells = [patch.get_facecolor() for patch in ax.patches]
        grey = [cell == thumbnails.colors.to_rgba(mask) for cell in cells]
        assert all(grey[: language.length]) and not any(grey[-language.length :])
        crosses = ax.lines[0].get_xydata().tolist() if ax.lines else []
        assert bool(crosses) == takes_back
        assert all(grey[int(y) * language.length + int(x)] for x, y in crosses)
        plt.close()


def test_the_laws_on_a_line_are_the_parts_of_the_normal_law():
    mean, variance = thumbnails.equal_parts(8)
    z = torch.randn(400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort().values
    parts = z.view(8, -1)
    assert torch.allclose(mean, parts.mean(1), atol=0.02) and torch.allclose(variance, parts.var(1), atol=0.02)
    assert abs((variance + mean.square()).mean().item() - 1) < 1e-12  # the law of total variance


def test_settling_undoes_the_stirring_of_lesson_06():
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b = z[:, 1] + (3 * z[:, 0]).sin()
    moved = torch.stack([z[:, 0] + (3 * b).sin(), b], -1)
    assert torch.allclose(thumbnails.settled(moved), z) and not torch.allclose(moved, z)


def test_the_last_small_picture_shows_the_scoreboard_where_it_is_stored(tmp_path, monkeypatch):
    runs = []
    for (method, sampler), grammatical in zip(WRITERS, torch.linspace(0.1, 0.9, len(WRITERS)).tolist()):
        same = {"method": method, "sampler": sampler, "seed": 0}
        for calls in (4,) if method == "ar" else (4, 8):
            figures_ = dict.fromkeys(("coverage", "distinct_2", "copied", "spread"), 0.5) | {"log_prob_gap": None}
            runs.append(same | {"what": "seconds", "calls": calls, "seconds": 1.0})
            runs.append(same | figures_ | {"what": "texts", "calls": calls, "network_calls": calls} |
                        {"grammatical": grammatical})  # fmt: skip
    monkeypatch.setattr(thumbnails, "lessons_folder", lambda: tmp_path)
    sketch, same_alt = thumbnails.which_one()
    assert len(sketch.axes[0].lines) < len(WRITERS)
    (tmp_path / "results").mkdir()
    stored = tmp_path / "results" / "scoreboard.json"
    stored.write_text(json.dumps({"study": "scoreboard", "runs": runs}), encoding="utf-8")
    monkeypatch.setattr(thumbnails, "load_results", lambda name: json.loads(stored.read_text(encoding="utf-8")))
    figure, alt = thumbnails.which_one()
    lines = figure.axes[0].lines
    assert len(lines) == len(WRITERS) and alt == same_alt
    assert lines[0].get_xydata().tolist() == [[4, pytest.approx(0.1)]] and lines[0].get_marker() == "o"
    assert lines[-1].get_ydata().tolist() == pytest.approx([0.9, 0.9])
    plt.close("all")


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
