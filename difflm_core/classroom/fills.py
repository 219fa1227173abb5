"""What a model makes of a partly masked sentence, as numbers, as words with marks, as a picture and as HTML.

Each position i keeps one fixed uniform number u_i and is masked iff u_i < P(masked at t): a larger t only masks more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import torch
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from difflm_core.classroom.plots import token_grid
from difflm_core.classroom.sentences import KEPT, MASK_SIGN, RIGHT, WRONG, Word

Decode = Callable[[int], str]
GUESSES = 3  # candidates shown per masked position
PER_LINE = 12  # positions side by side; 12 words of ordinary length fit 1280 pixels
FILM = (0.0, 0.25, 0.5, 0.75, 1.0)
FILM_WIDTH = 16  # more columns cannot be read in a picture


@dataclass(frozen=True)
class Fill:
    """One sentence at one t: which positions are masked, and the model's best guesses there (M masked rows, K each)."""

    t: float
    x: Int[Tensor, "L"]
    masked: Bool[Tensor, "L"]
    guesses: Int[Tensor, "M K"]
    probabilities: Float[Tensor, "M K"]

    def right(self) -> int:
        """How many masked positions the first guess restores."""
        return int((self.guesses[:, 0] == self.x[self.masked]).sum())


def fixed_uniforms(length: int, seed: int) -> Float[Tensor, "L"]:
    """The numbers u_i that decide at which t position i disappears."""
    return torch.rand(length, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def fill(x: Int[Tensor, "L"], u: Float[Tensor, "L"], t: float, process, denoiser) -> Fill:
    """Mask `x` at noise level t by the uniforms `u`; the denoiser gives the `GUESSES` most probable tokens there."""
    time = torch.tensor([t], device=x.device)
    masked = u.to(x.device) < process.masses(time)[1]
    z_t = torch.where(masked, process.mask_id, x)
    k = min(GUESSES, process.V)
    if not masked.any():
        return Fill(t, x, masked, x.new_zeros(0, k), torch.zeros(0, k, device=x.device))
    logits = denoiser.logits(denoiser.hidden(z_t[None], time)[0, masked])  # (M, V): masked rows only
    probabilities, guesses = logits.float().softmax(-1).topk(k)
    return Fill(t, x, masked, guesses, probabilities)


def count_line(f: Fill) -> str:
    """What a slider position shows, in one sentence."""
    hidden = int(f.masked.sum())
    return f"t = {f.t:.2f}: {hidden} of {len(f.x)} tokens masked, the model's first guess restores {f.right()}"


def fill_words(f: Fill, decode: Decode) -> list[Word]:
    """The sentence with the first guess and its probability at every masked position, marked right or wrong."""
    words = [Word(decode(int(i)).strip() or "␣", KEPT) for i in f.x]
    for row, i in enumerate(f.masked.nonzero().flatten().tolist()):
        right = f.guesses[row, 0] == f.x[i]
        text = decode(int(f.guesses[row, 0])).strip() or "␣"
        words[i] = Word(f"{text}\n{'✓' if right else '✗'} {f.probabilities[row, 0]:.0%}", RIGHT if right else WRONG)
    return words


def masking_filmstrip(x: Int[Tensor, "L"], process, denoiser, decode: Decode, seed: int = 0) -> tuple[Figure, str, str]:
    """The static twin: one row for each t of `FILM`, the first FILM_WIDTH positions.

    Returns the figure, its alternative text (the counts), and the rows in words.
    """
    u = fixed_uniforms(len(x), seed)
    fills = [fill(x, u, t, process, denoiser) for t in FILM]
    rows = [fill_words(f, decode)[:FILM_WIDTH] for f in fills]
    shown = f"the first {FILM_WIDTH} of {len(x)} positions" if len(x) > FILM_WIDTH else ""
    alt = "One row per noise level; grey cells are masked and hold the model's first guess. "
    alt += ". ".join([*map(count_line, fills), *filter(None, [shown])]) + "."
    said = [" ".join(word.text.replace("\n", " ") for word in row) for row in rows]
    words = ". ".join(f"t = {t:.2f}: {line}" for t, line in zip(FILM, said, strict=True))
    return token_grid(rows, [f"t = {t:.2f}" for t in FILM], title=shown), alt, words


def fill_html(f: Fill, decode: Decode) -> str:
    """The live picture: sentence, masked sentence and guesses as tables of at most PER_LINE positions."""
    rank = {i: row for row, i in enumerate(f.masked.nonzero().flatten().tolist())}
    parts = []
    for start in range(0, len(f.x), PER_LINE):
        places = range(start, min(start + PER_LINE, len(f.x)))
        clean = [cell(decode(int(f.x[i])), "") for i in places]
        noisy = [cell(MASK_SIGN, "mask") if i in rank else clean[i - start] for i in places]
        rows = [("sentence", clean), ("noisy", noisy)]
        for k in range(f.guesses.shape[1]):
            guesses = [guess(f, rank[i], k, i, decode) if i in rank else cell("", "") for i in places]
            rows.append((("1st guess", "2nd guess", "3rd guess")[k], guesses))
        body = "".join(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>' for name, cells in rows)
        parts.append(f"<table>{body}</table>")
    return f'{STYLE}<div class="difflm-fill"><p role="status">{count_line(f)}</p>{"".join(parts)}</div>'


STYLE = """<style>
.difflm-fill {overflow-x: auto}
.difflm-fill table {border-collapse: separate; border-spacing: 3px; font: 12px/1.25 monospace; margin: 0 0 8px}
.difflm-fill th {text-align: left; padding: 1px 6px 1px 0; font-weight: normal; white-space: nowrap}
.difflm-fill td {text-align: center; padding: 1px 2px; min-width: 48px; border: 2px solid transparent}
.difflm-fill td.mask {background: #d0d0d0; color: #333}
.difflm-fill td.right {border: 2px solid #009e73}
.difflm-fill td.wrong {border: 2px dashed #d55e00}
</style>"""


def cell(text: str, kind: str, below: str = "") -> str:
    """One table cell; `kind` names its style, `below` is HTML under the text."""
    return f'<td class="{kind}">{escape(text.strip() or ("␣" if text else ""))}{below}</td>'


def guess(f: Fill, row: int, k: int, i: int, decode: Decode) -> str:
    """The k-th guess at position i with its probability: framed and ticked if right, dashed and crossed if wrong."""
    right = bool(f.guesses[row, k] == f.x[i])
    kind, sign = ("right", "✓ ") if right else ("wrong", "✗ ") if k == 0 else ("", "")
    return cell(decode(int(f.guesses[row, k])), kind, f"<br><small>{sign}{f.probabilities[row, k]:.0%}</small>")
