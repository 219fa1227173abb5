"""A slider for noise on latents: what does an autoregressive decoder write of them? `latent_explorer`.

Everything is written before the slider is shown, with noise that is the same at every t, so that a move only looks up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ipywidgets as controls
import torch
from IPython.display import display
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.classroom.choices import choice
from difflm_core.classroom.corruptions import corruption_html, left_over
from difflm_core.classroom.fills import Decode
from difflm_core.classroom.lesson import is_static, samples_table
from difflm_core.classroom.sentences import Sentence, compared, sentence
from difflm_core.classroom.widgets import noise_controls
from difflm_core.samplers import write_texts

STEP = 0.05  # of the slider
NOISES = 4  # different noises; the button goes round them
FILM = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8)


@dataclass(frozen=True, eq=False)
class Written:
    """Texts (ways, K, noises, T, L) written of K noisy latents, and whether each is `right` (follows all rules)."""

    ways: tuple[str, ...]
    ids: Int[Tensor, "K L"]
    texts: Int[Tensor, "W K S T L"]
    right: Bool[Tensor, "W K S T"]
    decode: Decode

    def words(self, way: int, k: int, seed: int, place: int) -> Sentence:
        return compared(self.texts[way, k, seed, place], self.ids[k], self.decode, mask_id=-1)

    def rules(self, way: int, k: int, seed: int, place: int) -> str:
        return "all rules kept" if bool(self.right[way, k, seed, place]) else "a rule is broken"


@torch.no_grad()
def write_noisy(
    model,
    process,
    latents: Float[Tensor, "K N D"],
    ids: Int[Tensor, "K L"],
    decode: Decode,
    is_right: Callable[[Int[Tensor, "B L"]], Bool[Tensor, "B"]],
    denoise: Callable | None = None,
    seed: int = 0,
) -> Written:
    """Write the texts of z_t as it is and, with a `denoise(z_t, t)`, of its x_hat, at every time of the slider."""
    times = torch.arange(round(1 / STEP) + 1) * STEP
    K, N, D = latents.shape
    shape = (K, NOISES, len(times), N, D)
    t = times.repeat(K * NOISES)  # rows in the order of `shape`
    eps = torch.randn(K, NOISES, 1, N, D, generator=torch.Generator().manual_seed(seed)).expand(shape).flatten(0, 2)
    signal, noise = process.levels(t, eps)
    z_t = signal * latents[:, None, None].expand(shape).flatten(0, 2) + noise * eps
    ways = {"z_t as it is": z_t} | ({} if denoise is None else {"the denoiser's x̂": denoise(z_t, t)})
    texts = torch.stack([write_texts(model, given).tokens for given in ways.values()])
    right = torch.stack([is_right(rows) for rows in texts])
    return Written(tuple(ways), ids, texts.view(len(ways), *shape[:3], -1), right.view(len(ways), *shape[:3]), decode)


def latent_controls(written: Written) -> controls.VBox:
    """The live widget alone: buttons for texts and ways to read, slider t, other noise, the picture."""
    several = len(written.ids) > 1
    options = [
        (f"sentence {k + 1}: {way}" if several else way, (w, k))
        for k in range(len(written.ids))
        for w, way in enumerate(written.ways)
    ]
    menu = choice(options, "written of")

    def html(chosen: tuple[int, int], t: float, seed: int) -> str:
        at = (*chosen, seed % NOISES, round(t / STEP))
        clean = sentence(written.ids[chosen[1]], written.decode, mask_id=-1)
        return corruption_html(f"{written.ways[chosen[0]]}, {written.rules(*at)}", t, clean, written.words(*at))

    return noise_controls(menu, "other noise", html, step=STEP)


def static_rows(written: Written, times: Sequence[float] = FILM) -> list[tuple[str, Sentence, str]]:
    """The static twin: the first sentence under one noise, a row for each way and time."""
    rows = []
    for w, way in enumerate(written.ways):
        for t in times:
            at = (w, 0, 0, round(t / STEP))
            words = written.words(*at)
            rows.append((f"{way}, t = {t:.2f}", words, f"{left_over(words)}; {written.rules(*at)}"))
    return rows


def latent_explorer(
    model,
    process,
    latents: Float[Tensor, "K N D"],
    ids: Int[Tensor, "K L"],
    decode: Decode,
    is_right: Callable[[Int[Tensor, "B L"]], Bool[Tensor, "B"]],
    denoise: Callable | None = None,
    seed: int = 0,
) -> None:
    """Noise on latents, and the text that is written of them: first a table, then (with a live kernel) a slider for t.

        latent_explorer(ld4lg, process, latents, ids, language.words.__getitem__, language.grammatical)

    `latents` (K, N, D) are those of the texts `ids` (K, L); `model` writes (an LD4LG or Planner); `is_right(ids)` says
    of each text whether it follows the rules; `denoise(z_t, t)` adds what is written of x_hat. DIFFLM_STATIC=1 or CI
    leaves only the table. Raises ValueError unless there is one text for each latent.
    """
    if latents.ndim != 3 or ids.ndim != 2 or len(latents) != len(ids) or not len(ids):
        raise ValueError(
            f"latent_explorer needs latents (K, N, D) and the K texts (K, L) that they are of, got "
            f"{tuple(latents.shape)} and {tuple(ids.shape)}."
        )
    written = write_noisy(model, process, latents, ids, decode, is_right, denoise, seed)
    samples_table(static_rows(written), title="What is written of one latent text under noise", head=("", "text", ""))
    if is_static():
        print("Run this cell in JupyterLab to drag t yourself.")
    else:
        display(latent_controls(written))
