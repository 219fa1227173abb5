"""Samplers that revise, with a perfect denoiser: what does remasking buy when nothing is left to learn?

Every sampler of the course fills sentences of the toy language with the exact posterior as its network, so whatever is
wrong with the sentences is the sampler's doing: the share that is grammatical, how much likelier than true sentences
they are (a positive gap means that the sampler prefers the usual), and how varied. About 6 minutes on one core.
"""

import torch

from difflm_core.data import toy_language
from difflm_core.processes import masked
from difflm_core.samplers import (
    Rule,
    Sample,
    ancestral,
    confidence,
    confidence_remask,
    first_hitting,
    forward_backward,
    random_remask,
    remdm_cap,
    remdm_loop,
    remdm_rescale,
    sample_masked,
    sample_remasking,
    star,
    star_loop,
    star_plus,
)
from difflm_core.studies import store
from difflm_core.studies.toy_quality import of_sample

SETTINGS = {"samples": 512, "steps": [2, 4, 8, 16, 32], "t_on": [0.1, 0.2, 0.3, 0.5, 0.7]}
SEEDS = (0, 1, 2)


def rules() -> dict[str, Rule]:
    named = {
        "remdm cap 0.04": remdm_cap(0.04),
        "remdm rescale 0.5": remdm_rescale(0.5),
        "remdm loop": remdm_loop(),
        "forward-backward": forward_backward(),
        "star": star(),
        "star loop": star_loop(),
        "exact count 0.3": random_remask(0.3),
        "exact count 1.0": random_remask(1.0),
        "confidence remask 0.3": confidence_remask(0.3),
    }
    for t_on in SETTINGS["t_on"]:
        named[f"star+ {t_on}"] = star_plus(t_on)
    return named


def run(seed: int):
    """One dict per sampler and number of steps."""
    denoiser = toy_language().denoiser(masked(toy_language().V))
    shape, generator = (SETTINGS["samples"], toy_language().length), torch.Generator().manual_seed(seed)
    yield {
        "sampler": "first-hitting",
        **of_sample(sample_masked(denoiser, first_hitting(), shape, generator=generator)),
    }
    yield {"sampler": "true sentences", **of_sample(truth(shape[0], generator))}
    for T in SETTINGS["steps"]:
        for name, plan in (("ancestral", ancestral(T)), ("confidence", confidence(T))):
            sample = sample_masked(denoiser, plan, shape, generator=generator)
            yield {"sampler": name, "steps": T, **of_sample(sample)}
        for name, rule in rules().items():
            sample = sample_remasking(denoiser, rule, T, shape, generator=generator)
            yield {"sampler": name, "steps": T, **of_sample(sample)}


def truth(n: int, generator: torch.Generator) -> Sample:
    return Sample(toy_language().sample(n, generator=generator), torch.zeros(n, dtype=torch.long))


def told(row: dict) -> str:
    name = f"{row['sampler']:22} {row.get('steps', ''):>3}"
    return f"{name}   grammatical {row['grammatical']:.3f}   calls {row['network_calls']:.1f}"


def main() -> None:
    store.over_seeds("star_samplers", SETTINGS, SEEDS, run, told)


if __name__ == "__main__":
    main()
