"""Self-correction: let a finished text be revised by the network that wrote it (GIDD, von Ruette et al. 2025).

At a small time t0 a network trained with random tokens expects a few wrong ones among the visible. Again and again it
proposes a token everywhere, and the proposal that differs from the text and is most probable is written, one (or a few)
per call. A network trained on masks alone was never asked about a visible token: its proposals there mean nothing.

What kind of editor it is depends on its loss. From GIDD's it learns what the *other* positions say of a token, and then
this is Gibbs sampling at low temperature: it rewrites much, towards common texts. From cross-entropy it learns p(x_i |
z_t), which trusts the token that stands there too, and changes little.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.evaluation.generation import unigram_entropy
from difflm_core.models import Denoiser
from difflm_core.samplers.categorical import draw_from, probabilities
from difflm_core.samplers.masked import start_canvas
from difflm_core.samplers.sample import Sample, frame


@dataclass(frozen=True, kw_only=True)
class Correction(Sample):
    """A `Sample` with its record: `self_accuracy` (calls, B), the share of the free tokens that are the network's own
    favourite, at every call (a row that has stopped keeps its last value); `changes` (B,), tokens written;
    `entropy_before` and `entropy_after` (B,), unigram entropy of each text in nats, since a text can also agree with
    its network by repeating itself.
    """

    self_accuracy: Float[Tensor, "calls B"]
    changes: Int[Tensor, "B"]
    entropy_before: Float[Tensor, "B"]
    entropy_after: Float[Tensor, "B"]


@torch.no_grad()
def self_correct(
    denoiser: Denoiser,
    tokens: Int[Tensor, "B L"],
    iterations: int = 128,
    tokens_per_step: int = 1,
    temperature: float = 0.1,
    t0: float = 0.01,
    patience: int = 32,
    prompt: Int[Tensor, "B L"] | None = None,
    generator: torch.Generator | None = None,
    record: bool = False,
) -> Correction:
    """Revise finished texts, at most `iterations` times `tokens_per_step` tokens. Tokens of `prompt` other than the
    mask stay.

    A row stops when no proposal differs from it, or when its self-accuracy has not risen for `patience` calls.
    `network_calls` counts every call of a row, with the last one, which only looks.
    """
    free = check_text(denoiser, tokens, prompt)
    check_settings(iterations, tokens_per_step, t0, patience)
    z, live = tokens.clone(), free.any(1)
    calls, changes, waited = (torch.zeros(len(z), dtype=torch.long, device=z.device) for _ in range(3))
    accuracy = torch.ones(len(z), device=z.device)  # of a row that has nothing free
    best, trace = torch.full_like(accuracy, -1), []
    frames = [frame(z, torch.full_like(accuracy, t0), torch.zeros_like(free), calls=calls)] if record else None

    for iteration in range(iterations + 1):
        rows = live.nonzero()[:, 0]
        if not len(rows):
            break
        logits = denoiser.logits(denoiser.hidden(z[rows], torch.full((len(rows),), t0, device=z.device)))  # (N, L, V)
        agrees = (logits.argmax(-1) == z[rows]) & free[rows]
        accuracy[rows] = (agrees.sum(1) / free[rows].sum(1)).to(accuracy.dtype)
        trace.append(accuracy.clone())
        calls += live
        waited = torch.where(accuracy > best, 0, waited + 1)
        best = torch.maximum(best, accuracy)
        if iteration == iterations:
            break
        proposal, score = propose(logits, z[rows], free[rows], temperature, generator)
        score[waited[rows] >= patience] = 0
        written = best_sites(score, tokens_per_step)
        z[rows] = torch.where(written, proposal, z[rows])
        changes[rows] += written.sum(1)
        if record:
            full = torch.zeros_like(free)
            full[rows] = written
            frames.append(frame(z, torch.full_like(accuracy, t0), full, probabilities(logits[written]), calls))
        live[rows] = written.any(1)
    trace = torch.stack(trace) if trace else accuracy[None]
    return Correction(
        z, calls, frames, self_accuracy=trace, changes=changes,
        entropy_before=entropy_of_each(tokens), entropy_after=entropy_of_each(z),
    )  # fmt: skip


def propose(logits: Float[Tensor, "N L V"], z: Int[Tensor, "N L"], free: Bool[Tensor, "N L"], temperature, generator):
    """A token for every position, drawn at `temperature`, and its score: its probability (at temperature 1) if it is
    new and allowed, else 0.
    """
    proposal = draw_from(probabilities(logits, temperature), generator)
    score = logits.log_softmax(-1).gather(-1, proposal[..., None])[..., 0].exp()
    return proposal, score * ((proposal != z) & free)


def best_sites(score: Float[Tensor, "N L"], count: int) -> Bool[Tensor, "N L"]:
    """The `count` positions of each row with the highest positive scores."""
    top = score.topk(min(count, score.shape[1]), dim=1).indices
    return torch.zeros_like(score, dtype=torch.bool).scatter_(1, top, True) & (score > 0)


def entropy_of_each(tokens: Int[Tensor, "B L"]) -> Float[Tensor, "B"]:
    return torch.tensor([unigram_entropy(row[None]) for row in tokens], dtype=torch.float64)


def check_text(denoiser, tokens, prompt) -> Bool[Tensor, "B L"]:
    """Which positions may change. Refuses unfinished texts, and a prompt that the text does not carry."""
    if tokens.ndim != 2 or not tokens.numel():
        raise ValueError(f"Texts must be shaped (batch, length) and not empty, got {tuple(tokens.shape)}.")
    if not 0 <= int(tokens.min()) <= int(tokens.max()) < denoiser.V:
        raise ValueError(
            f"Self-correction revises finished texts with ids in 0..{denoiser.V - 1}, got {int(tokens.min())}.."
            f"{int(tokens.max())}: finish sampling first, with the same vocabulary."
        )
    canvas = start_canvas(denoiser, tuple(tokens.shape), prompt, tokens.device)
    free = canvas == denoiser.V
    if bool((canvas != tokens)[~free].any()):
        raise ValueError("The text does not contain the prompt to keep: give the prompt that it was sampled with.")
    return free


def check_settings(iterations, tokens_per_step, t0, patience) -> None:
    if iterations < 0 or tokens_per_step < 1 or patience < 1:
        raise ValueError(
            "Self-correction needs iterations >= 0, tokens_per_step >= 1 and patience >= 1, got "
            f"{iterations}, {tokens_per_step} and {patience}."
        )
    if not 0 <= t0 <= 1:
        raise ValueError(f"t0 must lie in [0, 1] (0 = data, 1 = noise), got {t0}.")
