"""What autoencoders of text are trained on: batches of (states, mask, ids). The states may be those of a corrupted text
while the ids are the clean one's; then a decoder learns to mend.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.data.encodings import Encodings
from difflm_core.models import Transformer
from difflm_core.processes import DiscreteProcess


class States(NamedTuple):
    """h (B, L, D), mask (B, L) True at real tokens, ids (B, L) of the clean text."""

    h: Float[Tensor, "B L D"]
    mask: Bool[Tensor, "B L"]
    ids: Int[Tensor, "B L"]


def state_batches(
    encoder: Transformer,
    batches: Iterable[Int[Tensor, "B L"]],
    corrupt: Callable[[Int[Tensor, "B L"]], Int[Tensor, "B L"]] | None = None,
) -> Iterator[States]:
    """The states that a frozen model of the course has of texts without padding, or of `corrupt(ids)`."""
    encoder.eval()
    device = next(encoder.parameters()).device
    for ids in batches:
        ids = ids.to(device)
        with torch.no_grad():
            h = encoder.hidden(ids if corrupt is None else corrupt(ids), None)
        yield States(h, torch.ones_like(ids, dtype=torch.bool), ids)


def stored_batches(encodings: Encodings, batch_size: int, generator: torch.Generator | None = None) -> Iterator[States]:
    """Endless shuffled passes over the stored states of a pretrained encoder; the few rows left over sit a pass out.

    Raises ValueError where there are fewer rows than one batch.
    """
    for rows in shuffled_rows(len(encodings), batch_size, generator):
        yield States(*encodings[rows])


def shuffled_rows(rows: int, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Int[Tensor, "B"]]:
    """Row numbers of endless shuffled passes; the few left over sit a pass out. Errors as `stored_batches`."""
    if not 1 <= batch_size <= rows:
        raise ValueError(f"batch_size = {batch_size}: it must lie in 1 to {rows}, the encoded texts.")
    while True:
        yield from torch.randperm(rows, generator=generator)[: rows // batch_size * batch_size].view(-1, batch_size)


def hidden_states(
    batches: Iterable[States], share: float, generator: torch.Generator | None = None
) -> Iterator[States]:
    """Batches in which each state is set to 0 with probability `share`: a corruption that needs no second look of a
    frozen encoder. The words stay those of the clean text.
    """
    for h, mask, ids in batches:
        lost = torch.rand(ids.shape, generator=generator, device=ids.device) < share
        yield States(h.masked_fill(lost[..., None], 0.0), mask, ids)


def swapped_states(
    batches: Iterable[States], share: float, generator: torch.Generator | None = None
) -> Iterator[States]:
    """Batches in which each real token's state is, with probability `share`, that of a random other place of the batch
    where a token stands; the words stay those of the clean text (PLANNER's substitution noise, on states).
    """
    for h, mask, ids in batches:
        swapped = (torch.rand(ids.shape, generator=generator, device=ids.device) < share) & mask
        real = h[mask]  # (n, D)
        drawn = torch.randint(len(real), (int(swapped.sum()),), generator=generator, device=ids.device)
        h = h.clone()
        h[swapped] = real[drawn]
        yield States(h, mask, ids)


def corrupted(
    process: DiscreteProcess, t: float, generator: torch.Generator | None = None
) -> Callable[[Int[Tensor, "B L"]], Int[Tensor, "B L"]]:
    """Texts at time t of a discrete process. With the linear schedule, t is the share of tokens lost: `masked(V)` at
    0.3 hides 30 % (BERT, BART), `uniform(V)` at 0.3 replaces 30 % by random words (PLANNER).
    """
    return lambda ids: process.corrupt(ids, torch.full((len(ids),), t, device=ids.device), generator)
