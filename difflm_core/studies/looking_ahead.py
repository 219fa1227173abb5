"""What a model can do with words that stand further on: masked diffusion and its autoregressive twin, over seeds.

Three questions, each with the toy language's exact answer beside it: what one hidden word costs when only the left side
or both sides are read; how often a beginning fits an end that was given; and what becomes of a sentence that begins
with a mistake. Trains mdlm-tiny and ar-tiny for 600 steps each. About 10 minutes on one core (16 on a busy one).
"""

import time
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.data import toy_language
from difflm_core.models import Denoiser, Transformer
from difflm_core.objectives import autoregressive_nll
from difflm_core.processes import masked
from difflm_core.samplers import draw_from, first_hitting, sample_ar, sample_masked
from difflm_core.studies import store
from difflm_core.training import RECIPES, train

SETTINGS = {
    "steps": 600,
    "sentences": 1000,
    "samples": 1000,
    "given": 3,
    "start": "a brown foxes",
    "revisions": [8, 12, 24],
}
SEEDS = (0, 1, 2)


@torch.no_grad()
def both_sides(denoiser: Denoiser, x: Int[Tensor, "B L"]) -> Float[Tensor, "L"]:
    """Mean -log p(x_i | all other words) in nats, for each position i."""
    nats = []
    for i in range(x.shape[1]):
        z = x.clone()
        z[:, i] = denoiser.V
        h = denoiser.hidden(z, None)[:, i]
        nats.append(-denoiser.logits(h).log_softmax(-1).gather(1, x[:, i : i + 1]).double().mean())
    return torch.stack(nats)


@torch.no_grad()
def left_side(model: Transformer, x: Int[Tensor, "B L"]) -> Float[Tensor, "L"]:
    """Mean -log p(x_i | the words before it) in nats, for each position i."""
    return autoregressive_nll(model, x).double().mean(0)


@torch.no_grad()
def second_thoughts(
    denoiser: Denoiser, z: Int[Tensor, "B L"], T: int, generator: torch.Generator
) -> Int[Tensor, "B L"]:
    """T star steps (lesson 10) from t = 1 on a canvas z that may hold words already; no word is protected."""
    for k in range(T, 0, -1):
        stays = torch.rand(z.shape, generator=generator, dtype=torch.float64) < 1 - (k - 1) / T
        p = denoiser.logits(denoiser.hidden(z, None)).softmax(-1)  # (B, L, V)
        wanted = (z == denoiser.V) & stays
        z = z.masked_fill(~stays, denoiser.V)
        z[wanted] = draw_from(p[wanted], generator)
    return z


def good(tokens: Int[Tensor, "B L"]) -> float:
    return toy_language().grammatical(tokens).double().mean().item()


def masked_run(model: Transformer, seed: int) -> dict:
    language = toy_language()
    n, L = SETTINGS["samples"], language.length
    blank = torch.full((n, L), language.mask_id)
    ending, started = blank.clone(), blank.clone()
    ending[:, -SETTINGS["given"] :] = endings()
    begin = language.encode(SETTINGS["start"])
    started[:, : len(begin)] = begin
    g = torch.Generator().manual_seed(seed)
    revised, fresh, kept = {}, {}, {}
    for T in SETTINGS["revisions"]:
        text = second_thoughts(model, started, T, g)
        revised[T], kept[T] = good(text), (text[:, : len(begin)] == begin).double().mean(0).tolist()
        fresh[T] = good(second_thoughts(model, blank, T, g))
    return {
        "nats": both_sides(model, sentences()).tolist(),
        "fits_the_end": good(sample_masked(model, first_hitting(), (n, L), ending, g).tokens),
        "good_after_start": good(sample_masked(model, first_hitting(), (n, L), started, g).tokens),
        "good_revised": revised,
        "good_fresh": fresh,
        "start_kept": kept,
    }


def ar_run(model: Transformer, seed: int) -> dict:
    language = toy_language()
    n, L = SETTINGS["samples"], language.length
    g = torch.Generator().manual_seed(seed)
    text = sample_ar(model, (n, L), generator=g).tokens
    text[:, -SETTINGS["given"] :] = endings()
    begin = language.encode(SETTINGS["start"]).expand(n, -1)
    return {
        "nats": left_side(model, sentences()).tolist(),
        "fits_the_end": good(text),
        "good_after_start": good(sample_ar(model, (n, L), begin, g).tokens),
    }


def sentences() -> Int[Tensor, "B L"]:
    return toy_language().sample(SETTINGS["sentences"], generator=torch.Generator().manual_seed(4321))


def endings() -> Int[Tensor, "n given"]:
    other = toy_language().sample(SETTINGS["samples"], generator=torch.Generator().manual_seed(4322))
    return other[:, -SETTINGS["given"] :]


def main() -> None:
    started, language = time.perf_counter(), toy_language()
    both = both_sides(language.denoiser(masked(language.V)), sentences())
    left = language.entropy_by_position()
    runs = [{"model": "exact", "left": left.tolist(), "both": both.tolist()}]
    for seed in SEEDS:
        for name, look in (("ar-tiny", ar_run), ("mdlm-tiny", masked_run)):
            recipe = replace(RECIPES[name][1], seed=seed, steps=SETTINGS["steps"], evaluate_every=SETTINGS["steps"])
            run = store.finished(train(recipe))
            runs.append({"model": name, "seed": seed, "bound": run.history[-1]["bound"], **look(run.model, seed)})
            print({k: v for k, v in runs[-1].items() if k != "nats"}, flush=True)
    store.save("looking_ahead", SETTINGS, runs, time.perf_counter() - started)


if __name__ == "__main__":
    main()
