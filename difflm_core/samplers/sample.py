"""What every sampler returns: the tokens, what they cost, and (on request) how they came to be."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """One moment of sampling: tokens (B, L), the time shown to the network (B,), what was written in this step, with
    its probability and entropy, and the network calls that each row has cost so far (B,).

    `probability` is that of the token when it was written, `entropy` that of the distribution it was drawn from (nats);
    both are NaN elsewhere. `calls` is None where a sampler does not say.
    """

    tokens: Int[Tensor, "B L"]
    time: Float[Tensor, "B"]
    written: Bool[Tensor, "B L"]
    probability: Float[Tensor, "B L"]
    entropy: Float[Tensor, "B L"]
    calls: Int[Tensor, "B"] | None = None


@dataclass(frozen=True)
class Sample:
    """`tokens` (B, L); `network_calls` (B,), the calls that each row took part in; `trajectory`, frames from all-noise
    to the end, or None.
    """

    tokens: Int[Tensor, "B L"]
    network_calls: Int[Tensor, "B"]
    trajectory: list[Frame] | None = None


def frame(
    tokens: Int[Tensor, "B L"],
    time: Float[Tensor, "B"],
    written: Bool[Tensor, "B L"],
    p: Float[Tensor, "N V"] | None = None,
    calls: Int[Tensor, "B"] | None = None,
) -> Frame:
    """A frame from the distributions p that the N written tokens (row-major) were drawn from."""
    probability = torch.full(tokens.shape, torch.nan, device=tokens.device)
    entropy = probability.clone()
    if p is not None and len(p):
        probability[written] = p.gather(-1, tokens[written][:, None])[:, 0].float()
        entropy[written] = torch.special.entr(p).sum(-1).float()
    calls = None if calls is None else calls.clone()
    return Frame(tokens.clone(), time.clone(), written.clone(), probability, entropy, calls)
