"""PLANNER on the toy language: what KL and corruption do to codes, how many codes, and what diffusion on them adds.

The encoder starts from the word embeddings of the course checkpoint mdlm-tiny, of texts with random words in them; its
layers and the prefix decoder are trained together (the checkpoint's last states tell only with effort which word they
are of). beta belongs to the mean over texts of (nats per token + beta KL per text), so that 1 / 12 trains the bound,
whose floor, the entropy of the language, is exact. Three kinds of row:

    codes        texts from their own and from another's codes, the bound, KL per code, noise and midpoints
    texts        written from codes drawn from N(0, I), from one Gaussian fitted to the codes, and by diffusion
    plan         diffusion with the usual settings: by steps, a class by guidance, coarse to fine, AuBLEU
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from difflm_core.data import language_batches, toy_language
from difflm_core.data.toy_language import GRAMMAR
from difflm_core.evaluation import distinct_n
from difflm_core.evaluation.latents import area, robustness, shuffled, use_of_codes, use_of_latents
from difflm_core.models import (
    DecoderConfig,
    LatentConfig,
    LatentDenoiser,
    Planner,
    PlannerConfig,
    PrefixDecoder,
    Standardise,
    Transformer,
)
from difflm_core.objectives import planner_loss
from difflm_core.oracle.grammar_labels import feature_value
from difflm_core.processes import GaussianProcess, ShiftedCosine, uniform
from difflm_core.samplers import ddim_step, sample_latents, write_texts, write_trajectory
from difflm_core.studies import store
from difflm_core.studies.toy_quality import quality
from difflm_core.training import States, corrupted, train_planner, train_planner_denoiser
from difflm_core.training.course import course_checkpoint

SETTINGS = {
    "encoder": "mdlm-tiny",
    "steps": 1500,
    "learning_rate": 4e-3,
    "denoiser_steps": 800,
    "batch_size": 64,
    "width": 64,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "denoiser_layers": 2,
    "D_ae": 16,
    "codes": [2, 4],
    "betas": [0.0, 1e-4, 1e-3, 1e-2, 1 / 12],
    "swapped_shares": [0.0, 0.1, 0.3],
    "usual": {"N": 4, "beta": 1e-4, "share": 0.1},
    "held_out": 512,
    "samples": 500,
    "times": [0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98],
    "step_counts": [2, 5, 20, 50],
    "feature": "colour",
    "weights": [1.0, 2.0, 5.0],
    "plan_steps": 20,
}
SEEDS = (0, 1, 2)
PROCESS = GaussianProcess(ShiftedCosine(1.0))  # alpha = cos^2(pi t / 2)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texts(seed: int) -> Iterator[Tensor]:
    return language_batches(toy_language(), SETTINGS["batch_size"], seeded(seed))


def embedded(
    encoder: Transformer, batches: Iterable[Tensor], corrupt: Callable[[Tensor], Tensor] | None = None
) -> Iterator[States]:
    """The frozen word embeddings of texts, or of `corrupt(ids)`, scaled to mean square 1."""
    table = F.rms_norm(encoder.embedding.weight.detach(), (encoder.config.width,))
    for ids in batches:
        yield States(table[ids if corrupt is None else corrupt(ids)], torch.ones_like(ids, dtype=torch.bool), ids)


def untrained(encoder: Transformer, N: int, D_ae: int, width: int, encoder_layers: int, decoder_layers: int) -> Planner:
    decoder = PrefixDecoder(DecoderConfig(encoder.V, encoder.length, D_ae, N, width, decoder_layers))
    return Planner(PlannerConfig(encoder.config.width, encoder.length, N, D_ae, width, encoder_layers), decoder)


def embedder(encoder: Transformer, N: int, beta: float, share: float, seed: int) -> Planner:
    torch.manual_seed(seed)
    model = untrained(encoder, N, *(SETTINGS[key] for key in ("D_ae", "width", "encoder_layers", "decoder_layers")))
    swap = corrupted(uniform(encoder.V), share, seeded(10 + seed))
    batches = embedded(encoder, texts(100 + seed), swap)
    train_planner(
        model, batches, beta, SETTINGS["steps"], SETTINGS["learning_rate"], seeded(20 + seed), progress=False
    )  # fmt: skip
    return model


@torch.no_grad()
def codes(model: Planner, held_out: States) -> dict:
    loss = planner_loss(model, *(held_out.h, held_out.ids, held_out.mask), seeded(1))
    mean = model.encode(held_out.h)
    ways = {"own": mean, "another's": shuffled(mean, seeded(2))}
    row = {name: vars(use_of_latents(model, given, held_out.ids)) for name, given in ways.items()}
    use, scaled = use_of_codes(model, held_out.h), standardised(model, [mean])
    row |= {"bound": loss.nelbo.mean().item(), "entropy": toy_language().entropy()}  # nats per text
    row |= {"kl": use.kl.tolist(), "active": use.active, "variance": use.variance.tolist()}
    row["noisy"] = robustness(
        model, PROCESS, scaled(mean), held_out.ids, SETTINGS["times"], back=scaled.inverse, generator=seeded(3)
    )
    levels = (1 - PROCESS.alpha(torch.tensor(SETTINGS["times"]))).tolist()
    row["aubleu_over_1_minus_alpha"] = area(levels, row["noisy"])
    return row | {"between": between(model, mean, held_out.ids)}


def between(model: Planner, mean: Float[Tensor, "B N E"], ids: Tensor) -> dict:
    """Texts from midpoints of two texts' codes: `kept` is the share of words that stand at that place in one of them,
    `by_chance` the same for the midpoints of two other texts.
    """
    words = write_texts(model, (mean + mean.roll(1, 0)) / 2).tokens
    kept = ((words == ids) | (words == ids.roll(1, 0))).double().mean().item()
    by_chance = ((words == ids.roll(2, 0)) | (words == ids.roll(3, 0))).double().mean().item()
    return {"kept": kept, "by_chance": by_chance} | judged(words)


def judged(tokens: Tensor) -> dict:
    return quality(tokens) | {"distinct_2": distinct_n(tokens, 2)}


def standardised(model: Planner, means: Iterable[Tensor]) -> Standardise:
    """tanh bounds the means but does not give them variance 1, which the schedule is written for."""
    return Standardise((model.config.N, model.config.D_ae), "planner").measure(means)


def one_gaussian(codes: Float[Tensor, "M N E"], samples: int, generator: torch.Generator) -> Float[Tensor, "S N E"]:
    """Draws from the Gaussian that has the mean and the covariance of the codes: the simplest rival of diffusion."""
    flat = codes.flatten(1).double()
    factor = torch.linalg.cholesky(flat.T.cov() + 1e-6 * torch.eye(flat.shape[1]))
    eps = torch.randn(samples, flat.shape[1], generator=generator, dtype=torch.float64)
    return (flat.mean(0) + eps @ factor.T).view(samples, *codes.shape[1:]).to(codes.dtype)


@torch.no_grad()
def labelled(model: Planner, scaled: Standardise, batches: Iterator[States]) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in batches:
        yield scaled(model.encode(batch.h, batch.mask)), feature_value(GRAMMAR, SETTINGS["feature"], batch.ids)


def denoiser(model: Planner, scaled: Standardise, encoder: Transformer, seed: int) -> LatentDenoiser:
    torch.manual_seed(seed)
    config = LatentConfig(
        SETTINGS["D_ae"], model.config.N, SETTINGS["width"], SETTINGS["denoiser_layers"], self_conditioning=False,
        labels=len(GRAMMAR.features[SETTINGS["feature"]]),
    )  # fmt: skip
    net = LatentDenoiser(config)
    batches = labelled(model, scaled, embedded(encoder, texts(200 + seed)))
    train_planner_denoiser(
        net, PROCESS, batches, SETTINGS["denoiser_steps"], generator=seeded(40 + seed), progress=False
    )
    return net


def sampled(net: LatentDenoiser, model: Planner, seed: int, steps: int, **asked):
    shape = (SETTINGS["samples"], model.config.N, model.config.D_ae)
    return sample_latents(PROCESS, net, shape, steps, seeded(50 + seed), step=ddim_step, self_condition=False, **asked)


def sources(model: Planner, scaled: Standardise, net: LatentDenoiser, measured: Tensor, seed: int) -> Iterator[dict]:
    """What the decoder writes greedily of codes from three places: all variety must come from the codes."""
    shape = (SETTINGS["samples"], *measured.shape[1:])
    given = {
        "N(0, I)": torch.randn(shape, generator=seeded(30 + seed)),
        "one Gaussian": one_gaussian(measured, shape[0], seeded(31 + seed)),
        "diffusion": scaled.inverse(sampled(net, model, seed, SETTINGS["plan_steps"]).x),
    }
    for source, drawn in given.items():
        yield {"source": source} | judged(write_texts(model, drawn).tokens)


def plans(model: Planner, scaled: Standardise, net: LatentDenoiser, held_out: States, seed: int) -> Iterator[dict]:
    for steps in SETTINGS["step_counts"]:
        tokens = write_texts(model, scaled.inverse(sampled(net, model, seed, steps).x)).tokens
        yield {"by": "steps", "steps": steps} | judged(tokens)
    label = torch.arange(SETTINGS["samples"]) % net.config.labels
    for weight in SETTINGS["weights"]:
        sample = sampled(net, model, seed, SETTINGS["plan_steps"], label=label, weight=weight)
        tokens = write_texts(model, scaled.inverse(sample.x)).tokens
        hit = (feature_value(GRAMMAR, SETTINGS["feature"], tokens) == label).double().mean().item()
        yield {"by": "weight", "weight": weight, "asked_for": hit} | judged(tokens)
    sample = sampled(net, model, seed, SETTINGS["plan_steps"], record=True)
    times = [frame.time for frame in sample.trajectory]
    yield {"by": "trajectory", "t": times} | coarse_to_fine(write_trajectory(model, sample, scaled.inverse))
    with torch.no_grad():
        x = scaled(model.encode(held_out.h))
    curve = robustness(
        model, PROCESS, x, held_out.ids, SETTINGS["times"], denoise=PROCESS.denoiser(net, "x"), back=scaled.inverse,
        generator=seeded(3),
    )  # fmt: skip
    levels = (1 - PROCESS.alpha(torch.tensor(SETTINGS["times"]))).tolist()
    yield {"by": "noise", "denoised": curve, "aubleu_over_1_minus_alpha": area(levels, curve)}


def coarse_to_fine(steps: Tensor) -> dict:
    """What of the final texts is there at every step (T, B, L): `there` are the shares of their words and of their
    features' values, `chance` the same shares between two different final texts.
    """
    there, chance = {"words": (steps == steps[-1]).double().mean((1, 2)).tolist()}, {}
    chance["words"] = (steps[-1] == steps[-1].roll(1, 0)).double().mean().item()
    for feature in GRAMMAR.features:
        values = torch.stack([feature_value(GRAMMAR, feature, tokens) for tokens in steps])
        values = values[:, values[-1] >= 0]
        there[feature] = (values == values[-1]).double().mean(1).tolist()
        chance[feature] = (values[-1] == values[-1].roll(1, 0)).double().mean().item()
    return {"there": there, "chance": chance}


def cells() -> list[dict]:
    """Every beta at the usual N and corruption; then one thing changed at a time."""
    usual = SETTINGS["usual"]
    rows = [usual | {"beta": beta} for beta in SETTINGS["betas"]]
    rows += [usual | {"share": share} for share in SETTINGS["swapped_shares"] if share != usual["share"]]
    return rows + [usual | {"N": N} for N in SETTINGS["codes"] if N != usual["N"]]


def run(seed: int) -> Iterator[dict]:
    encoder, _ = course_checkpoint(SETTINGS["encoder"])
    encoder.eval()
    held_out = toy_language().sample(SETTINGS["held_out"], generator=seeded(99))
    held_out = next(embedded(encoder, [held_out]))
    for cell in cells():
        model = embedder(encoder, seed=seed, **cell)
        yield {"what": "codes", **cell, **codes(model, held_out)}
        if cell["share"] != SETTINGS["usual"]["share"]:
            continue  # swapping is judged by its codes
        with torch.no_grad():
            measured = torch.cat([model.encode(b.h) for b in islice(embedded(encoder, texts(300 + seed)), 32)])
        scaled = standardised(model, [measured])
        net = denoiser(model, scaled, encoder, seed)
        for row in sources(model, scaled, net, measured, seed):
            yield {"what": "texts", **cell, **row}
        if cell == SETTINGS["usual"]:
            for row in plans(model, scaled, net, held_out, seed):
                yield {"what": "plan", **row}


def main() -> None:
    store.over_seeds("planner", SETTINGS, SEEDS, run, told)


def told(row: dict) -> str:
    if row["what"] == "codes":
        own, other = row["own"], row["another's"]
        return (
            f"{row['N']} codes, beta {row['beta']:.4g}, swapped {row['share']:g}: BLEU {own['bleu']:.3f} (another's "
            f"{other['bleu']:.3f}), bound {row['bound']:.2f} over {row['entropy']:.2f}, KL {sum(row['kl']):.2f}, noise "
            f"{row['aubleu_over_1_minus_alpha']:.3f}, kept between {row['between']['kept']:.3f}"
        )
    if row["what"] == "plan" and row["by"] in ("trajectory", "noise"):
        return f"plan {row}"
    shown = ("N", "beta", "share", "source", "steps", "weight", "asked_for")
    name = {key: row[key] for key in shown if key in row}
    return (
        f"{row['what']} {name} grammatical {row['grammatical']:.3f}, distinct {row['distinct']:.3f}, distinct-2 "
        f"{row['distinct_2']:.3f}, spread {row['spread']:.2f}"
    )


if __name__ == "__main__":
    main()
