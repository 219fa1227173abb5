"""Buttons in place of a menu. In JupyterLab's command mode the arrow keys belong to the notebook, which moves its own
cursor and not a menu's; buttons are reached with Tab and pressed with Space.
"""

from collections.abc import Sequence

import ipywidgets as controls


def choice(options: Sequence, description: str, value=None) -> controls.ToggleButtons:
    """One of the options, shown side by side; `value` is the first by default."""
    values = [option[1] if isinstance(option, tuple) else option for option in options]
    return controls.ToggleButtons(
        options=list(options), value=values[0] if value is None else value, description=description,
        style={"button_width": "auto"}, layout=controls.Layout(width="auto"),
    )  # fmt: skip
