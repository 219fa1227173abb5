"""`make gpu`: what can only be checked and measured on a GPU, in about five minutes, as one table.

1. bfloat16 is float32 within bounds: loss, and direction and length of the gradient.
2. torch.compile takes a block in one graph, and gives the same numbers; with a fixed number of rows for the masks the
   whole way from noisy tokens to the loss is one graph.
3. A training step of 110 M parameters at length 1,024: tokens per second, peak memory, model FLOPs utilisation (the
   formula is that of `training.plan.utilisation`) against the matrix products that this GPU reaches, and of the best
   against the data sheet, and how often a step waits for the GPU: with fixed rows, with rows counted, and so on.

Without a GPU it says so and ends with status 1: nothing here has been measured then.
"""

import sys
import time
import warnings
from dataclasses import dataclass, replace

import torch

from difflm_core.objectives import stratified_times
from difflm_core.objectives.fixed_rows import rows_for
from difflm_core.objectives.masked import bound_weight, weighted_cross_entropy
from difflm_core.processes import masked
from difflm_core.training import RECIPES, Recipe
from difflm_core.training.plan import GPUS, needs, utilisation
from difflm_core.training.recipes import Engine
from difflm_core.training.sources import ToyLanguage
from difflm_core.training.state import State

LOSS, DIRECTION, LENGTH = 0.01, 0.99, 0.05  # bounds: relative difference, cosine, relative difference
WANTED = 0.45  # of the measured peak
ENGINES = {
    "fixed rows": {"fixed_rows": True},  # what a GPU takes by itself here
    "rows counted": {"fixed_rows": False},
    "fixed rows, compiled": {"fixed_rows": True, "compile": True},
    "fixed rows, recomputed": {"fixed_rows": True, "recompute": True},
    "rows counted, head in pieces": {"fixed_rows": False, "head_rows": 4096},
}


@dataclass(frozen=True)
class RandomText(ToyLanguage):
    """Tokens without sense, as many and as long as a real run has: time does not depend on what they say."""

    held_out: int = 8
    vocabulary: int = 50_257
    tokens: int = 1024

    @property
    def V(self) -> int:
        return self.vocabulary

    @property
    def length(self) -> int:
        return self.tokens

    def train(self, batch_size, generator):
        while True:
            yield torch.randint(self.V, (batch_size, self.length), generator=generator)


def without_chance(recipe: Recipe) -> Recipe:
    return replace(recipe, size=replace(recipe.size, dropout=0.0))


def both_precisions(recipe: Recipe, device: str) -> tuple[float, float, float]:
    """(relative difference of the losses, cosine of the gradients, relative difference of their lengths), bfloat16
    against float32, the same batch and noise.
    """
    found = []
    for low in (False, True):
        state = State(without_chance(recipe), device)
        x = next(state.batches).to(device)
        with torch.autocast(device, torch.bfloat16, enabled=low):
            nats = state.loss(x, state.noise_generator)
        nats.mean().backward()
        gradient = torch.cat([p.grad.flatten().double() for p in state.model.parameters() if p.grad is not None])
        found.append((nats.mean().item(), gradient))
    (loss, gradient), (low_loss, low_gradient) = found
    cosine = torch.cosine_similarity(gradient, low_gradient, dim=0).item()
    return abs(low_loss / loss - 1), cosine, abs((low_gradient.norm() / gradient.norm()).item() - 1)


def graph_breaks(recipe: Recipe, device: str) -> tuple[int, float]:
    """(graph breaks in a block, largest difference of the compiled loss's nats from the usual ones)."""
    state = State(without_chance(recipe), device)
    captured: list[tuple] = []
    handle = state.model.blocks[0].register_forward_pre_hook(lambda block, inputs: captured.append(inputs))
    usual = state.nats(next(state.batches).to(device), torch.arange(recipe.batch_size, device=device))
    handle.remove()
    breaks = torch._dynamo.explain(state.model.blocks[0])(*captured[0]).graph_break_count
    compiled = State(replace(without_chance(recipe), engine=replace(recipe.engine, compile=True)), device)
    nats = compiled.nats(next(compiled.batches).to(device), torch.arange(recipe.batch_size, device=device))
    return breaks, (nats - usual).abs().max().item()


def loss_breaks(recipe: Recipe, device: str, counted: bool = False) -> int:
    """Graph breaks from noisy tokens to the loss: trunk, head, cross-entropy. The noise is drawn before, since the
    compiler takes no generator. `counted`: with as many rows as there are masks, for comparison.
    """
    state = State(without_chance(recipe), device)
    x, process = next(state.batches).to(device), masked(state.model.V)
    t = stratified_times(len(x), device=device)
    R = None if counted else rows_for(process.schedule, *x.shape, len(x))

    def loss(z_t):
        return weighted_cross_entropy(process, state.model, x, z_t, t, bound_weight(process, t), R).mean()

    torch._dynamo.reset()
    return torch._dynamo.explain(loss)(process.corrupt(x, t)).graph_break_count


def measured_peak(width: int = 8192, seconds: float = 2.0) -> float:
    """FLOP/s of bfloat16 matrix products on this GPU."""
    a = torch.randn(width, width, device="cuda", dtype=torch.bfloat16)
    for _ in range(5):
        a @ a
    torch.cuda.synchronize()
    products, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for _ in range(5):
            a @ a
        torch.cuda.synchronize()
        products += 5
    return 2 * width**3 * products / (time.perf_counter() - began)


def seconds_of_a_step(recipe: Recipe, device: str, steps: int = 20, before: int = 5) -> float:
    """Mean of `steps` steps, after some that compile and warm up."""
    state = State(recipe, device)
    for _ in range(before):
        state.one_step()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        state.one_step()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def waits(recipe: Recipe) -> int:
    """How often one step makes the CPU wait for the GPU."""
    state = State(recipe, "cuda")
    state.one_step()
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state.one_step()
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def large(batch_size: int = 32, **engine) -> Recipe:
    """mdlm-owt on random tokens."""
    return replace(RECIPES["mdlm-owt"][1], data=RandomText(), batch_size=batch_size, engine=Engine(**engine))


def main() -> int:
    if not torch.cuda.is_available():
        print("There is no GPU here: nothing was checked and nothing measured. Run make gpu on a machine with one.",
              file=sys.stderr)  # fmt: skip
        return 1
    good, name = True, torch.cuda.get_device_name()
    print(f"{name}, torch {torch.__version__}")
    loss, cosine, length = both_precisions(large(8), "cuda")
    good &= loss < LOSS and cosine > DIRECTION and length < LENGTH
    print(f"bfloat16 against float32: loss {loss:.2%}, gradient's cosine {cosine:.4f}, its length {length:.2%} "
          f"(bounds {LOSS:.0%}, {DIRECTION}, {LENGTH:.0%})")  # fmt: skip
    breaks, difference = graph_breaks(large(8), "cuda")
    in_loss, in_usual_loss = loss_breaks(large(8), "cuda"), loss_breaks(large(8), "cuda", counted=True)
    good &= breaks == 0 == in_loss
    print(f"torch.compile: {breaks} graph breaks in a block, largest difference {difference:.2g} nats; {in_loss} from "
          f"noisy tokens to the loss ({in_usual_loss} where rows are counted)")  # fmt: skip
    peak = measured_peak()
    print(f"matrix products in bfloat16: {peak / 1e12:.0f} TFLOP/s\n")
    print(f"{'training step, length 1,024':44}{'tokens/s':>10}{'ms':>8}{'GB':>7}{'MFU':>7}{'waits':>7}")
    best = 0.0
    for what, engine in ENGINES.items():
        recipe = large(**engine)
        torch.cuda.reset_peak_memory_stats()
        seconds = seconds_of_a_step(recipe, "cuda")
        share = utilisation(recipe, seconds, peak)
        best = max(best, share)
        tokens = recipe.batch_size * recipe.data.length / seconds
        memory = torch.cuda.max_memory_allocated() / 1e9
        label = f"{needs(recipe).parameters / 1e6:.0f} M parameters, {what}"
        print(f"{label:44}{tokens:>10,.0f}{1000 * seconds:>8.0f}{memory:>7.1f}{share:>7.1%}{waits(recipe):>7}")
    print(f"\nbest: {best:.1%} of the measured peak, wanted {WANTED:.0%}")
    sheets = {machine.name.removeprefix("one "): machine.peak for machine in GPUS}
    for sheet in (sheet for sheet in sheets if sheet in name):
        print(f"      {best * peak / sheets[sheet]:.1%} of the {sheets[sheet] / 1e12:.0f} TFLOP/s of the data sheet")
    print("waits: how often one step makes the CPU wait for the GPU")
    return 0 if good and best >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
