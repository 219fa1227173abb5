"""Exercise 2.5, open: the best three times for three calls of a perfect network.

Everything is measured: sentences by the grammar, variety against true sentences, and how usual the right ones are. The
network is the exact posterior for random embeddings, so that nothing but the times can be better or worse.
"""

from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.samples import measure
from difflm_core.classroom.exercises.spies import seeded
from difflm_core.models import DiffusionLM, VectorConfig, VectorTransformer
from difflm_core.oracle import PerfectReader
from difflm_core.processes import time_of
from difflm_core.samplers import sample_gaussian

CALLS, D = 3, 16
LARGEST_SHARE = 0.4  # of what the even grid breaks
LEAST_SPREAD = 0.92  # of what true sentences have


def untrained(language) -> DiffusionLM:
    """Random embeddings of unit variance; the network in it is never asked."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = VectorTransformer(VectorConfig(D, language.length, width=8, layers=1, heads=2))
        return DiffusionLM(language.V, net).requires_grad_(False)


def write(times: Float[Tensor, "3"], reader: PerfectReader, sentences: int) -> Int[Tensor, "B L"]:
    """Ancestral steps at these times; words are read as the nearest embeddings."""
    model = reader.model
    shape = (sentences, model.length, model.D)
    drawn = sample_gaussian(model.process, reader.x_hat, 10**6, shape, seeded(0), times=times)
    return torch.cdist(drawn.x, model.embedding[None]).argmin(-1)


def ex2_5(language, sentences: int = 512) -> Check:
    """The check for `three_times(schedule, D) -> (3,)`."""
    model = untrained(language)
    reader = PerfectReader(model, language)

    @cache
    def limits() -> tuple[float, float]:
        """What the even grid breaks, and the spread of as many true sentences."""
        even = torch.arange(CALLS, 0, -1, dtype=torch.float64) / CALLS
        truth = language.sample(sentences, generator=seeded(2))
        return measure(write(even, reader, sentences), language).broken, measure(truth, language).spread

    def test(three_times):
        times = check_times(three_times(model.process.schedule, D))
        found, (broken, spread) = measure(write(times, reader, sentences), language), limits()
        at = ", ".join(f"{time:.2f}" for time in times.tolist())
        check_broken(found.broken, broken, times, reader, sentences, at)
        assert found.spread >= LEAST_SPREAD * spread, (
            f"With the times {at} only {found.broken:.1%} are broken, but the words of a place have {found.spread:.2f}"
            f" nats where true sentences have {spread:.2f}: too much is decided in one leap."
        )
        check.praise = (
            f"{found.broken:.1%} broken where the even grid breaks {broken:.1%}; times {at}. The right ones are"
            f" {found.gap:+.2f} nats likelier than true sentences."
        )

    check = Check("2.5", test=test, hints=HINTS, reference=reference)
    return check


def check_times(times) -> Float[Tensor, "3"]:
    times = torch.as_tensor(times).double().flatten()
    assert len(times) == CALLS, f"Give {CALLS} times, one for each call of the network, not {len(times)}."
    assert bool(torch.isfinite(times).all()) and times[0] == 1, "The first time is 1: the walk begins in pure noise."
    assert bool((times.diff() < 0).all()), "The times must fall: from 1 towards 0."
    assert times[-1] > 0, "All times lie above 0: at t = 0 there is no noise left, and nothing to ask."
    return times


def check_broken(broken: float, even: float, times, reader: PerfectReader, sentences: int, at: str):
    if broken <= LARGEST_SHARE * even:
        return
    sure = certainty(times[-1], reader, min(sentences, 128))
    where = (
        f"At your last time, {times[-1]:.2f}, the best reader gets {sure:.1%} of the words right: what is still in"
        " doubt there is guessed word by word. Put the last call nearer to t = 0."
        if sure < 0.99
        else f"At your last time, {times[-1]:.2f}, everything can be read: the call comes too late to repair what"
        " the jump before it has done. Look at the time of the second call."
    )
    raise AssertionError(
        f"With the times {at} {broken:.1%} are broken; the even grid breaks {even:.1%}, and at most"
        f" {LARGEST_SHARE * even:.1%} is asked for. {where}"
    )


def certainty(time: Tensor, reader: PerfectReader, sentences: int) -> float:
    """Share of words that the best reader gets right in noisy true sentences."""
    model, generator = reader.model, seeded(3)
    x = reader.language.sample(sentences, generator=generator)
    t = time.float().expand(sentences)
    z_t = model.process.corrupt(model.start(x, generator), t, generator)
    return reader.words(z_t, t).amax(-1).mean().item()


def reference(schedule, D):
    signal = torch.tensor([4.0, 40.0], dtype=torch.float64)  # D alpha / (1 - alpha)
    return torch.cat([torch.ones(1, dtype=torch.float64), time_of(schedule, signal / (signal + D))])


HINTS = [
    "Three calls: the first sees pure noise, the last one decides. Where, in the picture of section 8, is the last"
    " doubt gone? The last call should come there.",
    "In the second call the words begin to depend on each other: about half of them should be readable, D alpha / (1 -"
    " alpha) around 4.",
    "time_of(schedule, alpha) with alpha = signal / (signal + D), for the signals 4 and 40; and 1 in front.",
]
