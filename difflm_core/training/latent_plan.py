"""What a latent recipe will take, said before anything is started or fetched.

Training costs 6 FLOPs per weight of a matrix and per vector that passes it, a frozen part 2. The autoencoder is counted
as if all of it were asked at every position of the canvas in every stage: an upper limit. With self-conditioning half
of the denoiser's batches are asked twice. The frozen encoder reads every text once.
"""

import textwrap
from dataclasses import dataclass

import torch
from torch import nn

from difflm_core.training.latent_checkpoints import KnownEncoder
from difflm_core.training.latent_recipes import LatentRecipe
from difflm_core.training.latent_sources import HubStates, WikipediaStates
from difflm_core.training.latent_tasks import Canvas, Parts
from difflm_core.training.plan import GPUS, UTILISATION, Hardware, amount, duration, measured_peak, size_of

# (pieces, width, parameters in millions, special tokens) by the model cards' configurations
ENCODERS = {
    "facebook/bart-base": (50_265, 768, 139, 5),
    "bert-base-cased": (28_996, 768, 108, 5),
    "bert-large-uncased": (30_522, 1024, 335, 5),
}
STORIES = {"mintujupally/ROCStories": 98_000}  # texts, Li et al. 2022
EXPECTED = {
    "ld4lg-rocstories": "the paper's MAUVE .716, GPT-2-Large perplexity 30.6, diversity .331, memorised .441, reached "
    "with BART as frozen decoder (here: one of the course, pretrained in the first stage), 26 M parameters between "
    "encoder and decoder (here 44 M: MLPs are four times as wide as the vectors) and 188 M in the denoiser",
    "planner-rocstories": "no figure: the paper's texts, encoder and decoder are others",
    "tencdm-rocstories": "the paper's MAUVE .762, GPT-2-Large perplexity 29.1, diversity .295, memorised .453",
    "cosmos-rocstories": "no figure: the paper's autoencoder is trained on Wikipedia, this one on the stories",
}


@dataclass(frozen=True)
class LatentNeeds:
    """Parameters by part, numbers of one text's latents, FLOPs by stage, bytes of weights with what training keeps, and
    of stored states.
    """

    parameters: dict[str, int]
    latents: tuple[int, int]
    flops: dict[str, float]
    state: float
    stored: float


def plan_canvas(recipe: LatentRecipe) -> Canvas:
    """The recipe's canvas, without fetching an encoder whose sizes are known."""
    data = recipe.data
    if isinstance(data, HubStates) and data.encoder_name in ENCODERS:
        V, dim, _, special = ENCODERS[data.encoder_name]
        return Canvas(data.pieces or V, data.length, 0, data.labels, KnownEncoder(data.encoder_name, dim, special))
    if isinstance(data, WikipediaStates):
        labels = tuple(map(str, range(12)))
        return Canvas(data.pieces or 30_522, data.length, 0, labels, KnownEncoder("all-MiniLM-L6-v2", 384, 5))
    encoder = data.encoder()
    known = KnownEncoder(encoder.name, encoder.dim, len(encoder.special_ids))
    return Canvas(data.V, data.length, data.end, data.labels, known)


def untrained_parts(recipe: LatentRecipe) -> Parts:
    """The recipe's networks, without memory."""
    canvas = plan_canvas(recipe)  # before, since the toy language's encoder is opened, with its weights
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return recipe.parts(canvas)


def latent_needs(recipe: LatentRecipe) -> LatentNeeds:
    canvas, parts, task = plan_canvas(recipe), untrained_parts(recipe), recipe.task
    parameters = {"autoencoder": weights(parts.autoencoder), "denoiser": weights(parts.denoiser)}
    N, D = task.shape(canvas)
    text = matrices(parts.autoencoder) * canvas.length
    latent = matrices(parts.denoiser) * N + 2 * recipe.size.layers * recipe.size.width * N * N
    rows = recipe.batch_size
    first = sum(getattr(task, name, 0) for name in ("pretraining_steps", "tuning_steps", "steps"))
    again = 2 * latent * task.self_conditioning  # a first look without gradient
    flops = {"autoencoder": 6.0 * text * rows * first}
    flops["denoiser"] = float(rows * recipe.diffusion.steps * (6 * latent + again + 2 * text))
    texts = texts_of(recipe)
    if isinstance(recipe.data, HubStates) and recipe.data.encoder_name in ENCODERS:
        flops["encoding, once"] = 2e6 * ENCODERS[recipe.data.encoder_name][2] * canvas.length * texts
    kept = 20 * sum(parameters.values())
    return LatentNeeds(parameters, (N, D), flops, kept, 2.0 * texts * canvas.length * canvas.dim)


def texts_of(recipe: LatentRecipe) -> int:
    """Stored texts, as far as they are known without the data."""
    if isinstance(recipe.data, HubStates):
        return STORIES.get(recipe.data.name, 0)
    return 18_000 if isinstance(recipe.data, WikipediaStates) else 0


def weights(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def matrices(model: nn.Module) -> int:
    """Weights that every vector is multiplied with; tables are looked up only."""
    return sum(layer.weight.numel() for layer in model.modules() if isinstance(layer, nn.Linear))


def plan_latents(name: str, recipe: LatentRecipe) -> str:
    """The page that `--plan` prints."""
    run = latent_needs(recipe)
    N, D = run.latents
    tokens = recipe.batch_size * recipe.diffusion.steps * recipe.data.length
    total = sum(run.flops.values())
    parts = ", ".join(f"{part} {count:,}" for part, count in run.parameters.items())
    lines = [
        f"{name}: parameters: {parts}; a text is {N} x {D} numbers",
        f"  stages       {', '.join(recipe.stages())}; {recipe.diffusion.steps:,} steps of {recipe.batch_size} texts "
        f"for the denoiser = {amount(tokens)} tokens",
        "  FLOPs        at most " + ", ".join(f"{stage} {flops:.2g}" for stage, flops in run.flops.items()),
        f"  memory       {size_of(run.state)} for weights, gradient, average and AdamW at 20 bytes a parameter, and "
        "what a batch needs",
        f"  disk         {size_of(run.stored)} for the stored states of all texts",
        f"  time         at most, at {100 * UTILISATION:.0f} % of the peak, an assumption",
    ]
    for machine in (*GPUS, Hardware("this CPU", measured_peak(), float("inf"))):
        lines.append(f"    {machine.name:10} {duration(total / (UTILISATION * machine.peak)):>14}")
    said = EXPECTED.get(name, "no published figure: the cards in lessons/checkpoints say what was reached here")
    return "\n".join([*lines, *textwrap.wrap(said, 100, initial_indent="  expect       ", subsequent_indent=" " * 15)])
