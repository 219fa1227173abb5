"""The methods of the scoreboard that have a recipe: how each is trained within the budget, and how it writes.

Networks with a time input are narrower: its matrices cost parameters. G-Star pays for its error predictor with a
narrower denoiser and with a part of the budget; ReMDM and Star cost nothing and use the network of MDLM.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from difflm_core.data import toy_language
from difflm_core.models import ErrorPredictor
from difflm_core.processes import hybrid
from difflm_core.samplers import (
    Rule,
    Sample,
    ancestral,
    at_random,
    first_hitting,
    gstar,
    remdm_cap,
    sample_ar,
    sample_blocks,
    sample_diffusion_lm,
    sample_discrete,
    sample_masked,
    sample_remasking,
    star_plus,
    steps_for_calls,
)
from difflm_core.studies import store
from difflm_core.studies.flops import Spent, flops_of, spend, steps_within
from difflm_core.training import Autoregressive, Block, Hybrid, Recipe, Size, ToyLanguage, train, train_error_predictor
from difflm_core.training.d3pm_task import D3PM, Noise
from difflm_core.training.recipes import RECIPES
from difflm_core.training.state import build
from difflm_core.training.states import shuffled_rows
from difflm_core.training.tasks import Masked

TEXTS = 32_768  # of the training set
CALLS = (1, 4, 12, 32, 128)
T = 384  # of D3PM's chains: a multiple of all of CALLS
T_ON = 0.6  # of Star+ and G-Star: lesson 10's study


class Way(NamedTuple):
    """How a network writes: `draw(net, calls, count, generator)` for each of the `calls`, of the largest network."""

    calls: tuple[int, ...]
    draw: Callable[[nn.Module, int, int, torch.Generator], Sample]


def all_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


class Method(NamedTuple):
    """`train(budget, seed)` gives a network that can write, and what its training took, stage by stage;
    `nelbo(net, x, t, generator)` is the bound, or `no_bound` says why there is none. `pretrained` is what was trained
    before, outside of the budget.
    """

    train: Callable[[float, int], tuple[nn.Module, dict[str, Spent]]]
    ways: dict[str, Way]
    nelbo: Callable | None = None
    no_bound: str = ""
    pretrained: str = ""
    parameters: Callable[[nn.Module], int] = all_parameters


@cache
def training_texts() -> Int[Tensor, "N 12"]:
    """The training set of all methods and seeds."""
    return toy_language().sample(TEXTS, generator=torch.Generator().manual_seed(200))


@dataclass(frozen=True)
class FixedSentences(ToyLanguage):
    """The training set, again and again in another order."""

    def train(self, batch_size: int, generator: torch.Generator) -> Iterator[Int[Tensor, "B 12"]]:
        texts = training_texts()
        return (texts[rows] for rows in shuffled_rows(len(texts), batch_size, generator))


DATA = FixedSentences(held_out=512)
PLAIN, TIMED = Size(), Size(width=78, heads=3, time_conditioning=True)
AR, MDLM = (Recipe(task=task, data=DATA, size=PLAIN) for task in (Autoregressive(), Masked()))
GIDD = Recipe(task=Hybrid(), data=DATA, size=TIMED)
ABSORBING = Recipe(task=D3PM(lam=10 / T, T=T, steps=T), data=DATA, size=TIMED)  # lam T = 10, as in the paper
UNIFORM = Recipe(task=D3PM(Noise.UNIFORM, lam=0.0, T=T, steps=T), data=DATA, size=TIMED)
BLOCK = Recipe(task=Block(4), data=DATA, size=PLAIN)
DIFFUSION_LM = replace(RECIPES["diffusion-lm-tiny"][1], data=DATA, size=Size(width=80))
FOR_GSTAR = replace(MDLM, size=Size(width=80))
PREDICTOR_SHARE, PREDICTOR_ROWS = 0.2, 128  # of G-Star's budget; texts of a batch


def fit(recipe: Recipe, budget: float, seed: int) -> tuple[nn.Module, Spent]:
    """The recipe's network, trained for as many steps as the budget allows."""
    steps = steps_within(budget, step_flops(recipe))
    recipe = replace(recipe, seed=seed, steps=steps, evaluate_every=steps, warmup=min(recipe.warmup, steps // 5))
    run = store.finished(train(recipe, progress=False))
    return run.model, Spent(steps, steps * step_flops(recipe), run.history[-1]["seconds"])


@cache
def step_flops(recipe: Recipe) -> float:
    """FLOPs of one training step; where the share of masks is drawn, on average. Counted on a few rows."""
    net, generator, rows = build(recipe), torch.Generator().manual_seed(0), 64
    batches = recipe.data.train(rows, generator)

    def some_steps():
        for _ in range(4):
            recipe.task.loss(net, next(batches), generator).mean().backward()

    return flops_of(some_steps) / (4 * rows) * recipe.batch_size


def from_recipe(recipe: Recipe, budget: float, seed: int) -> tuple[nn.Module, dict[str, Spent]]:
    net, spent = fit(recipe, budget, seed)
    return net, {"network": spent}


def with_predictor(budget: float, seed: int) -> tuple[nn.ModuleDict, dict[str, Spent]]:
    """G-Star's two networks; the predictor trains its last block and its head."""
    net, spent = fit(FOR_GSTAR, (1 - PREDICTOR_SHARE) * budget, seed)
    torch.manual_seed(seed)
    predictor = ErrorPredictor.last_block(net)

    def learn(predictor: ErrorPredictor, steps: int):
        batches = DATA.train(PREDICTOR_ROWS, torch.Generator().manual_seed(100 + seed))
        generator = torch.Generator().manual_seed(200 + seed)
        return train_error_predictor(predictor, net, batches, steps, generator=generator, progress=False)

    errors = spend(budget - spent.flops, predictor, learn)
    return nn.ModuleDict({"denoiser": net, "predictor": predictor}), {"network": spent, "predictor": errors}


def own_parameters(nets: nn.ModuleDict) -> int:
    """The predictor's frozen trunk is the denoiser's, and counted there."""
    return all_parameters(nets["denoiser"]) + sum(p.numel() for p in nets["predictor"].parameters() if p.requires_grad)


def shape(count: int) -> tuple[int, int]:
    return count, toy_language().length


def left_to_right(net, calls, count, generator) -> Sample:
    return sample_ar(net, shape(count), generator=generator)


def by_ancestral(net, calls, count, generator) -> Sample:
    return sample_masked(net, ancestral(calls), shape(count), generator=generator)


def one_by_one(net, calls, count, generator) -> Sample:
    return sample_masked(net, first_hitting(), shape(count), generator=generator)


def by_rule(rule: Rule, net, calls, count, generator) -> Sample:
    return sample_remasking(net, rule, steps_for_calls(rule, calls), shape(count), generator=generator)


def by_predictor(nets, calls, count, generator) -> Sample:
    return by_rule(gstar(nets["predictor"], T_ON), nets["denoiser"], calls, count, generator)


def by_posterior(process, net, calls, count, generator) -> Sample:
    return sample_discrete(process(net.V), net, calls, shape(count), generator=generator)


def by_blocks(net, calls, count, generator) -> Sample:
    """12 / calls words at once; the calls that fill the cache come on top."""
    rule = at_random(shape(count)[1] // calls, generator)
    return sample_blocks(net, rule, shape(count), generator=generator)


def by_vectors(net, calls, count, generator) -> Sample:
    return sample_diffusion_lm(net, DIFFUSION_LM.task.T, shape(count), generator=generator, steps=calls)


METHODS = {
    "ar": Method(partial(from_recipe, AR), {"left to right": Way((12,), left_to_right)}, AR.task.nelbo),
    "diffusion_lm": Method(
        partial(from_recipe, DIFFUSION_LM), {"ancestral": Way(CALLS, by_vectors)}, DIFFUSION_LM.task.nelbo
    ),
    "d3pm_uniform": Method(
        partial(from_recipe, UNIFORM),
        {"posterior": Way(CALLS, partial(by_posterior, UNIFORM.task.process))},
        UNIFORM.task.nelbo,
    ),
    "d3pm_absorbing": Method(
        partial(from_recipe, ABSORBING),
        {"posterior": Way(CALLS, partial(by_posterior, ABSORBING.task.process))},
        ABSORBING.task.nelbo,
    ),
    "mdlm": Method(
        partial(from_recipe, MDLM),
        {
            "ancestral": Way(CALLS, by_ancestral),
            "one by one": Way((12,), one_by_one),
            "remdm": Way(CALLS, partial(by_rule, remdm_cap(0.04))),
            "star": Way(CALLS, partial(by_rule, star_plus(T_ON))),
        },
        MDLM.task.nelbo,
    ),
    "gidd": Method(
        partial(from_recipe, GIDD),
        {"posterior": Way(CALLS, partial(by_posterior, partial(hybrid, p_uniform=GIDD.task.p_uniform)))},
        GIDD.task.nelbo,
    ),
    "gstar": Method(
        with_predictor,
        {"gstar": Way(CALLS, by_predictor)},
        no_bound="the network's bound is that of texts drawn without the predictor; none is known for this sampler",
        parameters=own_parameters,
    ),
    "block": Method(partial(from_recipe, BLOCK), {"blocks": Way((3, 6, 12), by_blocks)}, BLOCK.task.nelbo),
}
