"""Tidy the outputs of an executed notebook, so that a rebuild changes only what really changed.

Widget state and timings are dropped, progress bars are replaced by their final text, split prints are joined.
"""

import re
from html import unescape

from nbformat import NotebookNode

from difflm_core.classroom.notebooks import KERNEL, LANGUAGE

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


def tidy(nb: NotebookNode) -> None:
    """Normalise an executed notebook in place."""
    state = nb.metadata.pop("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for cell in nb.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = joined([tidy_output for output in cell.outputs for tidy_output in kept(output, state)])
    # what the kernel added (its Python version, for one) would differ between machines
    nb.metadata = NotebookNode(difflm=nb.metadata.difflm, kernelspec=dict(KERNEL), language_info=dict(LANGUAGE))


def kept(output: NotebookNode, state: dict) -> list[NotebookNode]:
    """The output as it is committed: none, one, or a bar's last line in place of the bar."""
    if output.output_type == "stream":
        output.text = last_states(output.text)
        return [output] if output.text.strip() else []
    view = output.get("data", {}).get(WIDGET_VIEW)
    if view is None:
        return [output]
    text = bar_text(view["model_id"], state)
    return [NotebookNode(output_type="stream", name="stdout", text=text + "\n")] if text else []


def last_states(text: str) -> str:
    """What a terminal would show at the end: after a carriage return a line is written over."""
    return re.sub(r"[^\n]*\r(?!\n|$)", "", text.replace("\r\n", "\n")).replace("\r", "")


def bar_text(model_id: str, state: dict) -> str:
    """The final text of a tqdm bar drawn as a widget (left text and right text); empty for any other widget."""
    children = state.get(model_id, {}).get("state", {}).get("children", [])
    models = [state.get(child.removeprefix("IPY_MODEL_"), {}) for child in children]
    if "FloatProgressModel" not in {model.get("model_name") for model in models}:
        return ""
    text = unescape(" ".join(m["state"]["value"].strip() for m in models if m.get("model_name") == "HTMLModel"))
    # the time stays, the speed to five digits goes; tqdm pads with figure spaces
    return re.sub(r"(\[[\d:]+)<[^,\]]*(, *[^,\]]*)?", r"\1", text.replace("\u2007", " "))


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring prints to the same stream as one output; where the kernel cuts them is chance."""
    result: list[NotebookNode] = []
    for output in outputs:
        if result and output.output_type == "stream" == result[-1].output_type and output.name == result[-1].name:
            result[-1].text += output.text
        else:
            result.append(output)
    return result
