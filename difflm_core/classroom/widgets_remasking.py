"""The remasking inspector: a draft, how likely each word is wrong, and what each rule would take back from it.

`remasking_inspector` walks through the drafts of one text; `draft_inspector` looks at a sentence that you type.
"""

from dataclasses import dataclass, replace
from html import escape

import ipywidgets as controls
import torch
from IPython.display import display
from jaxtyping import Bool, Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from difflm_core.classroom.fills import PER_LINE, STYLE, Decode
from difflm_core.classroom.lesson import is_static, show
from difflm_core.classroom.remasking import Draft, ErrorProbability, drafts_of, hidden_after, one_outcome, usual_rules
from difflm_core.classroom.typed import NO_MODEL, answered, read_sentence
from difflm_core.classroom.widgets_player import page_turner
from difflm_core.samplers import Rule

LEVELS = (  # error probability up to, sign, background, text: from white to vermillion, told apart by the sign as well
    (0.05, "", "#ffffff"),
    (0.25, "?", "#fde7e0"),
    (0.6, "??", "#f6b99b"),
    (1.01, "???", "#e98452"),
)

LOOKS = "Colour and ?: how likely the word is wrong. Numbers: how likely a rule hides it; ✗: it did, this time."
SIGNS = "?, ??, ???: wrong with more than 5, 25, 60 per cent. ✗: hidden in this outcome; the number is its probability."


@dataclass(frozen=True)
class Inspection:
    """A draft with, for each rule, the probability that a word is hidden afterwards, and one outcome."""

    draft: Draft
    hidden: dict[str, Float[Tensor, "L"]]
    outcome: dict[str, Bool[Tensor, "L"]]


def inspect(draft: Draft, rules: dict[str, Rule], seed: int = 0) -> Inspection:
    """What each rule would do; the same seed gives the same coins at every draft."""
    u = torch.rand(len(draft.tokens), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    seeded = {name: torch.Generator().manual_seed(seed) for name in rules}
    hidden = {name: hidden_after(rule, draft, seeded[name]) for name, rule in rules.items()}
    outcome = {name: one_outcome(rule, draft, hidden[name], u, seeded[name]) for name, rule in rules.items()}
    return Inspection(draft, hidden, outcome)


def level(p: float) -> tuple[str, str]:
    """The sign and the colour of an error probability."""
    return next((sign, colour) for up_to, sign, colour in LEVELS if p <= up_to)


def suspects(found: Inspection, decode: Decode, most: int = 3) -> str:
    """The words most likely wrong, in words."""
    worst = found.draft.wrong.argsort(descending=True)[:most].tolist()
    return ", ".join(f"{decode(int(found.draft.tokens[i]))} ({found.draft.wrong[i]:.0%})" for i in worst)


def summary(found: Inspection, decode: Decode) -> str:
    """One line: the step, the suspects, and how many words each rule would hide on average."""
    counts = ", ".join(f"{name} {p.sum():.1f}" for name, p in found.hidden.items())
    step = f"from t = {found.draft.t:.2f} to {max(found.draft.s, 0):.2f}"
    return f"{step}: most likely wrong: {suspects(found, decode)}. Words hidden afterwards, on average: {counts}"


def inspection_html(found: Inspection, decode: Decode) -> str:
    """The live picture. Colour and question marks say how likely a word is wrong; ✗ that a rule hides it this time."""
    L, parts = len(found.draft.tokens), []
    for start in range(0, L, PER_LINE):
        places = range(start, min(start + PER_LINE, L))
        rows = [("draft", [word_cell(found, i, decode) for i in places])]
        rows += [("written", [plain("kept" if found.draft.visible[i] else "new") for i in places])]
        for name, p in found.hidden.items():
            rows.append((name, [rule_cell(float(p[i]), bool(found.outcome[name][i])) for i in places]))
        body = "".join(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>' for name, cells in rows)
        parts.append(f"<table>{body}</table>")
    line, note = escape(summary(found, decode)), f"<p><small>{SIGNS}</small></p>"
    return f'{STYLE}<div class="difflm-fill"><p role="status">{line}</p>{"".join(parts)}{note}</div>'


def word_cell(found: Inspection, i: int, decode: Decode) -> str:
    p = float(found.draft.wrong[i])
    sign, colour = level(p)
    text = escape(decode(int(found.draft.tokens[i])).strip() or "␣")
    return f'<td style="background:{colour};color:#222">{text}<br><small>{p:.0%} {sign}</small></td>'


def rule_cell(p: float, hidden: bool) -> str:
    return f'<td class="{"mask" if hidden else ""}">{"✗ " if hidden else ""}{p:.0%}</td>'


def plain(text: str) -> str:
    return f"<td><small>{text}</small></td>"


def inspector_figure(found: list[Inspection], decode: Decode) -> tuple[Figure, str, str]:
    """The static twin: one panel a draft, a row a rule; shade is the probability of being hidden, ✗ one outcome."""
    fig, axes = plt.subplots(len(found), 1, figsize=(9.5, 1.75 * len(found) + 0.3), squeeze=False)
    for ax, one in zip(axes[:, 0], found, strict=True):
        panel(ax, one, decode)
    words = [summary(one, decode) for one in found]
    opening = "Drafts of one text in the order of sampling" if len(found) > 1 else "One draft"
    ends = f"First and last: {words[0]}; {words[-1]}" if len(found) > 1 else f"The step goes {words[0]}"
    alt = f"{opening}; with each word the probability that it is wrong, and a row for each of "
    return fig, alt + f"{', '.join(found[0].hidden)}. {ends}.", ". ".join(words)


def panel(ax, found: Inspection, decode: Decode) -> None:
    L, names = len(found.draft.tokens), list(found.hidden)
    for i in range(L):
        p = float(found.draft.wrong[i])
        sign, colour = level(p)
        word = decode(int(found.draft.tokens[i])).strip()
        ax.add_patch(plt.Rectangle((i + 0.04, 0.05), 0.92, 0.9, facecolor=colour, edgecolor="#cccccc", lw=0.8))
        weight = "normal" if found.draft.visible[i] else "bold"
        ax.text(i + 0.5, 0.5, f"{word}\n{p:.0%} {sign}", ha="center", va="center", fontsize=7.5, weight=weight)
        for r, name in enumerate(names, 1):
            q, hidden = float(found.hidden[name][i]), bool(found.outcome[name][i])
            ax.add_patch(plt.Rectangle((i + 0.04, r + 0.05), 0.92, 0.9, facecolor=str(1 - 0.35 * q), lw=0))
            ax.text(i + 0.5, r + 0.5, f"{'✗ ' if hidden else ''}{q:.0%}", ha="center", va="center", fontsize=7.5)
    ax.set(xlim=(0, L), ylim=(len(names) + 1, 0), xticks=[], yticks=[r + 0.5 for r in range(len(names) + 1)])
    ax.set_yticklabels(["draft: wrong?", *names], fontsize=8)
    ax.set_title(f"from t = {found.draft.t:.2f} to {max(found.draft.s, 0):.2f}", fontsize=9)
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)


def inspector_controls(found: list[Inspection], decode: Decode) -> controls.VBox:
    """The live widget alone."""
    return page_turner([inspection_html(one, decode) for one in found], "draft")


def remasking_inspector(
    denoiser,
    wrong: ErrorProbability,
    decode: Decode,
    T: int = 8,
    L: int = 12,
    rules: dict[str, Rule] | None = None,
    seed: int = 0,
) -> None:
    """What each rule would take back, draft by draft, while G-Star writes one text of L words in T steps.

        remasking_inspector(model, exact_errors(language), word)           # or predicted_errors(predictor)

    First three drafts as a picture, then (with a live kernel) all of them with a slider. DIFFLM_STATIC=1 or CI leaves
    only the picture. Raises ValueError if the denoiser is missing or another T leaves no complete draft.
    """
    if denoiser is None:
        raise ValueError(NO_MODEL)
    drafts, _ = drafts_of(denoiser, wrong, T, L, torch.Generator().manual_seed(seed))
    found = [inspect(draft, rules or usual_rules(known(draft)), seed) for draft in drafts]
    shown = [found[i] for i in sorted({0, len(found) // 2, max(len(found) - 2, 0)})]
    figure, alt, words = inspector_figure(shown, decode)
    if is_static():
        show(figure, alt, f"Bold: just drafted. {LOOKS} Run this cell in JupyterLab to walk through all drafts.", words)
    else:
        show(figure, alt, f"Bold: just drafted. {LOOKS} Below: all drafts, with the arrow keys on the slider.", words)
        display(inspector_controls(found, decode))


def known(draft: Draft) -> ErrorProbability:
    """The error probabilities of this one draft, not computed again."""
    return lambda tokens: draft.wrong.expand(tokens.shape)


def typed_draft(text: str, wrong: ErrorProbability, language, t: float = 0.5) -> Draft:
    """A typed sentence as a draft of which every word was visible at t; the step is 1/8 long. ValueError as
    `read_sentence`.
    """
    ids = read_sentence(text, language)
    return Draft(t, t - 0.125, ids, torch.ones_like(ids, dtype=torch.bool), torch.ones(len(ids)), wrong(ids[None])[0])


def draft_controls(wrong: ErrorProbability, language, text: str = "", seed: int = 0) -> controls.VBox:
    """The live widget alone: a text box for the draft, a slider for t, and what each rule would take back."""
    box = controls.Text(value=text, description="draft", continuous_update=False, layout=controls.Layout(width="640px"))
    slider = controls.FloatSlider(
        value=0.5, min=0.125, max=1.0, step=0.125, description="from t", readout_format=".3f",
        tooltip="the step goes from t to t - 0.125", layout=controls.Layout(width="420px"),
    )  # fmt: skip
    read: dict[str, Draft] = {}  # the last draft, so that a move of the slider reads nothing again

    def draft(text: str, t: float) -> Draft:
        if text not in read:
            new = typed_draft(text, wrong, language)
            read.clear()
            read[text] = new
        return replace(read[text], t=t, s=t - 0.125)

    def html() -> str:
        now = draft(box.value, slider.value)
        return inspection_html(inspect(now, usual_rules(known(now)), seed), language.words.__getitem__)

    return answered([box, slider], html)


def draft_inspector(wrong: ErrorProbability, language, text: str, seed: int = 0) -> None:
    """What each rule would take back from a draft of your own, at noise level t, if all its words were visible.

        draft_inspector(exact_errors(language), language, "the great brown foxes hops over the lazy dog in brown boots")

    First the picture at t = 0.5, then (with a live kernel) a text box and a slider for t. DIFFLM_STATIC=1 or CI leaves
    only the picture. ValueError as `read_sentence`.
    """
    draft = typed_draft(text, wrong, language)
    figure, alt, words = inspector_figure([inspect(draft, usual_rules(known(draft)), seed)], language.words.__getitem__)
    if is_static():
        show(figure, alt, f"{LOOKS} Run this cell in JupyterLab to type a draft of your own.", words)
    else:
        show(figure, alt, f"{LOOKS} Below: type a draft of your own, and move t.", words)
        display(draft_controls(wrong, language, text, seed))
