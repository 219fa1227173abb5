"""Every lesson opened in a real JupyterLab; every widget's slider moved by keyboard. Screenshots: tests/artefacts."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

LESSONS = Path(__file__).resolve().parents[2] / "lessons"
NOTEBOOKS = sorted([*LESSONS.glob("*.ipynb"), *(LESSONS / "solutions").glob("*.ipynb")])
RUN_MS = 300_000  # a lesson in fast mode, up to its widget, or from there to its end
LIVE = ".widget-html, .widget-image"  # what a widget draws; its controls are not among it


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def widget_cells(path: Path) -> list[int]:
    """Positions of the cells that end in a live widget (tagged `widget` in the source)."""
    return [i for i, cell in enumerate(cells(path)) if "widget" in cell["metadata"].get("tags", [])]


def name(path: Path) -> str:
    return path.relative_to(LESSONS).as_posix()


def open_notebook(page, jupyter: str, path: Path) -> None:
    """Open the notebook and wait until all its cells and its kernel are there."""
    page.goto(f"{jupyter}/lab/tree/{name(path)}?reset")
    page.locator(".jp-Notebook .jp-Cell").nth(len(cells(path)) - 1).wait_for(state="attached", timeout=60_000)
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for(timeout=60_000)


def run_all(page) -> None:
    """Run all cells by the menu, as a student does.

    Just after a kernel starts JupyterLab may lose the request: it empties all prompts and runs nothing. Then ask again.
    """
    first = page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").first
    for _ in range(3):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_timeout(2000)
        if first.inner_text().strip() != "[ ]:":
            return
    raise AssertionError("JupyterLab runs no cell")


def cell(page, i: int):
    return page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{i}"]')


def drawn(live) -> list[str]:
    return live.evaluate_all("all => all.map(e => e.outerHTML)")


def changes(page, live, before: list[str]) -> bool:
    """Whether what the widget draws becomes another than `before`, at the latest when the kernel, which answers one
    after the other, has run the cells below.
    """
    for _ in range(RUN_MS // 50):
        if drawn(live) != before:
            return True
        page.wait_for_timeout(50)
    return False


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_lesson_renders_as_stored(path, page, jupyter, artefacts):
    open_notebook(page, jupyter, path)
    page.screenshot(path=artefacts / f"{path.stem}-{path.parent.name}-top.png")
    for i, stored in enumerate(cells(path)):
        pictures = sum("image/png" in output.get("data", {}) for output in stored.get("outputs", []))
        if pictures:
            cell(page, i).scroll_into_view_if_needed()
            images = cell(page, i).locator(".jp-RenderedImage img")
            images.nth(pictures - 1).wait_for(timeout=10_000)
            assert all(images.evaluate_all("all => all.map(image => image.complete && image.naturalWidth > 0)"))
    assert page.complaints == []


@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if widget_cells(path) and path.parent == LESSONS], ids=name
)
def test_widgets_move_by_keyboard(path, page, jupyter, artefacts):
    open_notebook(page, jupyter, path)
    run_all(page)
    for i in widget_cells(path):
        slider = cell(page, i).get_by_role("slider").first
        slider.wait_for(timeout=RUN_MS)
        slider.scroll_into_view_if_needed()
        live = cell(page, i).locator(LIVE)
        before = drawn(live)
        assert before, "the widget draws nothing"
        page.screenshot(path=artefacts / f"{path.stem}-cell{i}-before.png")
        slider.focus()
        value = slider.get_attribute("aria-valuenow")
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        assert changes(page, live, before), "the arrow keys change nothing"
        assert slider.get_attribute("aria-valuenow") != value
        page.screenshot(path=artefacts / f"{path.stem}-cell{i}-after.png")
    assert page.complaints == []
