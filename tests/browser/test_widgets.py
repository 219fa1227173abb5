"""The widgets that no lesson shows yet, in a notebook of their own, each driven by keyboard in a real JupyterLab.

Screenshots: tests/artefacts.
"""

import json
import urllib.request

import pytest
from test_lessons import LIVE, RUN_MS, changes, drawn, run_all

pytestmark = pytest.mark.browser

START_MS = 150_000

CELLS = {
    "setup": """
        from difflm_core.classroom.cockpit import Setting, usual_ways
        from difflm_core.classroom.lesson import load_results, setup
        from difflm_core.classroom.recordings import from_sample
        from difflm_core.classroom.remasking import exact_errors
        from difflm_core.classroom.schedule_curves import vector_noise
        from difflm_core.classroom.widgets_cockpit import sampler_cockpit
        from difflm_core.classroom.widgets_player import denoising_player
        from difflm_core.classroom.widgets_reader import reader_explorer
        from difflm_core.classroom.widgets_remasking import remasking_inspector
        from difflm_core.classroom.widgets_schedule import schedule_explorer
        from difflm_core.data.toy_language import toy_language
        from difflm_core.samplers import sample_remasking, star
        from difflm_core.training.course import course_checkpoint
        lesson = setup()
        language, (model, _) = toy_language(), course_checkpoint("mdlm-tiny")
        word, wrong = language.words.__getitem__, exact_errors(language)""",
    "player": """
        sample = sample_remasking(model, star(), 6, (1, 12), generator=lesson.generator(), record=True)
        denoising_player(from_sample(sample, 0, word, language.V, "Star, T = 6"))""",
    "reader": "reader_explorer(language, times=(0.5,))",
    "schedules": 'schedule_explorer({"vectors, D = 16": vector_noise(load_results("recoverable_tokens"), 16)})',
    "inspector": "remasking_inspector(model, wrong, word)",
    "cockpit": 'sampler_cockpit(model, word, settings=[Setting("MDLM", 8), Setting("Star", 8)])',
}


def dedent(source: str) -> str:
    return "\n".join(line.strip() for line in source.strip().splitlines())


def notebook() -> dict:
    code = [
        {
            "cell_type": "code",
            "id": name,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": dedent(text),
        }
        for name, text in CELLS.items()
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": code, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def running(page, jupyter):
    """The notebook, uploaded, opened, and told to run."""
    body = json.dumps({"type": "notebook", "format": "json", "content": notebook()}).encode()
    request = urllib.request.Request(f"{jupyter}/api/contents/widgets.ipynb", body, method="PUT")
    urllib.request.urlopen(request).read()
    page.goto(f"{jupyter}/lab/tree/widgets.ipynb?reset")
    page.locator(".jp-Notebook .jp-Cell").nth(len(CELLS) - 1).wait_for(state="attached", timeout=START_MS)
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for(timeout=START_MS)
    run_all(page)
    return page


def cell_of(page, name: str):
    return page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{list(CELLS).index(name)}"]')


def press(page, control, *keys: str) -> None:
    control.wait_for(timeout=RUN_MS)
    control.scroll_into_view_if_needed()
    control.focus()
    for key in keys:
        page.keyboard.press(key)


def moved(page, cell, control, *keys: str) -> bool:
    """Whether what the cell draws becomes another when the keys are pressed on the control."""
    control.wait_for(timeout=RUN_MS)
    live = cell.locator(LIVE)
    before = drawn(live)
    assert before, "the widget draws nothing"
    press(page, control, *keys)
    return changes(page, live, before)


def test_every_widget_moves_by_keyboard(running, artefacts):
    page = running

    player = cell_of(page, "player")
    assert moved(page, player, player.get_by_role("slider").first, "ArrowRight", "ArrowRight")
    assert moved(page, player, player.get_by_role("button", name="◀ back"), "Space")
    assert moved(page, player, player.locator(".widget-play button").first, "Space")  # it plays by itself
    page.screenshot(path=artefacts / "widget-player.png")

    reader = cell_of(page, "reader")
    box = reader.locator(".widget-text input").first  # the first textbox by role is the cell itself
    assert moved(page, reader, box, "Control+a", "Delete", "Enter")
    assert "no word yet" in reader.get_by_role("alert").inner_text()
    page.screenshot(path=artefacts / "widget-reader-empty.png")
    box.fill("the fox 🦊")
    press(page, box, "Enter")
    reader.get_by_text("is not a word of this language").wait_for(timeout=10_000)
    box.fill("the great brown fox hops over the lazy dog")
    assert moved(page, reader, box, "Enter")
    assert moved(page, reader, reader.get_by_role("slider").first, "ArrowRight", "ArrowRight")
    page.screenshot(path=artefacts / "widget-reader.png")

    schedules = cell_of(page, "schedules")
    assert moved(page, schedules, schedules.get_by_role("button", name="tan-9"), "Space")
    assert moved(page, schedules, schedules.get_by_role("slider").first, "ArrowRight")
    page.screenshot(path=artefacts / "widget-schedules.png")

    inspector = cell_of(page, "inspector")
    assert moved(page, inspector, inspector.get_by_role("slider").first, "ArrowRight", "ArrowRight", "ArrowRight")
    page.screenshot(path=artefacts / "widget-inspector.png")

    cockpit = cell_of(page, "cockpit")
    folded = cockpit.locator("details").first
    press(page, folded.locator("summary"), "Enter")  # the twin unfolds without the kernel
    assert folded.get_attribute("open") is not None
    page.screenshot(path=artefacts / "widget-cockpit-twin.png")
    assert moved(page, cockpit, cockpit.get_by_role("button", name="Star", exact=True), "Space")
    page.screenshot(path=artefacts / "widget-cockpit.png")

    assert page.complaints == []
