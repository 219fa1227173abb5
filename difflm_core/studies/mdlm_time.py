"""What T steps cost, and what a time input is worth: the bound of chains with T steps, and MDLM with and without t.

Part 1: one checkpoint (mdlm-tiny) and the exact denoiser, T = 10 to infinity (MDLM's Table 11), on the same sentences
and masks. Part 2: the recipe mdlm-tiny, shortened, with and without time conditioning, several seeds (MDLM's Table 12).
About 12 minutes on one core.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from difflm_core.data import toy_language
from difflm_core.evaluation import estimate_nelbo
from difflm_core.objectives import masked_nelbo, masked_nelbo_by_count, masked_nelbo_discrete
from difflm_core.processes import masked
from difflm_core.studies import store
from difflm_core.training import RECIPES, train
from difflm_core.training.course import course_checkpoint
from difflm_core.training.recipes import Size

SETTINGS = {
    "checkpoint": "mdlm-tiny", "T": [10, 20, 50, 100, 1000, math.inf], "sentences": 1024, "draws": 8,
    "recipe": "mdlm-tiny", "steps": 600, "train_sentences": 4096, "train_draws": 8,
}  # fmt: skip
SEEDS = (0, 1, 2)


def held_out(n: int) -> list[Tensor]:
    return list(toy_language().sample(n, generator=torch.Generator().manual_seed(4321)).split(512))


def exact_nats(texts: list[Tensor]) -> float:
    return -sum(toy_language().log_prob(x).sum().item() for x in texts) / sum(x.numel() for x in texts)


def cost_by_count(denoiser, texts: list[Tensor], generator: torch.Generator) -> Float[Tensor, "L"]:
    """c(n), n = 1..L: the mean cross-entropy of a masked word when exactly n words are masked, in nats."""
    language = toy_language()
    process, L = masked(language.V), language.length
    costs = torch.zeros(L, dtype=torch.float64)
    for n in range(1, L + 1):
        for x in texts:
            t = torch.full((len(x),), (n - 0.5) / L)  # picks n = ceil(t L)
            costs[n - 1] += masked_nelbo_by_count(process, denoiser, x, t, generator).double().sum()
    return costs / sum(x.numel() for x in texts)


def bound_of_steps(costs: Float[Tensor, "L"], T: float) -> float:
    """The bound of T steps, in nats per token, from c(n): no sampling of t, so that all T share their noise.

    On the linear schedule n of L words are masked at t = i / T with the binomial probability, and step i reveals a mask
    with probability 1/i:  (1/L) sum over i of (1/i) sum over n of Binomial(n; L, i/T) n c(n).  As T grows every n gets
    the same weight: the mean of c(n). It holds for denoisers without a time input.
    """
    if T == math.inf:
        return costs.mean().item()
    L = len(costs)
    n = torch.arange(1, L + 1, dtype=torch.float64)
    step = torch.arange(1, int(T) + 1, dtype=torch.float64)
    masks = torch.distributions.Binomial(L, step / T, validate_args=False)
    weight = masks.log_prob(n[:, None]).exp() / step  # (L, T)
    weight[:, -1] = (n == L).double() / T  # at t = 1 everything is masked; the formula says 0 * log 0 there
    return (weight.sum(1) * n * costs).sum().item() / L


def drawn_bound(denoiser, T: float, texts: list[Tensor], draws: int):
    """The same bound as anybody else estimates it: one t for each sentence."""
    process = masked(toy_language().V)
    one_t: Callable = lambda x, t, g: (  # noqa: E731
        masked_nelbo(process, denoiser, x, t, g)
        if T == math.inf
        else masked_nelbo_discrete(process, denoiser, x, t, int(T), g)
    )
    return estimate_nelbo(one_t, texts, draws, torch.Generator().manual_seed(5))


@torch.no_grad()
def price_of_steps(name: str, denoiser, settings: dict = SETTINGS) -> dict:
    """For every T both estimates of the bound, and by how much it exceeds that of infinitely many steps; c(n)."""
    texts, draws = held_out(settings["sentences"]), settings["draws"]
    passes = torch.stack([cost_by_count(denoiser, texts, torch.Generator().manual_seed(6 + k)) for k in range(draws)])
    run = {"denoiser": name, "exact": exact_nats(texts), "cost_by_count": passes.mean(0).tolist(), "steps": {}}
    for T in settings["T"]:
        bounds = torch.tensor([bound_of_steps(costs, T) for costs in passes], dtype=torch.float64)
        price = bounds - passes.mean(1)  # against infinitely many steps, draw by draw
        drawn = drawn_bound(denoiser, T, texts, draws)
        run["steps"][str(T)] = {
            "bound": bounds.mean().item(), "standard_error": bounds.std().item() / math.sqrt(draws),
            "price": price.mean().item(), "price_standard_error": price.std().item() / math.sqrt(draws),
            "drawn": drawn.mean, "drawn_standard_error": drawn.standard_error,
        }  # fmt: skip
    return run


def with_or_without_time(time_conditioning: bool, seed: int, settings: dict = SETTINGS, progress: bool = True) -> dict:
    """Train the recipe once. The bound counts masks, and shows a time-conditioned network the matching times."""
    recipe = RECIPES[settings["recipe"]][1]
    recipe = replace(
        recipe, size=Size(time_conditioning=time_conditioning), steps=settings["steps"], seed=seed,
        evaluate_every=settings["steps"], data=replace(recipe.data, held_out=512),
    )  # fmt: skip
    began = time.perf_counter()
    model = store.finished(train(recipe, progress=progress)).model
    seconds = time.perf_counter() - began
    texts = held_out(settings["train_sentences"])
    estimate = estimate_nelbo(
        lambda x, t, g: recipe.task.nelbo(model, x, t, g),
        texts,
        settings["train_draws"],
        torch.Generator().manual_seed(5),
    )
    return {
        "time_conditioning": time_conditioning, "seed": seed, "bound": estimate.mean,
        "standard_error": estimate.standard_error, "exact": exact_nats(texts),
        "parameters": model.parameters_count(), "train_seconds": round(seconds),
    }  # fmt: skip


def main() -> None:
    started, language = time.perf_counter(), toy_language()
    denoisers = {
        "exact": language.denoiser(masked(language.V)),
        SETTINGS["checkpoint"]: course_checkpoint(SETTINGS["checkpoint"])[0],
    }
    runs = [price_of_steps(name, denoiser) for name, denoiser in tqdm(denoisers.items(), desc="T steps", mininterval=5)]
    for run in runs:
        print(run["denoiser"], {T: round(of["bound"], 4) for T, of in run["steps"].items()}, flush=True)
    for seed in SEEDS:
        for time_conditioning in (False, True):
            runs.append(with_or_without_time(time_conditioning, seed))
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in runs[-1].items()}, flush=True)
    settings = SETTINGS | {"T": [str(T) for T in SETTINGS["T"]]}  # JSON knows no infinity
    store.save("mdlm_time", settings, runs, time.perf_counter() - started)


if __name__ == "__main__":
    main()
