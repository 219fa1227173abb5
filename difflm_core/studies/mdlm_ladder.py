"""MDLM's ablation ladder on the toy language: four rungs, several seeds, each scored by its own bound.

Every rung trains the same network with the same budget on the same batches and is evaluated on the same sentences. The
discrete rungs have T = 1,000 steps, as in the paper. About 10 minutes on 2 cores.
"""

import time

import torch
from tqdm import tqdm

from difflm_core.data import language_batches, toy_language
from difflm_core.evaluation import estimate_nelbo
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import stratified_times
from difflm_core.studies import ladder_losses, store

SETTINGS = {
    "T": 1000,
    "steps": 600,
    "batch_size": 256,
    "learning_rate": 3e-3,
    "warmup": 100,
    "ema": 0.99,
    "width": 96,
    "layers": 2,
    "draws": 16,
    "sentences": 8192,
}
RUNGS = {
    "continuous": ladder_losses.continuous,
    "discrete": ladder_losses.discrete,
    "no_carry_over": ladder_losses.no_carry_over,
    "no_zero_masking": ladder_losses.no_zero_masking,
}
SEEDS = (0, 1, 2)


def train_rung(rung: str, seed: int, steps: int = SETTINGS["steps"], progress=None) -> Transformer:
    """One network, trained with one rung's bound; returns the averaged weights."""
    language = toy_language()
    torch.manual_seed(seed)
    outputs = language.V + (rung == "no_zero_masking")  # one more output, the mask
    model = Transformer(TransformerConfig(outputs, language.length, SETTINGS["width"], SETTINGS["layers"]))
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(SETTINGS["ema"])
    )
    optimizer = torch.optim.AdamW(
        model.parameters(), SETTINGS["learning_rate"], weight_decay=0.0, betas=(0.9, 0.99), fused=True
    )
    peak = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, 1.0, SETTINGS["warmup"])
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 0.1 * SETTINGS["learning_rate"])
    generator = torch.Generator().manual_seed(seed)
    batches = language_batches(language, SETTINGS["batch_size"], torch.Generator().manual_seed(1000 + seed))
    for step in (progress or range)(steps):
        x = next(batches)
        loss = RUNGS[rung](model, x, stratified_times(len(x), generator), language.V, SETTINGS["T"], generator).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        (peak if step < SETTINGS["warmup"] else fall).step()
        average.update_parameters(model)
    return average.module.eval()


def score(rung: str, model: Transformer) -> dict:
    """The rung's own bound on fixed sentences with fixed draws (the same for all rungs and seeds), and its copying
    cost.
    """
    language = toy_language()
    fresh = list(language.sample(SETTINGS["sentences"], generator=torch.Generator().manual_seed(4321)).split(512))
    bound = RUNGS[rung]
    estimate = estimate_nelbo(
        lambda x, t, g: bound(model, x, t, language.V, SETTINGS["T"], g),
        fresh,
        SETTINGS["draws"],
        torch.Generator().manual_seed(5),
    )
    with torch.no_grad():
        copying = sum(ladder_losses.reconstruction(model, x).sum().item() for x in fresh) / estimate.tokens
    exact = -sum(language.log_prob(x).sum().item() for x in fresh) / estimate.tokens
    return {"bound": estimate.mean, "standard_error": estimate.standard_error, "copying": copying, "exact": exact}


def main() -> None:
    started = time.perf_counter()
    runs = []
    for seed in SEEDS:
        for rung in RUNGS:
            began = time.perf_counter()
            model = train_rung(
                rung,
                seed,
                progress=lambda n, rung=rung, seed=seed: tqdm(range(n), desc=f"{rung}, seed {seed}", mininterval=5),
            )
            runs.append(
                {"rung": rung, "seed": seed, **score(rung, model), "train_seconds": round(time.perf_counter() - began)}
            )
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in runs[-1].items()}, flush=True)
    store.save("mdlm_ladder", SETTINGS, runs, time.perf_counter() - started)


if __name__ == "__main__":
    main()
