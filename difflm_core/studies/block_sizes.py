"""From autoregressive to masked diffusion by the size of a block: bounds, and seconds with an exact cache, over seeds.

One network is trained on the toy language for equal steps with blocks of 1, 2, 3, 4, 6 and 12 words (12 is masked
diffusion), on times drawn from all of [0, 1]. Blocks of one word are trained a second time with everything masked, as
an autoregressive model is. Reported: nats per word above the exact entropy, the variance of a text's loss, and how
sentences come out that are written by the entropy bound. A second table measures what a word costs in a longer text:
larger untrained networks, one text at a time, 1 or 4 words a call, seconds of the processor with the cache and without
it; both answer alike (`largest_difference` of logits). About 15 minutes on one core.
"""

import time
from collections.abc import Callable, Iterator

import torch

from difflm_core.data import toy_language
from difflm_core.evaluation import estimate_nelbo
from difflm_core.models import BlockTransformer, KeyValueCache
from difflm_core.objectives import loss_variance
from difflm_core.processes import masked
from difflm_core.samplers import Sample, at_random, block_by_block, entropy_bound, sample_blocks, sample_in_order
from difflm_core.studies import store
from difflm_core.studies.toy_quality import of_sample
from difflm_core.training import Block, Size
from difflm_core.training.descend import descend

SETTINGS = {"sizes": [1, 2, 3, 4, 6, 12], "steps": 300, "batch_size": 64, "learning_rate": 3e-3, "held_out": 2048}
SETTINGS |= {"width": 96, "layers": 2, "draws": 8, "samples": 500, "bound": 2.0}
SETTINGS |= {"length": 256, "timed": [1, 4, 16, 64, 256], "a_call": [1, 4], "timed_width": 192, "timed_layers": 4}
SEEDS = (0, 1, 2)


def trained(task: Block, seed: int) -> BlockTransformer:
    language, g = toy_language(), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = task.network(language.V, language.length, Size(SETTINGS["width"], SETTINGS["layers"], 4))

    def batches():
        while True:
            yield language.sample(SETTINGS["batch_size"], generator=g)

    loss = lambda x: task.loss(model, x, g).mean()  # noqa: E731
    descend(model, loss, batches(), SETTINGS["steps"], SETTINGS["learning_rate"], "blocks", False, 0.99)
    return model


def above_entropy(task: Block, model: BlockTransformer) -> float:
    """Nats per word of the bound, less what the same held-out sentences cost at best."""
    language, L = toy_language(), toy_language().length
    fresh = list(language.sample(SETTINGS["held_out"], generator=torch.Generator().manual_seed(4321)).split(512))
    nelbo = lambda x, t, g: task.nelbo(model, x, t, g)  # noqa: E731
    estimate = estimate_nelbo(nelbo, fresh, SETTINGS["draws"], torch.Generator().manual_seed(5))
    exact = -sum(language.log_prob(x).sum().item() for x in fresh) / (SETTINGS["held_out"] * L)
    return estimate.mean - exact


def bounds(seed: int) -> Iterator[dict]:
    language = toy_language()
    tasks = [("drawn times", Block(size)) for size in SETTINGS["sizes"]] + [("all masked", Block(1, 1.0, 1.0))]
    for times, task in tasks:
        model, g = trained(task, seed), torch.Generator().manual_seed(seed)
        x = language.sample(SETTINGS["held_out"] // 4, generator=g)
        rule, shape = entropy_bound(SETTINGS["bound"]), (SETTINGS["samples"], language.length)
        yield {
            "table": "bound",
            "block": task.block_size,
            "times": times,
            "above_entropy": above_entropy(task, model),
            "loss_variance": loss_variance(masked(language.V), model, x, task.low, task.high, 8, g),
            **of_sample(sample_blocks(model, rule, shape, generator=g)),
        }


def seconds(write: Callable[[], Sample]) -> tuple[float, Sample]:
    """What it took the processor (other programs do not count), and what was written."""
    began = time.process_time()
    sample = write()
    return time.process_time() - began, sample


@torch.no_grad()
def largest_difference(model: BlockTransformer, x: torch.Tensor) -> float:
    """Between logits of the last block, all masked, after a cache of the blocks before and without one."""
    z, size = x.clone(), model.block_size
    z[:, -size:] = model.V
    cache = KeyValueCache()
    if x.shape[1] > size:
        model.read(x[:, :-size], cache)
    with_cache = model.logits(model.hidden(z[:, -size:], None, cache))
    return (with_cache - model(z)[:, -size:]).abs().max().item()


def cost(model: BlockTransformer, count: int, seed: int) -> dict:
    """Of one text, `count` words a call."""
    shape, size, g = (1, model.length), model.block_size, torch.Generator().manual_seed(seed)
    kept, out = seconds(lambda: sample_blocks(model, at_random(count, g), shape, generator=g))
    whole, _ = seconds(lambda: sample_in_order(model, block_by_block(size, at_random(count, g)), shape, generator=g))
    return {"with_cache": kept / shape[1], "without_cache": whole / shape[1], "calls": out.network_calls.item()}


def costs(seed: int) -> Iterator[dict]:
    V, L, shape = toy_language().V, SETTINGS["length"], Size(SETTINGS["timed_width"], SETTINGS["timed_layers"], 4)
    for size in SETTINGS["timed"]:
        torch.manual_seed(seed)
        model = Block(size).network(V, L, shape).eval()
        x = torch.randint(V, (1, L), generator=torch.Generator().manual_seed(seed))
        labels = {"table": "cost", "block": size, "largest_difference": largest_difference(model, x)}  # warms up, too
        for count in SETTINGS["a_call"]:
            if count <= size:
                yield labels | {"a_call": count, **cost(model, count, seed)}


def run(seed: int) -> Iterator[dict]:
    yield from bounds(seed)
    yield from costs(seed)


def told(row: dict) -> str:
    if row["table"] == "cost":
        kept, whole = 1000 * row["with_cache"], 1000 * row["without_cache"]
        return f"blocks of {row['block']}, {row['a_call']} a call: {kept:.2f} ms a word with cache, {whole:.2f} without"
    return (
        f"blocks of {row['block']}, {row['times']}: {row['above_entropy']:.4f} above the entropy, "
        f"{row['grammatical']:.3f} grammatical in {row['network_calls']:.1f} calls"
    )


def main() -> None:
    store.over_seeds("block_sizes", SETTINGS, SEEDS, run, told)


if __name__ == "__main__":
    main()
