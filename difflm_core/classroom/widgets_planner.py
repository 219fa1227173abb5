"""A slider along a sampler's steps: `trajectory_explorer`, what each step believes the text to be. The static twin, a
table of some of the steps, comes first.
"""

from collections.abc import Callable, Sequence
from html import escape

import ipywidgets as controls
import torch
from IPython.display import display
from jaxtyping import Int
from torch import Tensor

from difflm_core.classroom.choices import choice
from difflm_core.classroom.fills import Decode
from difflm_core.classroom.lesson import is_static, samples_table
from difflm_core.classroom.sentences import compared, legend, sentence, to_html

Describe = Callable[[Int[Tensor, "L"]], str]
NO_MASK = -1  # these texts are complete at every step


def believed(words: Int[Tensor, "T L"], step: int, decode: Decode):
    """The text of one step, with the words marked that the step before had otherwise."""
    before = words[max(step - 1, 0)]
    return compared(words[step], before, decode, NO_MASK)


def told(words: Int[Tensor, "T L"], step: int, describe: Describe | None) -> str:
    """How many words are already the final ones, and what `describe` says of the text."""
    final = f"{int((words[step] == words[-1]).sum())} of {words.shape[1]} words are final"
    return final if describe is None else f"{final}; {describe(words[step])}"


def trajectory_html(
    words: Int[Tensor, "T L"], times: Sequence[float], step: int, decode: Decode, describe: Describe | None = None
) -> str:
    text = believed(words, step, decode)
    signs = legend([text])
    return (
        f'<p style="font-family:monospace">{to_html(text)}</p><p>step {step} of {len(words) - 1}, t = '
        f"{times[step]:.2f}: {escape(told(words, step, describe))}</p><p><small>{escape(signs)}</small></p>"
    )


def trajectory_rows(
    words: Int[Tensor, "T L"], times: Sequence[float], decode: Decode, describe: Describe | None, rows: int
) -> list[tuple]:
    """The static twin: `rows` steps with even gaps, the first and the last among them, marked against the row above."""
    shown = torch.linspace(0, len(words) - 1, min(rows, len(words))).round().long().tolist()
    table, above = [], words[shown[0]]
    for step in shown:
        text = compared(words[step], above, decode, NO_MASK)
        table.append((f"t = {times[step]:.2f}", text, told(words, step, describe)))
        above = words[step]
    return table


def trajectory_controls(
    words: Int[Tensor, "T B L"], times: Sequence[float], decode: Decode, describe: Describe | None = None
) -> controls.VBox:
    """The live widget alone: buttons for the final texts, a slider over the steps, and the text that is believed there.

    Everything can be reached with Tab and pressed with Space; the slider moves with the arrow keys.
    """
    finals = [" ".join(word.text for word in sentence(text, decode, NO_MASK)) for text in words[-1]]
    menu = choice([(text, n) for n, text in enumerate(finals)], "ends as")
    menu.layout.display = None if len(finals) > 1 else "none"
    slider = controls.IntSlider(
        value=0, min=0, max=len(words) - 1, description="step", layout=controls.Layout(width="420px"),
        tooltip="step of the sampler: 0 has seen pure noise, the last is the result",
    )  # fmt: skip
    picture = controls.HTML()

    def draw(_=None) -> None:
        picture.value = trajectory_html(words[:, menu.value], times, slider.value, decode, describe)

    slider.observe(draw, "value")
    menu.observe(draw, "value")
    draw()
    return controls.VBox([menu, slider, picture])


def trajectory_explorer(
    words: Int[Tensor, "T B L"],
    times: Sequence[float],
    decode: Decode,
    describe: Describe | None = None,
    rows: int = 7,
    title: str = "What the sampler believes, step by step",
) -> None:
    """How a text forms while its codes are sampled: first a table, then (with a live kernel) a slider over the steps.

        words = write_trajectory(model, sample, standardise.inverse)      # (T, B, L)
        trajectory_explorer(words, [frame.t for frame in sample.trajectory], language.words.__getitem__)

    `times` are the noise levels of the steps; `describe(ids (L,))` may say what a text is about. The table shows the
    first text. DIFFLM_STATIC=1 or CI leaves only the table. Raises ValueError for words of another shape, and for
    another number of times.
    """
    if words.ndim != 3 or not words.numel() or len(times) != len(words):
        raise ValueError(
            f"trajectory_explorer needs words (steps, texts, L) and a time for each step, got {tuple(words.shape)} and "
            f"{len(times)} times."
        )
    samples_table(
        trajectory_rows(words[:, 0], times, decode, describe, rows), title=title, head=("", "decoded", "what is there")
    )
    if is_static():
        print("Run this cell in JupyterLab to move along the steps yourself.")
    else:
        display(trajectory_controls(words, times, decode, describe))
