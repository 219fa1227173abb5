"""The sampler cockpit: turn the settings of a sampler and see the whole history of one text.

Recordings come first as a table whose rows unfold; they need no kernel. The live cockpit shows these at once and, with
a model, records any other setting when it is asked for.
"""

from collections.abc import Callable, Sequence
from html import escape

import ipywidgets as controls
from IPython.display import display

from difflm_core.classroom.choices import choice
from difflm_core.classroom.cockpit import (
    Setting,
    Way,
    heard,
    record_all,
    record_one,
    recordings_html,
    recordings_text,
    usual_settings,
    usual_ways,
)
from difflm_core.classroom.films import html_table, when
from difflm_core.classroom.lesson import is_static
from difflm_core.classroom.recordings import Decode
from difflm_core.classroom.trajectories import Trajectory
from difflm_core.classroom.typed import NO_MODEL, answered
from difflm_core.models import Denoiser

Judge = Callable[[Trajectory], str]
NOT_RECORDED = (
    "This setting was not recorded, and there is no model to ask: load one, or choose a setting of the table."
)


def unjudged(film: Trajectory) -> str:
    return ""


def cockpit_controls(
    films: dict[Setting, Trajectory],
    ways: dict[str, Way],
    decode: Decode,
    L: int,
    denoiser: Denoiser | None = None,
    judged: Judge = unjudged,
    seed: int = 0,
) -> controls.VBox:
    """The live widget alone. Settings that the sampler does not read are greyed out."""
    look = {"layout": controls.Layout(width="440px"), "style": {"description_width": "90px"}}
    kept = dict(films)
    sampler = choice(list(ways), "sampler")
    parts = {
        "steps": controls.SelectionSlider(options=[1, 2, 4, 6, 8, 12, 16], value=8, description="steps", **look),
        "block": choice([("whole text", 0), *((f"{n} words", n) for n in range(2, L) if L % n == 0)], "block", 0),
        "temperature": controls.SelectionSlider(
            options=[0.0, 0.25, 0.5, 0.75, 1.0, 1.25], value=1.0, description="temperature", **look
        ),
        "threshold": controls.SelectionSlider(
            options=[0.3, 0.5, 0.7, 0.9, 0.99], value=0.9, description="threshold", **look
        ),
    }  # fmt: skip

    def film() -> Trajectory:
        setting = heard(Setting(sampler.value, **{name: part.value for name, part in parts.items()}), ways)
        if setting not in kept:
            if denoiser is None:
                raise ValueError(NOT_RECORDED)
            kept[setting] = record_one(denoiser, setting, ways, decode, L, seed)
        return kept[setting]

    def html() -> str:
        for name, part in parts.items():
            part.disabled = name not in ways[sampler.value].uses
        now = film()
        line = f"{now.title}: {when(now.steps[-1])} at the end. {judged(now)}"
        return f'<p role="status">{escape(line)}</p>{html_table(now)}'

    return answered([sampler, *parts.values()], html)


def sampler_cockpit(
    denoiser: Denoiser,
    decode: Decode,
    L: int = 12,
    ways: dict[str, Way] | None = None,
    settings: Sequence[Setting] | None = None,
    judged: Judge = unjudged,
    seed: int = 0,
) -> None:
    """One text under many settings: a table of recordings that unfold, then (with a live kernel) the cockpit.

        sampler_cockpit(model, word, judged=lambda film: ...)

    `judged(film)` is a short verdict on the finished text. DIFFLM_STATIC=1 or CI leaves only the table. ValueError
    without a denoiser.
    """
    if denoiser is None:
        raise ValueError(NO_MODEL)
    ways = ways or usual_ways()
    films = record_all(denoiser, settings or usual_settings(ways), ways, decode, L, seed)
    table, text = recordings_html(films.values(), judged), recordings_text(films.values(), judged)
    display({"text/html": table, "text/plain": text}, raw=True)
    if is_static():
        print("Run this cell in JupyterLab to turn the settings yourself.")
    else:
        display(cockpit_controls(films, ways, decode, L, denoiser, judged, seed))
