"""Which words to write in one call: the decoding rules of large diffusion models on the toy language, over seeds.

Two tables. In the first the course checkpoint mdlm-tiny writes sentences by each rule: any positions in planned
numbers, the surest drawn tokens (LLaDA's low-confidence remasking), the same in blocks from left to right, every
position surer than a threshold, and all that fit within an entropy bound. In the second the sampler is one, the entropy
bound, the network is the exact denoiser, and the noise differs: masks, where an accepted word stays, against random
words, where it can be taken back; with and without an early stop. Quality is exact: the share of grammatical sentences,
how much likelier than true ones they are, and how many words are in use. About 8 minutes on one core.
"""

from collections.abc import Iterator

import torch

from difflm_core.data import toy_language
from difflm_core.processes import masked, uniform
from difflm_core.samplers import (
    Sample,
    blocks,
    confidence,
    entropy_bound,
    in_random_order,
    sample_entropy_bound,
    sample_in_order,
    sample_masked,
    sure_enough,
)
from difflm_core.studies import store
from difflm_core.studies.toy_quality import of_sample
from difflm_core.training.course import course_checkpoint

SETTINGS = {
    "samples": 500,
    "calls": [1, 2, 3, 4, 6, 8, 12],
    "block": 4,
    "thresholds": [0.0, 0.2, 0.3, 0.4, 0.5, 0.9],
    "bounds": [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0],
    "renoised": 250,
    "steps": [2, 4, 6, 8, 12, 16, 24],
    "renoising_bounds": [0.5, 2.0, 4.0],
    "stops": [0.0, 0.05, 0.5, 2.0],
}
SEEDS = (0, 1, 2)


def decoded(seed: int) -> Iterator[tuple[dict, Sample]]:
    """(labels, sentences of mdlm-tiny) for each rule and setting."""
    model, shape = course_checkpoint("mdlm-tiny")[0].eval(), (SETTINGS["samples"], toy_language().length)
    g = torch.Generator().manual_seed(seed)
    for T in SETTINGS["calls"]:
        yield {"rule": "random", "setting": T}, sample_masked(model, in_random_order(T), shape, generator=g)
        yield {"rule": "low-confidence", "setting": T}, sample_masked(model, confidence(T), shape, generator=g)
        if not T % (number := shape[1] // SETTINGS["block"]):
            plan = blocks(SETTINGS["block"], confidence(T // number))
            yield {"rule": "low-confidence in blocks", "setting": T}, sample_masked(model, plan, shape, generator=g)
    for p in SETTINGS["thresholds"]:
        yield {"rule": "threshold", "setting": p}, sample_in_order(model, sure_enough(p), shape, generator=g)
    for nats in SETTINGS["bounds"]:
        yield (
            {"rule": "entropy bound", "setting": nats},
            sample_in_order(model, entropy_bound(nats), shape, generator=g),
        )


def renoised(seed: int) -> Iterator[tuple[dict, Sample]]:
    """(labels, sentences of the exact denoiser): both kinds of noise at each limit on the calls, then early stops."""
    language, shape = toy_language(), (SETTINGS["renoised"], toy_language().length)
    g = torch.Generator().manual_seed(seed)
    for noise, process in (("masks", masked(language.V)), ("random words", uniform(language.V))):
        exact = language.denoiser(process)
        for steps in SETTINGS["steps"]:
            for nats in SETTINGS["renoising_bounds"]:
                out = sample_entropy_bound(process, exact, shape, nats, steps, generator=g)
                yield {"rule": "renoising", "noise": noise, "steps": steps, "setting": nats, "stop": 0.0}, out
        for stop in SETTINGS["stops"]:
            labels = {"rule": "stop", "noise": noise, "steps": 48, "setting": 1.0, "stop": stop}
            yield labels, sample_entropy_bound(process, exact, shape, 1.0, 48, generator=g, confident=stop)


def run(seed: int) -> Iterator[dict]:
    for part in (decoded, renoised):
        for labels, sample in part(seed):
            yield {**labels, **of_sample(sample)}


def told(row: dict) -> str:
    name = " ".join(str(row[key]) for key in ("rule", "noise", "steps", "setting", "stop") if key in row)
    return (
        f"{name:36} grammatical {row['grammatical']:.3f}, {row['network_calls']:.2f} calls, spread {row['spread']:.2f}"
    )


def main() -> None:
    store.over_seeds("decoding_rules", SETTINGS, SEEDS, run, told)


if __name__ == "__main__":
    main()
