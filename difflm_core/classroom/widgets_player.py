"""The denoising player: walk through a recorded trajectory, forwards, backwards and by itself.

The filmstrip comes first and stays when there is no kernel. The pages are made beforehand, so a move only swaps them.
"""

import ipywidgets as controls
from IPython.display import display

from difflm_core.classroom.choices import choice
from difflm_core.classroom.films import filmstrip, step_html
from difflm_core.classroom.lesson import is_static, show
from difflm_core.classroom.trajectories import Trajectory

SPEEDS = {"slow": 1500, "medium": 700, "fast": 250}  # milliseconds a step


def page_turner(pages: list[str], what: str = "step") -> controls.VBox:
    """A player over ready-made HTML pages: play button, slider, buttons one back and one on, speed, and the page.

    Everything can be reached with Tab; the arrow keys move the slider, Space presses a button.
    """
    last = len(pages) - 1
    play = controls.Play(min=0, max=last, value=0, interval=SPEEDS["medium"], repeat=False, show_repeat=False)
    slider = controls.IntSlider(
        value=0, min=0, max=last, description=what, tooltip=f"{what} 0 to {last}",
        layout=controls.Layout(width="360px"),
    )  # fmt: skip
    back = controls.Button(description="◀ back", tooltip=f"one {what} back", layout=controls.Layout(width="80px"))
    on = controls.Button(description="on ▶", tooltip=f"one {what} on", layout=controls.Layout(width="80px"))
    speed = choice(list(SPEEDS), "speed", "medium")
    page = controls.HTML(pages[0])

    def turn(_=None) -> None:
        page.value = pages[slider.value]

    def move(by: int) -> None:
        slider.value = min(max(slider.value + by, 0), last)

    slider.observe(turn, "value")
    controls.link((play, "value"), (slider, "value"))
    speed.observe(lambda change: setattr(play, "interval", SPEEDS[change["new"]]), "value")
    back.on_click(lambda _: move(-1))
    on.on_click(lambda _: move(1))
    return controls.VBox([controls.HBox([play, slider]), controls.HBox([back, on, speed]), page])


def player_controls(film: Trajectory) -> controls.VBox:
    """The live widget alone."""
    return page_turner([step_html(film, k) for k in range(len(film.steps))])


def denoising_player(film: Trajectory) -> None:
    """How one text came to be: a filmstrip with all of it in words, then (with a live kernel) a player.

        denoising_player(from_sample(sample, 0, word, V, "MDLM, T = 8"))

    DIFFLM_STATIC=1 or CI leaves only the filmstrip.
    """
    figure, alt, words = filmstrip(film)
    caption = "Outlined: just written. Orange: changed. Grey with ✗: taken back in this step. "
    if is_static():
        show(figure, alt, caption + "Run this cell in JupyterLab to play it.", words)
    else:
        show(figure, alt, caption + "Below: press play, or focus the slider and use the arrow keys.", words)
        display(player_controls(film))
