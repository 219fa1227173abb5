"""From a sampler's record to a trajectory: one row of a `Sample`, or the texts that a sampler of vectors believed in.

Every sampler that has `record=True` and writes tokens gives all fields of the format (`sample_masked`,
`sample_remasking`, `sample_discrete`, `sample_in_order`, `sample_blocks`, `sample_entropy_bound`, `sample_ar`,
`sample_diffusion_lm`, `self_correct`). Samplers of latents know no tokens: decode their estimates first
(`samplers.write_trajectory`), then `from_states`.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from jaxtyping import Int
from torch import Tensor

from difflm_core.classroom.sentences import MASK_SIGN
from difflm_core.classroom.trajectories import (
    CHANGED,
    KEPT,
    REMASKED,
    WRITTEN,
    Site,
    Step,
    Trajectory,
    fingerprint,
)
from difflm_core.samplers.sample import Frame, Sample

Decode = Callable[[int], str]


def from_sample(sample: Sample, row: int, decode: Decode, V: int, title: str = "") -> Trajectory:
    """Row `row` of a recorded `Sample`. `decode(i)` is the text of clean token i in 0..V-1.

    Steps after the row's last change, in which only others of its batch went on, are left out. Raises ValueError for a
    sample drawn without record=True or a row that it does not have.
    """
    if not getattr(sample, "trajectory", None):
        raise ValueError("This sample has no trajectory: draw it again with record=True.")
    if not 0 <= row < len(sample.tokens):
        raise ValueError(f"This sample has rows 0..{len(sample.tokens) - 1}, and no row {row}.")
    film = own_frames(sample.trajectory, row)
    steps = [step_of(k, now, before, row, decode, V) for k, (now, before) in enumerate(zip(film, film[:1] + film))]
    if (final := sample.tokens[row].tolist()) != [site.id for site in steps[-1].sites]:
        # the entropy-bound sampler returns its favourite text, which need not be the last canvas
        steps.append(Step(len(steps), 0.0, int(sample.network_calls[row]), compared(final, steps[-1].sites, decode, V)))
    return Trajectory(title, V, fingerprint([decode(i) for i in range(V)]), tuple(steps))


def own_frames(film: list[Frame], row: int) -> list[Frame]:
    """The frames up to the last in which this row changed or was written to."""
    busy = [k for k, (now, before) in enumerate(zip(film[1:], film), 1) if happened(now, before, row)]
    return film[: busy[-1] + 1 if busy else 1]


def happened(now: Frame, before: Frame, row: int) -> bool:
    return bool(now.written[row].any()) or bool((now.tokens[row] != before.tokens[row]).any())


def step_of(number: int, now: Frame, before: Frame, row: int, decode: Decode, V: int) -> Step:
    ids = (now.tokens[row].tolist(), before.tokens[row].tolist())
    measured = (now.probability[row].tolist(), now.entropy[row].tolist())
    sites = tuple(
        Site(text_of(new, decode, V), new, change_of(new, old, V), rounded(p), rounded(h))
        for new, old, p, h in zip(*ids, *measured, strict=True)
    )
    return Step(number, rounded(float(now.time[row])), None if now.calls is None else int(now.calls[row]), sites)


def from_states(
    states: Int[Tensor, "T L"],
    decode: Decode,
    V: int,
    times: Sequence[float],
    calls: Sequence[int] | None = None,
    title: str = "",
) -> Trajectory:
    """From texts alone, for samplers of vectors: what each estimate reads as, without probabilities or entropies.

    `times` and `calls` have one entry for each of the T states. Raises ValueError if they have not.
    """
    if states.ndim != 2 or not states.numel():
        raise ValueError(f"from_states needs the states of one text, ids (T, L), got shape {tuple(states.shape)}.")
    if len(times) != len(states) or (calls is not None and len(calls) != len(states)):
        raise ValueError(f"There are {len(states)} states: from_states needs a time (and a count of calls) for each.")
    steps: list[Step] = []
    for k, ids in enumerate(states.tolist()):
        before = steps[-1].sites if steps else [Site("", i) for i in ids]
        said = None if calls is None else int(calls[k])
        steps.append(Step(k, rounded(float(times[k])), said, compared(ids, before, decode, V)))
    return Trajectory(title, V, fingerprint([decode(i) for i in range(V)]), tuple(steps))


def compared(ids: list[int], before: Iterable[Site], decode: Decode, V: int) -> tuple[Site, ...]:
    """Tokens without probability or entropy, and what became of those before them."""
    return tuple(Site(text_of(i, decode, V), i, change_of(i, old.id, V)) for i, old in zip(ids, before, strict=True))


def text_of(i: int, decode: Decode, V: int) -> str:
    return MASK_SIGN if i == V else decode(i)


def change_of(new: int, old: int, mask_id: int) -> str:
    if new == old:
        return KEPT
    return REMASKED if new == mask_id else WRITTEN if old == mask_id else CHANGED


def rounded(value: float) -> float | None:
    """Six digits are kept; NaN means that there is no value."""
    return round(value, 6) if math.isfinite(value) else None
