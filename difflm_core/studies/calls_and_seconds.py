"""Network calls and seconds against the length of a text, for autoregressive and for masked models.

The networks are untrained (what they write does not change what it costs), of the size of the tiny recipes. Every time
is the median of three after a warm-up. About 15 minutes on one core.
"""

import statistics
import time

import torch
from tqdm import tqdm

from difflm_core.data import toy_language
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.samplers import Sample, ancestral, draw_from, first_hitting, sample_ar, sample_masked
from difflm_core.studies import store

SETTINGS = {"lengths": [16, 32, 64, 128, 256], "batches": [1, 16], "steps": 16, "width": 96, "layers": 2, "repeats": 3}
SEEDS = (0, 1, 2)


@torch.no_grad()
def sample_ar_without_cache(model: Transformer, shape: tuple[int, int], generator: torch.Generator) -> Sample:
    """Left to right, reading the whole prefix again for every word: what `sample_ar` does, but slower."""
    B, L = shape
    read = torch.full((B, 1), model.mask_id)  # the start symbol
    for _ in range(L):
        h = model.hidden(read)[:, -1]  # (B, D)
        read = torch.cat([read, draw_from(model.logits(h).softmax(-1), generator)[:, None]], dim=1)
    return Sample(read[:, 1:], torch.full((B,), L))


# how a text is written: (is the network causal?, sampler, positions that pass through the network for one text)
WAYS = {
    "autoregressive, no cache": (
        True,
        sample_ar_without_cache,
        lambda L, calls: L * (L + 1) // 2,
    ),
    "autoregressive, cached": (
        True,
        lambda model, shape, generator: sample_ar(model, shape, generator=generator),
        lambda L, calls: L,
    ),
    "masked, one word a call": (
        False,
        lambda model, shape, generator: sample_masked(model, first_hitting(), shape, generator=generator),
        lambda L, calls: calls * L,
    ),
    "masked, 16 steps": (
        False,
        lambda model, shape, generator: sample_masked(model, ancestral(16), shape, generator=generator),
        lambda L, calls: calls * L,
    ),
}


def networks(length: int, seed: int) -> dict[bool, Transformer]:
    """An untrained bidirectional network and its causal twin."""
    torch.manual_seed(seed)
    sizes = (toy_language().V, length, SETTINGS["width"], SETTINGS["layers"], 4)
    return {causal: Transformer(TransformerConfig(*sizes, causal)).eval() for causal in (False, True)}


def measure(way: str, nets: dict[bool, Transformer], shape: tuple[int, int], seed: int, repeats: int) -> dict:
    """Calls per text, and seconds for the whole batch of texts."""
    causal, sampler, positions = WAYS[way]
    seconds = []
    for repeat in range(repeats + 1):
        generator = torch.Generator().manual_seed(seed + repeat)
        began = time.perf_counter()
        out = sampler(nets[causal], shape, generator)
        seconds.append(time.perf_counter() - began)
    calls = out.network_calls.double().mean().item()
    return {
        "network_calls": calls,
        "positions": positions(shape[1], calls),
        "seconds": statistics.median(seconds[1:] or seconds),  # the first warms up
    }


def main() -> None:
    started, runs = time.perf_counter(), []
    for seed in SEEDS:
        for L in tqdm(SETTINGS["lengths"], desc=f"seed {seed}"):
            nets = networks(L, seed)
            for batch in SETTINGS["batches"]:
                for way in WAYS:
                    found = measure(way, nets, (batch, L), seed, SETTINGS["repeats"])
                    runs.append({"way": way, "length": L, "batch": batch, "seed": seed, **found})
    store.save("calls_and_seconds", SETTINGS, runs, time.perf_counter() - started)


if __name__ == "__main__":
    main()
