"""From an autoregressive language model to a masked diffusion model: a plain loop, on a CPU for a few steps to look at,
on a GPU for a real run.

    python -m difflm_core.training.adapt --steps 20 --batch-size 4 --length 64 --held-out 16      minutes on a CPU
    python -m difflm_core.training.adapt                                      the real run, for a GPU
    python -m difflm_core.training.adapt --from-scratch                       the same network without its past

It prints the bound on held-out text before and after, and a few samples. The loss is the masked bound, 1/t times the
cross-entropy of the masks, while the attention mask opens in a line over the first part of the steps.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from difflm_core import data
from difflm_core.data.cache import ArchiveError
from difflm_core.evaluation import Estimate, estimate_nelbo
from difflm_core.models.adapted import Adapted, load_adapted, save_adapted
from difflm_core.objectives import masked_nelbo, masked_nelbo_by_count, stratified_times
from difflm_core.processes import masked
from difflm_core.samplers import confidence, sample_masked
from difflm_core.training.descend import descend
from difflm_core.training.stops import TrainingStopped


@dataclass(frozen=True)
class Adaptation:
    """What a run needs to be the same run again. `source` as in `load_adapted`; `dataset` a name on the hub, None for
    the Wikipedia summaries of the package archive. `anneal` is the share of the steps in which the mask opens.
    """

    source: str | None = None
    dataset: str | None = None
    length: int = 256
    steps: int = 5000
    batch_size: int = 64
    learning_rate: float = 1e-4
    anneal: float = 0.3
    from_scratch: bool = False
    held_out: int = 256
    seed: int = 0
    folder: Path | None = None

    def __post_init__(self):
        if min(self.steps, self.batch_size, self.length, self.held_out) < 1 or not self.learning_rate > 0:
            raise ValueError("steps, batch_size, length and held_out must be at least 1 and learning_rate above 0.")
        if not 0 <= self.anneal <= 1:
            raise ValueError(f"anneal is the share of the steps in which the mask opens, in [0, 1], got {self.anneal}.")


def opening(step: int, steps: int) -> float:
    """The opened share of the attention mask at a step: 0 at first, 1 from `steps` on (0: open from the beginning)."""
    return min(1.0, step / steps) if steps else 1.0


def adapt(
    model: Adapted,
    batches: Iterable[Int[Tensor, "B L"]],
    steps: int,
    learning_rate: float = 1e-4,
    anneal: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> list[float]:
    """Train in place; returns the loss of every step, in nats per token. The mask opens over the first `anneal` steps
    (default: three in ten) and is open at the end. On a GPU matrix products run in bfloat16.
    """
    anneal = round(0.3 * steps) if anneal is None else anneal
    process, device = masked(model.V), model.mask_row.device
    noise, done = torch.Generator(device).manual_seed(seed), 0
    model.draws = torch.Generator().manual_seed(seed + 1)

    def loss(x: Int[Tensor, "B L"]) -> Tensor:
        nonlocal done
        model.opened = opening(done, anneal)
        done += 1
        x = x.to(device)
        t = stratified_times(len(x), noise, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return masked_nelbo(process, model, x, t, noise).mean()

    losses = descend(model, loss, batches, steps, learning_rate, "adapting", progress)
    model.opened = 1.0
    return losses


def bound(model: Adapted, rows: list[Int[Tensor, "B L"]], draws: int = 4, seed: int = 0) -> Estimate:
    """The masked bound on held-out rows, counting masks."""
    process, device = masked(model.V), model.mask_row.device
    nelbo = lambda x, t, g: masked_nelbo_by_count(process, model, x, t, g)  # noqa: E731
    return estimate_nelbo(nelbo, [x.to(device) for x in rows], draws, torch.Generator(device).manual_seed(seed))


def texts_of(settings: Adaptation, tokenizer) -> tuple[Iterator[Int[Tensor, "B L"]], list[Int[Tensor, "B L"]]]:
    """(endless training batches, held-out rows) in the language model's own tokens."""
    texts = data.hub(settings.dataset) if settings.dataset else data.wikipedia_summaries()
    train, held_out = data.split(texts, by=None if settings.dataset else "title")
    train, held_out = (data.pack(part, tokenizer.backend_tokenizer, settings.length) for part in (train, held_out))
    batches = data.batches(train, settings.batch_size, torch.Generator().manual_seed(settings.seed))
    kept = held_out.select(range(min(settings.held_out, len(held_out))))
    return batches, list(data.in_one_pass(kept, min(settings.batch_size, len(kept))))


def forget(model: Adapted, seed: int) -> None:
    """New random weights in the same network: what would be learned without the past."""
    torch.manual_seed(seed)
    fresh = type(model.lm)(model.lm.config)
    model.lm.load_state_dict(fresh.state_dict())
    model.mask_row.data.copy_(model.lm.get_input_embeddings().weight.mean(0))


def run(settings: Adaptation) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = load_adapted(settings.source, device)
    if settings.from_scratch:
        forget(model, settings.seed)
    batches, held_out = texts_of(settings, tokenizer)
    tokens = settings.steps * settings.batch_size * settings.length
    print(f"{model.parameters_count() / 1e6:.0f} M parameters, {tokens:,} training tokens, on {device}")
    print(f"before: {bound(model, held_out)}")
    started = time.perf_counter()
    adapt(
        model, batches, settings.steps, settings.learning_rate, round(settings.anneal * settings.steps), settings.seed
    )
    print(f"{(time.perf_counter() - started) / settings.steps:.2f} s a step")
    print(f"after:  {bound(model, held_out)}")
    shape, generator = (2, min(settings.length, 48)), torch.Generator(device).manual_seed(settings.seed)
    for row in sample_masked(model, confidence(shape[1]), shape, generator=generator, device=device).tokens:
        print("> " + tokenizer.decode(row.tolist()).replace("\n", " "))
    if settings.folder is not None:
        print(f"wrote {save_adapted(settings.folder, model, tokenizer)}")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 stopped by an error (one sentence on it), 2 not understood, 130 interrupted."""
    import tyro

    settings = tyro.cli(Adaptation, args=arguments, description=__doc__, prog="python -m difflm_core.training.adapt")
    try:
        run(settings)
    except KeyboardInterrupt:
        print("Interrupted: nothing was written.", file=sys.stderr)
        return 130
    except (TrainingStopped, ArchiveError, OSError, ValueError) as error:
        print(f"Stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
