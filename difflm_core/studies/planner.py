"""PLANNER on the toy language: what KL and corruption do to codes, how many codes, and planning by diffusion.

The encoder starts from the word embeddings of the course checkpoint mdlm-tiny, of texts with random words in them; its
layers and the prefix decoder are trained together (the checkpoint's last states tell only with effort which word they
are of). beta belongs to the mean over texts of (nats per token + beta KL per text), so
that 1 / 12 trains the bound, whose floor, the entropy of the language, is exact. Three kinds of row:

    codes        texts from their own and from another's codes, the bound, KL per code, noise and midpoints
    draws        texts written from codes drawn from N(0, I), where a VAE without diffusion would sample
    plan         diffusion on the codes: quality by steps, a class by guidance, coarse to fine, AuBLEU
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from difflm_core.data import language_batches, toy_language
from difflm_core.data.toy_language import GRAMMAR
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
    "steps": 2000,
    "denoiser_steps": 2000,
    "batch_size": 128,
    "width": 96,
    "layers": 2,
    "denoiser_layers": 3,
    "D_ae": 16,
    "codes": [1, 2, 4],
    "betas": [0.0, 1e-4, 1e-3, 1e-2, 1 / 12],
    "swapped_shares": [0.0, 0.3],
    "usual": {"N": 4, "beta": 1e-3, "share": 0.3},
    "held_out": 1024,
    "samples": 1000,
    "times": [0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98],
    "step_counts": [5, 10, 20, 50],
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


def embedder(encoder: Transformer, N: int, beta: float, share: float, seed: int) -> Planner:
    torch.manual_seed(seed)
    sizes = {"width": SETTINGS["width"], "layers": SETTINGS["layers"]}
    decoder = PrefixDecoder(DecoderConfig(encoder.V, encoder.length, SETTINGS["D_ae"], N, **sizes))
    model = Planner(PlannerConfig(encoder.config.width, encoder.length, N, SETTINGS["D_ae"], **sizes), decoder)
    swap = corrupted(uniform(encoder.V), share, seeded(10 + seed))
    batches = embedded(encoder, texts(100 + seed), swap)
    train_planner(model, batches, beta, SETTINGS["steps"], generator=seeded(20 + seed), progress=False)
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
    midpoints = write_texts(model, (mean + mean.roll(1, 0)) / 2).tokens
    return row | {"midpoints_grammatical": toy_language().grammatical(midpoints).double().mean().item()}


def standardised(model: Planner, means: Iterable[Tensor]) -> Standardise:
    """tanh bounds the means but does not give them variance 1, which the schedule is written for."""
    return Standardise((model.config.N, model.config.D_ae), "planner").measure(means)


def draws(model: Planner, seed: int) -> dict:
    drawn = torch.randn(SETTINGS["samples"], model.config.N, model.config.D_ae, generator=seeded(30 + seed))
    return quality(write_texts(model, drawn).tokens)


@torch.no_grad()
def labelled(model: Planner, scaled: Standardise, batches: Iterator[States]) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in batches:
        yield scaled(model.encode(batch.h, batch.mask)), feature_value(GRAMMAR, SETTINGS["feature"], batch.ids)


def plans(model: Planner, encoder: Transformer, held_out: States, seed: int) -> Iterator[dict]:
    torch.manual_seed(seed)
    with torch.no_grad():
        mean = model.encode(held_out.h)
        training = islice(embedded(encoder, texts(300 + seed)), 32)
        scaled = standardised(model, (model.encode(batch.h) for batch in training))
    labels = len(GRAMMAR.features[SETTINGS["feature"]])
    config = LatentConfig(
        SETTINGS["D_ae"], model.config.N, SETTINGS["width"], SETTINGS["denoiser_layers"], self_conditioning=False,
        labels=labels,
    )  # fmt: skip
    net = LatentDenoiser(config)
    batches = labelled(model, scaled, embedded(encoder, texts(200 + seed)))
    train_planner_denoiser(
        net, PROCESS, batches, SETTINGS["denoiser_steps"], generator=seeded(40 + seed), progress=False
    )

    def sampled(steps: int, record: bool = False, **asked):
        shape = (SETTINGS["samples"], model.config.N, model.config.D_ae)
        return sample_latents(
            PROCESS, net, shape, steps, seeded(50 + seed), step=ddim_step, self_condition=False, record=record, **asked
        )

    for steps in SETTINGS["step_counts"]:
        tokens = write_texts(model, scaled.inverse(sampled(steps).x)).tokens
        yield {"by": "steps", "steps": steps} | quality(tokens)
    label = torch.arange(SETTINGS["samples"]) % labels
    for weight in SETTINGS["weights"]:
        sample = sampled(SETTINGS["plan_steps"], label=label, weight=weight)
        tokens = write_texts(model, scaled.inverse(sample.x)).tokens
        hit = (feature_value(GRAMMAR, SETTINGS["feature"], tokens) == label).double().mean().item()
        yield {"by": "weight", "weight": weight, "asked_for": hit} | quality(tokens)
    yield {"by": "trajectory"} | coarse_to_fine(model, scaled, sampled(SETTINGS["plan_steps"], record=True))
    curve = robustness(
        model, PROCESS, scaled(mean), held_out.ids, SETTINGS["times"], denoise=PROCESS.denoiser(net, "x"),
        back=scaled.inverse, generator=seeded(3),
    )  # fmt: skip
    levels = (1 - PROCESS.alpha(torch.tensor(SETTINGS["times"]))).tolist()
    yield {"by": "noise", "denoised": curve, "aubleu_over_1_minus_alpha": area(levels, curve)}


def coarse_to_fine(model: Planner, scaled: Standardise, sample) -> dict:
    """Per step, what of the final text is there: its features, and its words."""
    steps = write_trajectory(model, sample, scaled.inverse)
    row = {"words": (steps == steps[-1]).double().mean((1, 2)).tolist()}
    for feature in GRAMMAR.features:
        values = torch.stack([feature_value(GRAMMAR, feature, tokens) for tokens in steps])
        clear = values[-1] >= 0
        row[feature] = (values == values[-1])[:, clear].double().mean(1).tolist()
    return row


def cells() -> list[dict]:
    """Every beta with and without corruption at the usual N; other N with the usual settings."""
    usual = SETTINGS["usual"]
    rows = [{"N": usual["N"], "beta": b, "share": s} for s in SETTINGS["swapped_shares"] for b in SETTINGS["betas"]]
    return rows + [usual | {"N": N} for N in SETTINGS["codes"] if N != usual["N"]]


def run(seed: int) -> Iterator[dict]:
    encoder, _ = course_checkpoint(SETTINGS["encoder"])
    encoder.eval()
    held_out = toy_language().sample(SETTINGS["held_out"], generator=seeded(99))
    held_out = next(embedded(encoder, [held_out]))
    for cell in cells():
        model = embedder(encoder, seed=seed, **cell)
        yield {"what": "codes", **cell, **codes(model, held_out)}
        yield {"what": "draws", **cell, **draws(model, seed)}
        if cell == SETTINGS["usual"]:
            for row in plans(model, encoder, held_out, seed):
                yield {"what": "plan", **row}


def main() -> None:
    store.over_seeds("planner", SETTINGS, SEEDS, run, told)


def told(row: dict) -> str:
    if row["what"] == "codes":
        own, other = row["own"], row["another's"]
        return (
            f"{row['N']} codes, beta {row['beta']:.4g}, swapped {row['share']:g}: BLEU {own['bleu']:.3f} (another's "
            f"{other['bleu']:.3f}), bound {row['bound']:.2f} over {row['entropy']:.2f}, KL {sum(row['kl']):.2f}"
        )
    if row["what"] == "plan" and row["by"] in ("trajectory", "noise"):
        return f"plan {row}"
    name = {key: row[key] for key in ("N", "beta", "share", "steps", "weight", "asked_for") if key in row}
    return f"{row['what']} {name} grammatical {row['grammatical']:.3f}, distinct {row['distinct']:.3f}"


if __name__ == "__main__":
    main()
