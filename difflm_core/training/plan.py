"""What a recipe will take and what may be expected of it, said before anything is started or fetched.

    FLOPs = 6 N T + 12 layers width L T + 6 V width H T    (T tokens, N weights of the trunk's matrices, length L)

A matrix costs 2 FLOPs per weight and token, and the backward pass twice the forward one: 6. Attention compares and
mixes L positions: 2 x 2 width L per layer and token, again times 3. The head (V width) is asked at a share H of the
positions: half for masked diffusion, whose masked share is uniform on [0, 1]. Block diffusion reads two copies of the
text, noisy and clean, in one pass of 2 L positions. Matrices that read the time work once a row, not once a token.
Look-ups, norms and the optimiser are left out.
"""

import textwrap
import time
from dataclasses import dataclass, replace

import torch

from difflm_core.models import DiffusionLM
from difflm_core.training.block_task import Block
from difflm_core.training.d3pm_task import D3PM, Noise
from difflm_core.training.diffusion_lm_task import EmbeddingDiffusion
from difflm_core.training.llada_task import LLaDA
from difflm_core.training.paper_recipes import EXPECTED
from difflm_core.training.recipe import Recipe
from difflm_core.training.sources import (
    Corpus,
    HubSentences,
    HubText,
    PreparedText,
    Shakespeare,
    StreamedText,
    ToyLanguage,
)
from difflm_core.training.state import build
from difflm_core.training.tasks import Masked

UTILISATION = 0.35  # assumed share of the peak that training reaches; measure yours
ACTIVATION = 52  # bytes that autograd keeps of a block per token and unit of width under bfloat16, counted on a CPU
TOKENIZERS = {"bert-base-uncased": 30_522, "gpt2": 50_257}
PREPARED = {"owt-gpt2": 50_257, "lm1b-bert": 30_522, "text8": 27}
SHAKESPEARE = 74  # characters
DATASETS = {"tuetschek/e2e_nlg": 821, "mintujupally/ROCStories": 11_043}  # words, Li et al. 2022, App. B


@dataclass(frozen=True)
class Hardware:
    """Peak in FLOP/s of dense bfloat16 by the data sheet, memory in bytes."""

    name: str
    peak: float
    memory: float


GPUS = (Hardware("one A100", 312e12, 80e9), Hardware("one H100", 989e12, 80e9), Hardware("one H200", 989e12, 141e9))


@dataclass(frozen=True)
class Needs:
    """Parameters, tokens and FLOPs of a run; bytes per process for what is kept (`state`) and for a micro-batch."""

    V: int
    parameters: int
    tokens: int
    flops: float
    state: float
    activations: float


def needs(recipe: Recipe, processes: int = 1) -> Needs:
    """What the run takes. The network is built without memory, and the vocabulary is known without the data."""
    V, size, length = vocabulary(recipe), recipe.size, recipe.data.length
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = build(recipe, V)
    trunk, head, share = matrices(recipe, model, V)
    tokens, copies = recipe.steps * recipe.batch_size * length, 1 + isinstance(recipe.task, Block)
    forward = copies * (2 * trunk + 4 * size.layers * size.width * copies * length)
    passes = 3 + getattr(recipe.task, "self_conditioning", False) / 2  # a second look at half of the batches
    # a block computed again stops before its last matrix, whose result nobody needs
    again = recipe.engine.recompute * (forward - copies * 8 * size.layers * size.width**2)
    micro = recipe.batch_size * length / (processes * recipe.engine.accumulate)
    parameters = model.parameters_count()
    return Needs(
        V,
        parameters,
        tokens,
        tokens * (passes * forward + again + 6 * head * share),
        20 * parameters / (processes if recipe.engine.fsdp else 1),  # weights, gradient, average, AdamW's two moments
        micro * (copies * activations(recipe) + 8 * share * V),
    )


def utilisation(recipe: Recipe, seconds: float, peak: float, processes: int = 1) -> float:
    """Model FLOPs utilisation: the share of `peak` (FLOP/s of one process's device) that a step of so many seconds
    makes use of,

        MFU = (6 N + 12 layers width L + 6 V width H) T / (seconds x processes x peak),

    with T = batch_size x L tokens of a step, N weights of the trunk's matrices, L the length and H the share of the
    positions at which the head of V rows is asked (above). What is computed besides does not count: blocks or logits
    computed again, rows that only fill up.
    """
    computed = needs(replace(recipe, engine=replace(recipe.engine, recompute=False))).flops / recipe.steps
    return computed / (seconds * processes * peak)


def matrices(recipe: Recipe, model, V: int) -> tuple[float, int, float]:
    """(weights of the trunk's matrices, of the head's, share of the positions at which the head is asked)."""
    linear = {name: layer.weight.numel() for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    of_time = {"modulation", "time"}
    trunk = sum(n / recipe.data.length if of_time & set(name.split(".")) else n for name, n in linear.items())
    if isinstance(model, DiffusionLM):  # rounding is tied to the embeddings, and asked everywhere
        return trunk, V * model.D, 1.0
    head = V * recipe.size.width
    return trunk - head, head, asked(recipe.task)


def asked(task) -> float:
    """At how many positions the head is asked, of each of the text's; more than 1 where it is asked twice."""
    if isinstance(task, Masked | LLaDA):
        return 0.5
    if isinstance(task, Block):
        return (task.low + task.high) / 2
    if isinstance(task, D3PM):  # the term of the bound, and the cross-entropy everywhere
        return (0.5 if task.noise is Noise.ABSORBING else 1.0) + (task.lam > 0)
    return 1.0


def activations(recipe: Recipe) -> float:
    """Bytes per token in 16 bits: a full block each, or what enters each block and one block at a time."""
    size = recipe.size
    if recipe.engine.recompute:
        return size.width * (4 * size.layers + ACTIVATION)
    return size.width * size.layers * ACTIVATION


def vocabulary(recipe: Recipe) -> int:
    """V, without fetching the data where it is known."""
    data = recipe.data
    if isinstance(data, PreparedText) and data.name in PREPARED:
        return PREPARED[data.name]
    if isinstance(data, HubText | StreamedText) and data.tokenizer_name in TOKENIZERS:
        return TOKENIZERS[data.tokenizer_name]
    if isinstance(data, HubSentences) and data.name in DATASETS:
        return DATASETS[data.name]
    if isinstance(data, Shakespeare) and data.bpe is None:
        return SHAKESPEARE
    return data.bpe if isinstance(data, Corpus) and data.bpe else data.V


def plan(name: str, recipe: Recipe) -> str:
    """The page that `--plan` prints."""
    run = needs(recipe)
    cpu = Hardware("this CPU", measured_peak(), float("inf"))
    lines = [
        f"{name}: {run.parameters:,} parameters, V = {run.V:,}, length {recipe.data.length}",
        f"  training     {recipe.steps:,} steps of {recipe.batch_size} rows = {amount(run.tokens)} tokens, "
        f"{run.flops:.2g} FLOPs",
        f"  memory       {size_of(run.state)} {where(recipe)} for weights, gradient, average and AdamW: 20 bytes a "
        "parameter;",
        f"               about {size_of(run.activations)} (bfloat16, an estimate) for "
        f"{recipe.batch_size // recipe.engine.accumulate} rows at a time, dealt to all processes",
        f"  time         at {100 * UTILISATION:.0f} % of the peak, an assumption",
        *(time_on(machine, run) for machine in (*GPUS, cpu)),
    ]
    expect = textwrap.wrap(expected(name, recipe), 100, initial_indent="  expect       ", subsequent_indent=" " * 15)
    return "\n".join([*lines, *expect])


def where(recipe: Recipe) -> str:
    return "in all processes together" if recipe.engine.fsdp else "in every process"


def time_on(machine: Hardware, run: Needs) -> str:
    needed = duration(run.flops / (UTILISATION * machine.peak))
    kind = "measured in float32" if machine.name == "this CPU" else "bfloat16"
    fits = "" if run.state + run.activations < machine.memory else "; does not fit: raise engine.accumulate"
    return f"    {machine.name:10} {needed:>14}   ({machine.peak / 1e12:.3g} TFLOP/s {kind}{fits})"


def expected(name: str, recipe: Recipe) -> str:
    if name in EXPECTED:
        return EXPECTED[name]
    best = recipe.data.nats_per_token() if isinstance(recipe.data, ToyLanguage) else None
    if best is None or isinstance(recipe.task, EmbeddingDiffusion):
        return "no published figure: the lessons and lessons/checkpoints show what it reached here"
    return f"a little above the language's entropy, {best:.4f} nats per token, which nothing can beat"


def measured_peak(seconds: float = 0.2, width: int = 512) -> float:
    """FLOP/s of float32 matrix products here and now, on as many threads as training would use."""
    a = torch.ones(width, width)
    a @ a
    products, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        a @ a
        products += 1
    return 2 * width**3 * products / passed


def amount(number: float) -> str:
    return f"{number / 1e9:.3g} billion" if number >= 1e9 else f"{number / 1e6:.3g} million"


def size_of(number: float) -> str:
    return f"{number / 1e9:.3g} GB" if number >= 1e9 else f"{number / 1e6:.3g} MB"


def duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1 else "under a second"
