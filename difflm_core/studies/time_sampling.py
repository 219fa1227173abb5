"""Low-discrepancy against independent times, and counts against times: how noisy is the loss, how noisy the gradient?

On one half-trained network (mdlm-tiny stopped after 300 steps) the loss and gradient of many batches are computed with
each way of choosing t. The variance of the gradient is summed over all weights. About 3 minutes on 2 cores.
"""

import time
from dataclasses import replace

import torch

from difflm_core.data import toy_language
from difflm_core.objectives import independent_times, masked_nelbo, masked_nelbo_by_count, stratified_times
from difflm_core.processes import masked
from difflm_core.studies import store
from difflm_core.training import RECIPES, train

SETTINGS = {"train_steps": 300, "batch_size": 64, "batches": 200}
SEEDS = (0, 1, 2)


def ways(process):
    """Name -> loss(model, x, generator): how t (or the number of masks) is chosen."""
    return {
        "independent t": lambda model, x, g: masked_nelbo(process, model, x, independent_times(len(x), g), g),
        "stratified t": lambda model, x, g: masked_nelbo(process, model, x, stratified_times(len(x), g), g),
        "stratified count": lambda model, x, g: masked_nelbo_by_count(
            process, model, x, stratified_times(len(x), g), g
        ),
    }


def noise(model, loss, batches, generator) -> dict:
    """Mean loss, standard deviation of the batch loss, and the summed variance of the gradient, over the batches."""
    losses, mean, square = [], 0.0, 0.0
    for x in batches:
        model.zero_grad()
        value = loss(model, x, generator).mean()
        value.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()]).double()
        losses.append(value.item())
        mean, square = mean + gradient / len(batches), square + gradient.square() / len(batches)
    losses = torch.tensor(losses)
    return {
        "loss": losses.mean().item(),
        "loss_sd": losses.std().item(),
        "gradient_variance": (square - mean.square()).sum().item(),
        "gradient_norm": mean.norm().item(),
    }


def main() -> None:
    started, runs = time.perf_counter(), []
    language = toy_language()
    for seed in SEEDS:
        model = store.finished(train(replace(RECIPES["mdlm-tiny"][1], seed=seed, steps=SETTINGS["train_steps"]))).model
        for name, loss in ways(masked(language.V)).items():
            # The same texts for every way, so that only the noise of the objective differs; then one text again and
            # again, to see that noise alone.
            texts = language.sample(
                SETTINGS["batches"] * SETTINGS["batch_size"], generator=torch.Generator().manual_seed(77)
            ).split(SETTINGS["batch_size"])
            generator = torch.Generator().manual_seed(seed)
            fresh, repeated = (
                noise(model, loss, texts, generator),
                noise(model, loss, [texts[0]] * len(texts), generator),
            )
            runs.append({"way": name, "seed": seed, "fresh_texts": fresh, "same_texts": repeated})
            print(runs[-1], flush=True)
    store.save("time_sampling", SETTINGS, runs, time.perf_counter() - started)


if __name__ == "__main__":
    main()
