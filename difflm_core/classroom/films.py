"""A trajectory shown: as marked words, as a filmstrip, as a text table for screen readers, as HTML and as an animation.

All four say the same. What a step did to a word is said by a sign as well as by a style (sentences.py): +written+,
[changed], -taken back-, and ▢ for a mask.
"""

import io
from collections.abc import Sequence
from html import escape

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from difflm_core.classroom.fills import FILM_WIDTH, PER_LINE, STYLE
from difflm_core.classroom.plots import token_grid
from difflm_core.classroom.sentences import (
    CHANGED,
    KEPT,
    MASK_SIGN,
    MASKED,
    NEW,
    TAKEN,
    Sentence,
    Word,
    legend,
    signed,
    to_html,
    to_text,
)
from difflm_core.classroom.trajectories import CHANGED as CHANGED_SITE
from difflm_core.classroom.trajectories import REMASKED, WRITTEN, Site, Step, Trajectory

MARK = {WRITTEN: NEW, CHANGED_SITE: CHANGED, REMASKED: TAKEN}
SAID = {WRITTEN: "written", CHANGED_SITE: "changed", REMASKED: "taken back"}
FIGURE_SPACE = "\u2007"  # as wide as a digit
FILM_ROWS = 18  # more rows cannot be read in a picture


def words_of(film: Trajectory, k: int) -> Sentence:
    """The text after step k, marked by what the step did; a word that was taken back is shown, crossed out."""
    before = film.steps[max(k - 1, 0)].sites
    return [word_of(site, old, film.mask_id) for site, old in zip(film.steps[k].sites, before, strict=True)]


def word_of(site: Site, old: Site, mask_id: int) -> Word:
    if site.change == REMASKED:
        return Word(old.token.strip() or "␣", TAKEN)
    if site.id == mask_id:
        return Word(MASK_SIGN, MASKED)
    return Word(site.token.strip() or "␣", MARK.get(site.change, KEPT))


def when(step: Step) -> str:
    """`t = 0.50, 3 calls`."""
    return f"t = {step.t:.2f}" + ("" if step.calls is None else f", {step.calls} call{'s' * (step.calls != 1)}")


def happened(film: Trajectory, k: int) -> str:
    """What step k did, in words: `written: fox (position 4, p = 0.41, 1.73 nats); taken back: dog (position 9)`."""
    parts = []
    for change, said in SAID.items():
        places = [i for i, site in enumerate(film.steps[k].sites) if site.change == change]
        if places:
            parts.append(f"{said}: " + ", ".join(told(film, k, i) for i in places))
    return "; ".join(parts) or ("the beginning" if k == 0 else "nothing changed")


def told(film: Trajectory, k: int, i: int) -> str:
    site = film.steps[k].sites[i]
    facts = [f"position {i + 1}"]
    facts += [] if site.probability is None else [f"p = {site.probability:.2f}"]
    facts += [] if site.entropy is None else [f"{site.entropy:.2f} nats"]
    return f"{words_of(film, k)[i].text} ({', '.join(facts)})"


def chosen_steps(film: Trajectory, most: int = FILM_ROWS) -> list[int]:
    """All steps, or `most` of them, evenly spread, with the first and the last."""
    last = len(film.steps) - 1
    return list(range(last + 1)) if last < most else [round(k * last / (most - 1)) for k in range(most)]


def filmstrip(film: Trajectory) -> tuple[Figure, str, str]:
    """The picture, its alternative text, and all of it in words (`text_table`)."""
    rows, wide = chosen_steps(film), min(film.length, FILM_WIDTH)
    shown = [] if wide == film.length else [f"first {wide} of {film.length} positions"]
    shown += [] if len(rows) == len(film.steps) else [f"{len(rows)} of {len(film.steps)} steps"]
    title = film.title + (f" ({', '.join(shown)})" if shown else "")
    fig = token_grid([words_of(film, k)[:wide] for k in rows], [when(film.steps[k]) for k in rows], title)
    end = " ".join(site.token.strip() for site in film.steps[-1].sites)
    alt = f"{film.title}: grid of {len(rows)} steps and {wide} positions. It begins with {counted(film, 0)} and ends, "
    return fig, alt + f"at {when(film.steps[-1])}, with: {end}.", text_table(film)


def counted(film: Trajectory, k: int) -> str:
    """`12 of 12 masked` at step k."""
    return f"{sum(site.id == film.mask_id for site in film.steps[k].sites)} of {film.length} masked"


def text_table(film: Trajectory) -> str:
    """For terminals and screen readers: for each step a line with the text and a line with what happened."""
    lines = [film.title]
    for k, step in enumerate(film.steps):
        lines += [f"step {step.number}, {when(step)}: {to_text(words_of(film, k))}", f"    {happened(film, k)}"]
    return "\n".join([*lines, legend(words_of(film, k) for k in range(len(film.steps)))])


def html_table(film: Trajectory) -> str:
    """All steps as one HTML table with headers; needs no kernel, no script and no style sheet."""
    left = 'style="text-align:left"'
    rows = "".join(
        f'<tr><th scope="row" {left}>{step.number}</th><td {left}>{when(step)}</td>'
        f"<td {left}>{to_html(words_of(film, k))}</td></tr>"
        for k, step in enumerate(film.steps)
    )
    head = "".join(f'<th scope="col" {left}>{name}</th>' for name in ("step", "when", "text"))
    signs = legend(words_of(film, k) for k in range(len(film.steps)))
    return (
        f"<table><caption {left}>{escape(film.title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        f"<p><small>{escape(signs)}</small></p>"
    )


def step_html(film: Trajectory, k: int) -> str:
    """One step for the live player: words, and under each what it was written with; at most PER_LINE side by side."""
    step, words = film.steps[k], words_of(film, k)
    line = escape(f"{film.title}, step {step.number} of {film.steps[-1].number}, {when(step)}: {happened(film, k)}")
    tables = [lines_html(step, words, range(start, min(start + PER_LINE, film.length)))
              for start in range(0, film.length, PER_LINE)]  # fmt: skip
    return f'{STYLE}<div class="difflm-fill"><p role="status">{line}</p>{"".join(tables)}</div>'


CLASS = {MASKED: "mask", NEW: "right", CHANGED: "wrong", TAKEN: "mask"}


def lines_html(step: Step, words: Sentence, places: range) -> str:
    text = "".join(f'<td class="{CLASS.get(words[i].mark, "")}">{escape(signed(words[i]))}</td>' for i in places)
    rows = f'<tr><th scope="row">text</th>{text}</tr>'
    for name, unit in (("probability", ""), ("entropy", " nats")):
        values = [getattr(step.sites[i], name) for i in places]
        if any(value is not None for value in values):
            cells = "".join(f"<td>{'' if v is None else f'{v:.2f}'}</td>" for v in values)
            rows += f'<tr><th scope="row">{name}{unit}</th>{cells}</tr>'
    return f"<table>{rows}</table>"


def animated(films: Sequence[Trajectory], labels: Sequence[str] | None = None, milliseconds: int = 550) -> bytes:
    """A GIF that loops: one row for each trajectory, all at the same count of steps; the same bytes every time.

    A trajectory that has ended waits for the others. Labels stand at the left (default: the titles).
    """
    if not films:
        raise ValueError("animated() needs at least one trajectory.")
    pictures = []
    for k in range(max(len(film.steps) for film in films)):
        now = [min(k, len(film.steps) - 1) for film in films]
        rows = [still(words_of(film, i)) if i < k else words_of(film, i) for film, i in zip(films, now)]
        costs = [film.steps[i].calls for film, i in zip(films, now)]
        names = [film.title for film in films] if labels is None else labels
        said = [name if c is None else f"{name}, calls: {padded(c, films)}" for name, c in zip(names, costs)]
        pictures.append(picture(token_grid(rows, said)))
    return animation(pictures, milliseconds)


def padded(calls: int, films: Sequence[Trajectory]) -> str:
    """The number at the width of the largest one, so that the picture does not shift between frames."""
    wide = max(len(str(film.steps[-1].calls)) for film in films)
    return str(calls).rjust(wide, FIGURE_SPACE)


def still(words: Sentence) -> Sentence:
    """The words without the marks of their last step."""
    return [word if word.mark == MASKED else Word(word.text) for word in words]


def picture(fig: Figure) -> Image.Image:
    """The figure as an image of 32 colours, which is what keeps an animation small."""
    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=90, metadata={"Software": None})
    plt.close(fig)
    return Image.open(raw).convert("RGB").quantize(32)


def animation(frames: list[Image.Image], milliseconds: int = 550) -> bytes:
    """A looping GIF; the last frame stands longer."""
    out = io.BytesIO()
    pauses = [milliseconds] * (len(frames) - 1) + [2500]
    frames[0].save(out, format="gif", save_all=True, append_images=frames[1:], duration=pauses, loop=0)
    return out.getvalue()
