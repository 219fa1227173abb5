"""Settings of a sampler, and one text recorded under each: what the sampler cockpit shows.

Every recording starts from the same seed, so that what differs is the setting. A sampler reads only some settings
(`Way.uses`); the others are put to their defaults, and two settings that differ in nothing else are one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from html import escape

import torch

from difflm_core.classroom.films import html_table, text_table
from difflm_core.classroom.recordings import Decode, from_sample
from difflm_core.classroom.remasking import ErrorProbability, guided
from difflm_core.classroom.trajectories import Trajectory
from difflm_core.models import Denoiser
from difflm_core.samplers import (
    Plan,
    Rule,
    Sample,
    ancestral,
    blocks,
    confidence,
    remdm_cap,
    sample_masked,
    sample_remasking,
    star,
    star_plus,
    threshold,
)


@dataclass(frozen=True)
class Setting:
    """What can be turned in the cockpit. `block` 0 is the whole canvas."""

    sampler: str = "MDLM"
    steps: int = 8
    block: int = 0
    temperature: float = 1.0
    threshold: float = 0.9


@dataclass(frozen=True)
class Way:
    """A sampler of the cockpit: which settings it reads, and how it draws one text of length L."""

    uses: tuple[str, ...]
    draw: Callable[[Denoiser, Setting, int, torch.Generator], Sample]


def by_plan(plan: Callable[[Setting], Plan], *uses: str) -> Way:
    """A masked sampler: what is written stays. In blocks the plan is followed in each block."""

    def draw(denoiser, setting, L, generator):
        chosen = blocks(setting.block, plan(setting)) if setting.block else plan(setting)
        return sample_masked(
            denoiser, chosen, (1, L), generator=generator, temperature=setting.temperature, record=True
        )

    return Way((*uses, "block", "temperature"), draw)


def by_rule(rule: Rule) -> Way:
    """A sampler that takes words back by the rule."""

    def draw(denoiser, setting, L, generator):
        return sample_remasking(
            denoiser, rule, setting.steps, (1, L), generator=generator, temperature=setting.temperature, record=True
        )

    return Way(("steps", "temperature"), draw)


def usual_ways(wrong: ErrorProbability | None = None) -> dict[str, Way]:
    """MDLM, two plans by confidence, and three rules of remasking; with an error probability, G-Star as well."""
    ways = {
        "MDLM": by_plan(lambda setting: ancestral(setting.steps), "steps"),
        "most confident first": by_plan(lambda setting: confidence(setting.steps), "steps"),
        "threshold": by_plan(lambda setting: threshold(setting.threshold), "threshold"),
        "ReMDM cap 0.2": by_rule(remdm_cap(0.2)),
        "Star": by_rule(star()),
        "Star+ 0.6": by_rule(star_plus(0.6)),
    }
    return ways if wrong is None else ways | {"G-Star": by_rule(guided(wrong))}


def usual_settings(ways: dict[str, Way]) -> list[Setting]:
    """Each sampler at 4 and 8 steps; the threshold at two levels; MDLM also in blocks, and colder."""
    settings = [Setting(name, steps) for name, way in ways.items() if "steps" in way.uses for steps in (4, 8)]
    settings += [
        Setting(name, threshold=p) for name, way in ways.items() if "threshold" in way.uses for p in (0.5, 0.9)
    ]
    first = next(iter(ways))
    return [*settings, Setting(first, 4, block=4), Setting(first, 8, temperature=0.5)]


def heard(setting: Setting, ways: dict[str, Way]) -> Setting:
    """The setting with all that its sampler does not read at the defaults. ValueError for an unknown sampler."""
    if setting.sampler not in ways:
        raise ValueError(f"There is no sampler {setting.sampler!r}: choose one of {', '.join(ways)}.")
    ignored = [f for f in fields(Setting) if f.name != "sampler" and f.name not in ways[setting.sampler].uses]
    return replace(setting, **{f.name: f.default for f in ignored})


def spelled(setting: Setting, ways: dict[str, Way]) -> str:
    """`Star, 8 steps, temperature 1`."""
    said = {
        "steps": f"{setting.steps} steps",
        "block": f"blocks of {setting.block}" if setting.block else "",
        "threshold": f"threshold {setting.threshold:g}",
        "temperature": f"temperature {setting.temperature:g}",
    }
    read = ways[setting.sampler].uses
    return ", ".join([setting.sampler, *(text for name, text in said.items() if name in read and text)])


def record_one(
    denoiser: Denoiser, setting: Setting, ways: dict[str, Way], decode: Decode, L: int, seed: int = 0
) -> Trajectory:
    """One text under this setting."""
    setting = heard(setting, ways)
    sample = ways[setting.sampler].draw(denoiser, setting, L, torch.Generator().manual_seed(seed))
    return from_sample(sample, 0, decode, denoiser.V, spelled(setting, ways))


def record_all(
    denoiser: Denoiser, settings: Iterable[Setting], ways: dict[str, Way], decode: Decode, L: int, seed: int = 0
) -> dict[Setting, Trajectory]:
    """One text under each setting, all from one seed."""
    return {heard(s, ways): record_one(denoiser, s, ways, decode, L, seed) for s in settings}


def recordings_html(films: Iterable[Trajectory], judged: Callable[[Trajectory], str]) -> str:
    """The static twin: a row for each recording, its whole history folded behind it. No kernel, no script needed."""
    left, rows = 'style="text-align:left"', []
    for film in films:
        last = film.steps[-1]
        text = escape(" ".join(site.token.strip() for site in last.sites))
        rows.append(
            f'<tr><th scope="row" {left}>{escape(film.title)}</th><td>{last.calls}</td>'
            f"<td {left}>{escape(judged(film))}</td>"
            f"<td {left}><details><summary>{text}</summary>{html_table(film)}</details></td></tr>"
        )
    head = "".join(f'<th scope="col" {left}>{name}</th>' for name in ("sampler", "calls", "judged", "text (opens)"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def recordings_text(films: Iterable[Trajectory], judged: Callable[[Trajectory], str]) -> str:
    """The same as plain text, all histories unfolded."""
    return "\n\n".join(f"{text_table(film)}\n    judged: {judged(film) or 'not'}" for film in films)
