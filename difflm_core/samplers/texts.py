"""From latents to words: an autoregressive decoder writes, word by word, what the latents tell it.

It decodes latents of any origin: encoded, sampled, noisy or another text's. How much of a text's quality is the
decoder's own skill shows when it is given latents that mean nothing. LD4LG's text is written by a beam of 4 with
penalties for repeating; here a word is the likeliest (temperature 0) or drawn.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import LD4LG, KeyValueCache, Planner
from difflm_core.samplers.categorical import draw_from, probabilities
from difflm_core.samplers.gaussian import GaussianSample
from difflm_core.samplers.sample import Sample


@torch.no_grad()
def write_texts(
    model: LD4LG | Planner,
    latents: Float[Tensor, "B N D"],
    generator: torch.Generator | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
) -> Sample:
    """Tokens (B, L) on the decoder's canvas, one call per token with cached keys and values.

    After the decoder's `end` token, where it has one, a row is filled with it, and `network_calls` stops counting.
    """
    decoder, config = model.decoder, model.decoder.config
    vectors, cache, B = model.context(latents), KeyValueCache(), len(latents)
    tokens = torch.full((B, config.length), config.end or 0, device=latents.device)
    calls = torch.zeros(B, dtype=torch.long, device=latents.device)
    writing = torch.ones(B, dtype=torch.bool, device=latents.device)
    word = torch.full((B, 1), decoder.V, device=latents.device)  # the start
    for place in range(config.length):
        logits = decoder.logits(decoder.hidden(word, vectors, cache)[:, -1])  # (B, V)
        if temperature == 0:
            word = logits.argmax(-1, keepdim=True)
        else:
            word = draw_from(probabilities(logits, temperature, top_p), generator)[:, None]
        calls += writing
        if config.end is not None:
            word = torch.where(writing[:, None], word, config.end)
            writing = writing & (word[:, 0] != config.end)
        tokens[:, place] = word[:, 0]
        if not bool(writing.any()):
            break
    return Sample(tokens, calls)


def write_trajectory(
    model: LD4LG | Planner, sample: GaussianSample, back: Callable[[Tensor], Tensor] | None = None
) -> Int[Tensor, "T B L"]:
    """What each step of sampling believed in, as text: its x_hat, decoded greedily, in the order of sampling; the last
    is the result. From coarse to fine: the topic is there first, the wording last.

    `back` takes the sampler's vectors to the autoencoder's latents (`standardise.inverse`). Raises ValueError for a
    sample without a trajectory.
    """
    if sample.trajectory is None:
        raise ValueError("This sample has no trajectory: draw it with record=True.")
    estimates = [frame.x_hat if back is None else back(frame.x_hat) for frame in sample.trajectory]
    return torch.stack([write_texts(model, latents).tokens for latents in estimates])
