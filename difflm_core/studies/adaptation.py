"""From an autoregressive network to masked diffusion, against training from scratch at equal tokens, over seeds.

The course checkpoint ar-tiny goes on as a masked diffusion model of the toy language for N steps, in three ways: with
its attention mask opened over the first 30 % of the steps and the shift by one kept; opened at once; without the shift.
Beside it a network of the same size starts from nothing, in the usual form. Every N is a run of its own, with its whole
schedule of learning rates. Reported: the bound on held-out sentences in nats per word above their exact cost. About 12
minutes on one core.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor, nn

from difflm_core.data import toy_language
from difflm_core.evaluation import estimate_nelbo
from difflm_core.models import Transformer
from difflm_core.models.adapted_twin import AdaptedTwin
from difflm_core.objectives import masked_nelbo, masked_nelbo_by_count, stratified_times
from difflm_core.processes import masked
from difflm_core.studies import store
from difflm_core.training.adapt import adapt
from difflm_core.training.course import course_checkpoint
from difflm_core.training.descend import descend

SETTINGS = {"steps": [0, 25, 50, 100, 200, 400], "batch_size": 64, "learning_rate": 2e-3, "anneal": 0.3}
SETTINGS |= {"held_out": 1024, "draws": 8}
SEEDS = (0, 1, 2)
WAYS = ("adapted", "adapted, opened at once", "adapted, no shift", "from scratch")


def network(way: str, seed: int) -> nn.Module:
    """The `Denoiser` before its first step."""
    twin = course_checkpoint("ar-tiny")[0]
    if way in ("adapted", "adapted, opened at once"):
        return AdaptedTwin(twin, opened=0.0 if way == "adapted" else 1.0)
    torch.manual_seed(seed)
    model = Transformer(replace(twin.config, causal=False))
    if way == "adapted, no shift":
        model.load_state_dict(twin.state_dict())
        model.embedding.weight.data[model.V] = model.embedding.weight.data[: model.V].mean(0)
    return model


def batches(seed: int) -> Iterator[Int[Tensor, "B L"]]:
    g = torch.Generator().manual_seed(seed)
    while True:
        yield toy_language().sample(SETTINGS["batch_size"], generator=g)


def learn(model: nn.Module, way: str, steps: int, seed: int) -> None:
    rate = SETTINGS["learning_rate"]
    if isinstance(model, AdaptedTwin):
        anneal = round(SETTINGS["anneal"] * steps) if way == "adapted" else 0
        adapt(model, batches(seed), steps, rate, anneal, seed, progress=False)
        return
    process, g = masked(model.V), torch.Generator().manual_seed(seed)
    loss = lambda x: masked_nelbo(process, model, x, stratified_times(len(x), g), g).mean()  # noqa: E731
    descend(model, loss, batches(seed), steps, rate, way, False)


def above_entropy(model: nn.Module) -> float:
    """Nats per word of the bound, less what the same held-out sentences cost at best."""
    language, count = toy_language(), SETTINGS["held_out"]
    fresh = list(language.sample(count, generator=torch.Generator().manual_seed(4321)).split(256))
    exact = -sum(language.log_prob(x).sum().item() for x in fresh) / (count * language.length)
    nelbo = lambda x, t, g: masked_nelbo_by_count(masked(model.V), model, x, t, g)  # noqa: E731
    return estimate_nelbo(nelbo, fresh, SETTINGS["draws"], torch.Generator().manual_seed(5)).mean - exact


def run(seed: int) -> Iterator[dict]:
    for way in WAYS:
        for steps in SETTINGS["steps"]:
            model = network(way, seed).eval()
            if steps:
                learn(model, way, steps, seed)
            yield {"way": way, "steps": steps, "above_entropy": above_entropy(model)}


def told(row: dict) -> str:
    return f"{row['way']:24} {row['steps']:4} steps: {row['above_entropy']:.4f} nats a word above the entropy"


def main() -> None:
    store.over_seeds("adaptation", SETTINGS, SEEDS, run, told)


if __name__ == "__main__":
    main()
