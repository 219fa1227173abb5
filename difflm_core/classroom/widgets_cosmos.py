"""Between two texts in several latent spaces: `interpolation_explorer`. A slider walks from one latent to another, and
each space says what its decoder reads there. The static twin, a table, comes first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import ipywidgets as controls
import torch
from IPython.display import display
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.classroom.choices import choice
from difflm_core.classroom.lesson import Row, is_static, samples_table
from difflm_core.classroom.sentences import CHANGED, KEPT, WRONG, Sentence, Word, to_html

Decode = Callable[[Float[Tensor, "B N E"]], Float[Tensor, "B L V"]]
STOPS = 21  # positions of the slider
STATIC = (0.0, 0.25, 0.5, 0.75, 1.0)
SIGNS = "Unmarked: a word of the first text. [word]: of the second. word✗: of neither."


@dataclass(frozen=True)
class Walks:
    """All that the slider can show: words[space] (pairs, STOPS, L), right[space] (pairs, STOPS) whether the sentence is
    grammatical, and the true texts ids (pairs, 2, L).
    """

    words: dict[str, Int[Tensor, "P S L"]]
    right: dict[str, Bool[Tensor, "P S"]]
    ids: Int[Tensor, "P 2 L"]

    def marked(self, space: str, pair: int, stop: int, decode: Callable[[int], str]) -> Sentence:
        """The words read there: those of the first text as they are, those of the second and of neither marked."""
        first, second = self.ids[pair].tolist()
        rows = zip(self.words[space][pair, stop].tolist(), first, second)
        return [Word(decode(i), KEPT if i == a else CHANGED if i == b else WRONG) for i, a, b in rows]

    def told(self, space: str, pair: int, stop: int) -> str:
        """`5 of 12 words from the first text, 4 from the second, 3 from neither: broken`."""
        first, second = self.ids[pair]
        read = self.words[space][pair, stop]
        of_first, of_second = int((read == first).sum()), int(((read == second) & (read != first)).sum())
        neither = len(first) - of_first - of_second
        verdict = "grammatical" if bool(self.right[space][pair, stop]) else "broken"
        counts = f"{of_first} of {len(first)} words from the first text, {of_second} from the second"
        return f"{counts}, {neither} from neither: {verdict}"


@torch.no_grad()
def walk(
    spaces: dict[str, tuple[Decode, Float[Tensor, "P 2 N E"]]],
    ids: Int[Tensor, "P 2 L"],
    grammatical: Callable[[Int[Tensor, "B L"]], Bool[Tensor, "B"]],
) -> Walks:
    """Decode (1 - w) z_first + w z_second for all pairs, all w, all spaces {name: (decode, latents of the pairs)}.

    Raises ValueError without a space or a pair, and where latents and texts are not of the same pairs.
    """
    if not spaces or ids.ndim != 3 or ids.shape[1] != 2 or not len(ids):
        raise ValueError(f"Give at least one space, and pairs of texts (P, 2, L); got ids {tuple(ids.shape)}.")
    weights, words, right = torch.linspace(0, 1, STOPS), {}, {}
    for name, (decode, latents) in spaces.items():
        if latents.shape[:2] != ids.shape[:2]:
            raise ValueError(f"{name}: latents {tuple(latents.shape)} for {len(ids)} pairs: give (P, 2, N, E).")
        first, second = latents.unbind(1)
        steps = [decode(torch.lerp(first, second, w)).argmax(-1) for w in weights.tolist()]
        words[name] = torch.stack(steps, dim=1)[..., : ids.shape[2]]
        right[name] = torch.stack([grammatical(read) for read in words[name]])
    return Walks(words, right, ids)


def static_rows(walks: Walks, decode: Callable[[int], str], pair: int = 0) -> list[Row]:
    """The twin's table: one pair, a few weights, all spaces under each other."""
    rows = []
    for weight in STATIC:
        stop = round(weight * (STOPS - 1))
        for space in walks.words:
            words = walks.marked(space, pair, stop, decode)
            rows.append((f"{weight:.2f}  {space}", words, walks.told(space, pair, stop)))
    return rows


def page(walks: Walks, decode: Callable[[int], str], pair: int, stop: int) -> str:
    """One position of the slider as HTML."""
    shown = {space: walks.marked(space, pair, stop, decode) for space in walks.words}
    lines = [
        f'<tr><th scope="row" style="text-align:left">{escape(space)}</th>'
        f'<td style="font-family:monospace;text-align:left">{to_html(words)}</td></tr>'
        for space, words in shown.items()
    ]
    ends = [escape(" ".join(map(decode, text))) for text in walks.ids[pair].tolist()]
    facts = ". ".join(f"{space}: {walks.told(space, pair, stop)}" for space in shown)
    return (
        f"<p>first: <code>{ends[0]}</code><br>second: <code>{ends[1]}</code></p><table>{''.join(lines)}</table>"
        f'<p role="status">Weight of the second text {stop / (STOPS - 1):.2f}. {escape(facts)}.</p>'
        f"<p><small>{SIGNS}</small></p>"
    )


def interpolation_controls(walks: Walks, decode: Callable[[int], str]) -> controls.VBox:
    """The live widget alone: buttons for the pairs, a slider for the weight, and what each space reads."""
    heads = [" … ".join(" ".join(map(decode, text[:4])) for text in pair) for pair in walks.ids.tolist()]
    menu = choice([(head, p) for p, head in enumerate(heads)], "pair")
    slider = controls.SelectionSlider(
        options=[(f"{stop / (STOPS - 1):.2f}", stop) for stop in range(STOPS)], value=STOPS // 2,
        description="weight", tooltip="0 is the first text, 1 the second", layout=controls.Layout(width="420px"),
    )  # fmt: skip
    picture = controls.HTML()

    def draw(_=None) -> None:
        picture.value = page(walks, decode, menu.value, slider.value)

    slider.observe(draw, "value")
    menu.observe(draw, "value")
    draw()
    return controls.VBox([menu, slider, picture])


def interpolation_explorer(
    spaces: dict[str, tuple[Decode, Float[Tensor, "P 2 N E"]]], ids: Int[Tensor, "P 2 L"], language
) -> None:
    """What lies between two texts, in several latent spaces side by side: a table, then (with a live kernel) a slider.

    `spaces` maps a name to (decode, latents (P, 2, N, E) of P pairs of texts), `ids` (P, 2, L) are the texts, and
    `language` has `words` and `grammatical`. All is decoded beforehand. DIFFLM_STATIC=1 or CI leaves only the table.
    Errors as `walk`.
    """
    walks, decode = walk(spaces, ids, language.grammatical), language.words.__getitem__
    title = f"From the first text (weight 0) to the second (1). {SIGNS}"
    samples_table(static_rows(walks, decode), title, ("weight, space", "what is read there", ""))
    if is_static():
        print("Run this cell in JupyterLab to drag the weight yourself.")
    else:
        print("Below: drag the weight, or focus the slider and use the arrow keys.")
        display(interpolation_controls(walks, decode))
