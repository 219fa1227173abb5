"""Every widget of the course in a notebook of its own, each driven by keyboard in a real JupyterLab; what is typed
wrong; and a kernel restarted under a live widget. Screenshots: tests/artefacts.
"""

import json
import urllib.request

import pytest
from test_lessons import LIVE, RUN_MS, changes, drawn, run_all

pytestmark = pytest.mark.browser

START_MS = 150_000

COURSE = {
    "setup": """
        from difflm_core.classroom.cockpit import Setting, usual_ways
        from difflm_core.classroom.lesson import load_results, setup
        from difflm_core.classroom.recordings import from_sample
        from difflm_core.classroom.remasking import exact_errors
        from difflm_core.classroom.schedule_curves import vector_noise
        from difflm_core.classroom.widgets_cockpit import sampler_cockpit
        from difflm_core.classroom.widgets_player import denoising_player
        from difflm_core.classroom.widgets_reader import reader_explorer
        from difflm_core.classroom.widgets_remasking import draft_inspector, remasking_inspector
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
    "draft": 'draft_inspector(wrong, language, "the great brown foxes hops over the lazy dog in brown boots")',
    "cockpit": 'sampler_cockpit(model, word, settings=[Setting("MDLM", 8), Setting("Star", 8)])',
}

LATENT = {
    "setup": """
        import torch
        from difflm_core.classroom.lesson import load_results, setup
        from difflm_core.classroom.schedule_curves import vector_noise
        from difflm_core.classroom.widgets_cosmos import interpolation_explorer
        from difflm_core.classroom.widgets_ld4lg import latent_explorer
        from difflm_core.classroom.widgets_planner import trajectory_explorer
        from difflm_core.classroom.widgets_tencdm import shift_explorer
        from difflm_core.data.toy_language import toy_language
        from difflm_core.models import LD4LG, DecoderConfig, LatentDecoder, PerceiverConfig
        from difflm_core.processes import GaussianProcess, ShiftedCosine
        from difflm_core.samplers import write_texts
        lesson, language = setup(), toy_language()
        V, L, word = language.V, language.length, language.words.__getitem__
        torch.set_grad_enabled(False)""",
    "ld4lg": """
        decoder = LatentDecoder(DecoderConfig(V, L, D=8, width=8, layers=1, heads=2))
        decoder.blocks[0].look.out.weight.data *= 30  # untrained, but what it writes depends on the latents
        model = LD4LG(PerceiverConfig(D=8, length=L, N=2, D_ae=4, width=8, layers=1, heads=2), decoder)
        latents, process = torch.randn(2, 2, 4), GaussianProcess(ShiftedCosine(1.0))
        ids = write_texts(model, latents).tokens
        latent_explorer(model, process, latents, ids, word, language.grammatical, lambda z, t: z / 2)""",
    "planner": """
        words = language.sample(10, generator=lesson.generator(1)).view(5, 2, L)
        trajectory_explorer(words, torch.linspace(1, 0, 5).tolist(), word)""",
    "tencdm": """
        study = load_results("recoverable_tokens")
        shift_explorer({"D = 64": vector_noise(study, 64), "D = 16": vector_noise(study, 16)})""",
    "cosmos": """
        pairs = language.sample(4, generator=lesson.generator(2)).view(2, 2, L)
        points = {"D = 8": torch.randn(V, 8), "D = 64": torch.randn(V, 64)}
        spaces = {name: (lambda z, e=e: -torch.cdist(z, e[None]), e[pairs]) for name, e in points.items()}
        interpolation_explorer(spaces, pairs, language)""",
}


def dedent(source: str) -> str:
    return "\n".join(line.strip() for line in source.strip().splitlines())


def notebook(cells: dict[str, str]) -> dict:
    code = [
        {
            "cell_type": "code",
            "id": name,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": dedent(text),
        }
        for name, text in cells.items()
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": code, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def run_cells(page, jupyter: str, cells: dict[str, str]) -> None:
    """The cells as a notebook, uploaded, opened, and told to run."""
    body = json.dumps({"type": "notebook", "format": "json", "content": notebook(cells)}).encode()
    request = urllib.request.Request(f"{jupyter}/api/contents/widgets.ipynb", body, method="PUT")
    urllib.request.urlopen(request).read()
    page.goto(f"{jupyter}/lab/tree/widgets.ipynb?reset")
    page.locator(".jp-Notebook .jp-Cell").nth(len(cells) - 1).wait_for(state="attached", timeout=START_MS)
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for(timeout=START_MS)
    run_all(page)


def cell_of(page, cells: dict[str, str], name: str):
    return page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{list(cells).index(name)}"]')


def press(page, control, *keys: str) -> None:
    control.wait_for(timeout=RUN_MS)
    control.scroll_into_view_if_needed()
    control.focus()
    for key in keys:
        page.keyboard.press(key)


def settled(page, live) -> list[str]:
    """What is drawn once nothing moves any more: a key pressed just before may still be on its way to the kernel."""
    now = drawn(live)
    for _ in range(20):
        page.wait_for_timeout(500)
        before, now = now, drawn(live)
        if now == before:
            break
    return now


def moved(page, cell, control, *keys: str) -> bool:
    """Whether what the cell draws becomes another when the keys are pressed on the control."""
    control.wait_for(timeout=RUN_MS)
    live = cell.locator(LIVE)
    before = settled(page, live)
    assert before, "the widget draws nothing"
    press(page, control, *keys)
    return changes(page, live, before)


def type_in(page, cell, text: str) -> None:
    box = cell.locator(".widget-text input").first  # the first textbox by role is the cell itself
    box.fill(text)  # as a paste does: all at once
    press(page, box, "Enter")


def test_every_widget_moves_by_keyboard(page, jupyter, artefacts):
    run_cells(page, jupyter, COURSE)

    player = cell_of(page, COURSE, "player")
    assert moved(page, player, player.get_by_role("slider").first, "ArrowRight", "ArrowRight")
    assert moved(page, player, player.get_by_role("button", name="◀ back"), "Space")
    assert moved(page, player, player.locator(".widget-play button").first, "Space")  # it plays by itself
    page.screenshot(path=artefacts / "widget-player.png")

    reader = cell_of(page, COURSE, "reader")
    assert moved(page, reader, reader.get_by_role("slider").first, "ArrowRight", "ArrowRight")
    page.screenshot(path=artefacts / "widget-reader.png")
    for bad, answer in {
        "": "no word yet",
        "the fox 🦊": "is not a word of this language",
        "the " * 2500: "10,000 characters",
        "<b>fox</b>": "is not a word of this language",
    }.items():
        type_in(page, reader, bad)
        reader.get_by_role("alert").get_by_text(answer).wait_for(timeout=10_000)
    page.screenshot(path=artefacts / "widget-reader-refuses.png")
    type_in(page, reader, "the great brown fox hops over the lazy dog")
    reader.get_by_role("status").get_by_text("an ideal reader restores").wait_for(timeout=10_000)

    schedules = cell_of(page, COURSE, "schedules")
    assert moved(page, schedules, schedules.get_by_role("button", name="tan-9"), "Space")
    assert moved(page, schedules, schedules.get_by_role("slider").first, "ArrowRight")
    page.screenshot(path=artefacts / "widget-schedules.png")

    inspector = cell_of(page, COURSE, "inspector")
    assert moved(page, inspector, inspector.get_by_role("slider").first, "ArrowRight", "ArrowRight", "ArrowRight")
    page.screenshot(path=artefacts / "widget-inspector.png")

    draft = cell_of(page, COURSE, "draft")
    assert moved(page, draft, draft.get_by_role("slider").first, "ArrowRight")
    type_in(page, draft, "the great brown fox hop")
    draft.get_by_role("status").get_by_text("hop (").wait_for(timeout=10_000)
    page.screenshot(path=artefacts / "widget-draft.png")

    cockpit = cell_of(page, COURSE, "cockpit")
    folded = cockpit.locator("details").first
    press(page, folded.locator("summary"), "Enter")  # the twin unfolds without the kernel
    assert folded.get_attribute("open") is not None
    page.screenshot(path=artefacts / "widget-cockpit-twin.png")
    assert moved(page, cockpit, cockpit.get_by_role("button", name="Star", exact=True), "Space")
    page.screenshot(path=artefacts / "widget-cockpit.png")

    assert page.complaints == []


def test_latent_widgets_move_by_keyboard(page, jupyter, artefacts):
    run_cells(page, jupyter, LATENT)
    for name, button in {"ld4lg": "sentence 2: z_t as it is", "planner": "", "tencdm": "D = 16", "cosmos": ""}.items():
        cell = cell_of(page, LATENT, name)
        assert moved(page, cell, cell.get_by_role("slider").first, *["ArrowRight"] * 3)
        choices = cell.locator(".widget-toggle-buttons button")
        other = cell.get_by_role("button", name=button, exact=True) if button else choices.nth(1)
        assert moved(page, cell, other, "Space")
        page.screenshot(path=artefacts / f"widget-{name}.png")
    assert page.complaints == []


def test_after_a_restart_the_twin_stays_and_the_cell_runs_again(page, jupyter, artefacts):
    """JupyterLab marks a widget without its kernel with broken chains: it moves, and draws nothing new."""
    cells = {name: LATENT[name] for name in ("setup", "tencdm")}
    run_cells(page, jupyter, cells)
    cell = cell_of(page, cells, "tencdm")
    slider, live = cell.get_by_role("slider").first, cell.locator(LIVE)
    assert moved(page, cell, slider, "ArrowRight")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel…", exact=True).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    cell.locator(".jupyter-widgets-disconnected").first.wait_for()
    before = drawn(live)
    press(page, slider, "ArrowRight")
    page.wait_for_timeout(2000)
    assert drawn(live) == before
    assert cell.locator(".jp-RenderedImage img").count() == 1  # the static twin
    page.screenshot(path=artefacts / "widget-restarted.png")
    assert page.complaints == []
    run_all(page)
    cell.locator(".jupyter-widgets-disconnected").first.wait_for(state="detached", timeout=RUN_MS)
    assert moved(page, cell, slider, "ArrowRight")
