"""Every sampler of the course with a perfect network: what does each lose at few calls?

All samplers write sentences of the toy language with its exact posterior as their network, so that whatever is wrong is
the sampler's doing. Masks, random words, both (GIDD), D3PM's matrices, vectors, and remasking; each with its own exact
denoiser. About 8 minutes on one core.

`broken` (the share of sentences that break a rule) is a lower bound on the total variation between the sampler's law
and the language: the set of sentences with a broken rule has probability 0 in one of them. `log_prob_gap` (nats per
sentence, over the others) is above 0 where a sampler prefers the usual.
"""

from collections.abc import Callable

import torch

from difflm_core.data import toy_language
from difflm_core.models import LeaveOneOut
from difflm_core.oracle import EmbeddingEvidence
from difflm_core.processes import GaussianProcess, ShiftedCosine, hybrid, masked, matrices, uniform
from difflm_core.samplers import (
    Sample,
    ancestral,
    blocks,
    confidence,
    first_hitting,
    left_to_right,
    random_remask,
    remdm_cap,
    remdm_rescale,
    sample_discrete,
    sample_gaussian,
    sample_masked,
    sample_remasking,
    star,
    star_plus,
    threshold,
)
from difflm_core.studies import store
from difflm_core.studies.toy_quality import of_sample

SETTINGS = {"samples": 512, "steps": [2, 4, 8, 16, 32], "p_uniform": 0.2, "D": 64, "d": 9.0}
SEEDS = (0, 1, 2)
Write = Callable[[int, torch.Generator], Sample]  # (steps, generator) -> samples


def masked_samplers(shape) -> dict[str, Write]:
    language = toy_language()
    exact = language.denoiser(masked(language.V))
    plans = {"ancestral": ancestral, "confidence": confidence, "blocks of 4": lambda T: blocks(4, ancestral(T))}
    rules = {
        "remdm cap 0.04": remdm_cap(0.04),
        "remdm rescale 0.5": remdm_rescale(0.5),
        "star": star(),
        "star+ 0.3": star_plus(0.3),
        "exact count 1.0": random_remask(1.0),
    }
    by_plan = {
        name: lambda T, g, plan=plan: sample_masked(exact, plan(T), shape, generator=g) for name, plan in plans.items()
    }
    by_rule = {
        name: lambda T, g, rule=rule: sample_remasking(exact, rule, T, shape, generator=g)
        for name, rule in rules.items()
    }
    return by_plan | by_rule


def with_random_words(shape) -> dict[str, Write]:
    """Uniform and hybrid noise, and D3PM's uniform matrices: the plug-in posterior is exact with p(x_i | z without
    z_i).
    """
    V, language = toy_language().V, toy_language()
    writers = {}
    for name, process in (("uniform", uniform(V)), ("hybrid", hybrid(V, SETTINGS["p_uniform"]))):
        denoiser = LeaveOneOut(language.denoiser(process), process)
        writers[name] = lambda T, g, p=process, d=denoiser: sample_discrete(p, d, T, shape, generator=g)
    writers["D3PM uniform"] = lambda T, g: d3pm(T, g, shape)
    return writers


def d3pm(T: int, generator: torch.Generator, shape) -> Sample:
    """A chain of T matrices has its own noise levels (Hoogeboom's cosine), unlike `uniform` on an even grid of t."""
    process = matrices.uniform_process(toy_language().V, matrices.cosine_betas(T))
    denoiser = LeaveOneOut(toy_language().denoiser(process), process)
    return sample_discrete(process, denoiser, T, shape, generator=generator)


def gaussian_samplers(shape, seed: int) -> dict[str, Write]:
    """Noise on random unit embeddings; the network is E[x | z_t], and the last answer is read as the likeliest word."""
    language, generator = toy_language(), torch.Generator().manual_seed(seed)
    table = torch.nn.functional.normalize(torch.randn(language.V, SETTINGS["D"], generator=generator).double(), dim=-1)
    table = table * SETTINGS["D"] ** 0.5  # coordinates of variance one
    process = GaussianProcess(ShiftedCosine(SETTINGS["d"]))
    evidence = EmbeddingEvidence(table, process.schedule)

    def denoise(z_t, t):
        return language.posterior(z_t, t, evidence).to(table.dtype) @ table

    def write(eta):
        def run(T, g):
            out = sample_gaussian(process, denoise, T, (*shape, SETTINGS["D"]), generator=g, eta=eta)
            return Sample((out.x.double() @ table.T).argmax(-1), out.network_calls)

        return run

    return {"Gaussian, ancestral": write(1.0), "Gaussian, DDIM": write(0.0)}


def without_steps(shape) -> dict[str, Callable[[torch.Generator], Sample]]:
    """Samplers whose number of calls is not ours to choose."""
    exact = toy_language().denoiser(masked(toy_language().V))
    plans = {"first-hitting": first_hitting(), "left to right": left_to_right(), "threshold 0.9": threshold(0.9)}
    return {name: lambda g, plan=plan: sample_masked(exact, plan, shape, generator=g) for name, plan in plans.items()}


def run(seed: int):
    """One dict per sampler and number of steps."""
    shape, generator = (SETTINGS["samples"], toy_language().length), torch.Generator().manual_seed(seed)
    for name, write in without_steps(shape).items():
        yield {"sampler": name, **of_sample(write(generator))}
    for name, write in {
        **masked_samplers(shape), **with_random_words(shape), **gaussian_samplers(shape, seed)
    }.items():  # fmt: skip
        for T in SETTINGS["steps"]:
            yield {"sampler": name, "steps": T, **of_sample(write(T, generator))}


def told(row: dict) -> str:
    name = f"{row['sampler']:20} {row.get('steps', ''):>3}"
    return f"{name}   broken {row['broken']:.3f}   calls {row['network_calls']:.1f}"


def main() -> None:
    store.over_seeds("exact_samplers", SETTINGS, SEEDS, run, told)


if __name__ == "__main__":
    main()
