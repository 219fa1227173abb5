"""D3PM on Shakespeare's characters: which noise, which schedule, and when does the extra cross-entropy help?

Eight ways to train the same network on the same batches, each scored by its own exact T-step bound in bits per
character. The last is not in the paper: the bound asks what the *other* characters say of x_i, the cross-entropy asks
what all of z_t says, so for the cross-entropy the evidence of z_i is multiplied back in. About 32 minutes on one core.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.evaluation import estimate_nelbo
from difflm_core.models import Transformer, TransformerConfig, with_own_evidence
from difflm_core.objectives import d3pm_hybrid_loss, d3pm_nelbo, stratified_times
from difflm_core.objectives.d3pm import grid_step
from difflm_core.objectives.d3pm_terms import prior_kl, reverse_kl
from difflm_core.processes import matrices
from difflm_core.samplers import sample_discrete
from difflm_core.studies import store
from difflm_core.training.sources import Shakespeare, prepared

SETTINGS = {
    "T": 100,
    "fewer_steps": [50, 20, 10, 5],  # the same networks scored with k-step jumps
    "lambda_times_T": 10.0,  # the paper's 0.01 times its T = 1000: the cross-entropy against the whole bound
    "length": 64,
    "steps": 500,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "warmup": 50,
    "width": 96,
    "layers": 2,
    "neighbours": 5,
    "embedding": 8,  # dimensions of the character vectors that say who is whose neighbour
    "rows": 256,
    "draws": 12,
    "draws_of_fewer": 2,
}
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Variant:
    """`own_evidence`: the cross-entropy is taken of the prediction times q(z_i | x_i), the evidence of z_i itself."""

    noise: str
    hybrid: bool
    own_evidence: bool = False

    @property
    def lam(self) -> float:
        return SETTINGS["lambda_times_T"] / SETTINGS["T"] if self.hybrid else 0.0


VARIANTS = [
    *(Variant(noise, hybrid) for noise in ("absorbing", "nearest neighbour", "uniform") for hybrid in (False, True)),
    Variant("uniform, 1/(T-t+1)", hybrid=False),
    Variant("uniform", hybrid=True, own_evidence=True),
]


def source() -> Shakespeare:
    return Shakespeare(length=SETTINGS["length"], bpe=None)


@cache
def process_of(noise: str):
    """The chain of T steps with the schedule that the paper gives this noise (or, once, another's)."""
    V, T = source().V, SETTINGS["T"]
    if noise == "absorbing":
        return matrices.absorbing_process(V, matrices.reciprocal_betas(T))
    if noise == "nearest neighbour":
        rows = torch.tensor(prepared(source())[0]["ids"])
        return neighbour_process(rows, V, T, SETTINGS["neighbours"], SETTINGS["embedding"])
    betas = matrices.cosine_betas(T) if noise == "uniform" else matrices.reciprocal_betas(T)
    return matrices.uniform_process(V, betas)


def neighbour_process(rows: Int[Tensor, "N L"], V: int, T: int, k: int, D: int) -> matrices.MatrixProcess:
    """Noise that walks to similar characters, and loses an equal share of the information in every step."""
    unigram = (torch.bincount(rows.flatten(), minlength=V).double() + 1) / (rows.numel() + V)
    embedding = character_vectors(bigram_counts(rows, V), D)
    alphas = matrices.information_alphas(unigram, embedding, k, T)
    return matrices.MatrixProcess(matrices.nearest_neighbour(embedding, alphas, k), V)


def bigram_counts(rows: Int[Tensor, "N L"], V: int) -> Float[Tensor, "V V"]:
    """How often b follows a."""
    pairs = rows[:, :-1] * V + rows[:, 1:]
    return torch.bincount(pairs.flatten(), minlength=V * V).view(V, V).double()


def character_vectors(counts: Float[Tensor, "V V"], D: int) -> Float[Tensor, "V D"]:
    """Vectors of length 1 for characters that keep the same company, from a factorisation of the bigrams.

    Positive pointwise mutual information with the characters before and after, then its D leading singular directions
    (Levy & Goldberg 2014: what word2vec factorises). Half a count more everywhere keeps rare characters quiet.
    """
    both = torch.cat([counts, counts.T], dim=1) + 0.5  # (V, 2 V): what comes after, what came before
    joint = both / both.sum()
    information = (joint / (joint.sum(1, keepdim=True) * joint.sum(0))).log().clamp_min(0)
    U, S, _ = torch.linalg.svd(information)
    return F.normalize(U[:, :D] * S[:D].sqrt(), dim=1)


def loss(variant: Variant, model, x: Int[Tensor, "B L"], t: Float[Tensor, "B"], generator) -> Float[Tensor, "B L"]:
    """L_lambda, nats per character."""
    process = process_of(variant.noise)
    if not variant.own_evidence:
        return d3pm_hybrid_loss(process, model, x, t, variant.lam, generator=generator)
    T = process.schedule.T
    s, t, shown = grid_step(t, T)
    z_t = process.corrupt(x, t, generator)
    h = model.hidden(z_t, shown)
    term = reverse_kl(process, model, h, x, z_t, s, t)
    logits = with_own_evidence(model.logits(h), process, z_t, t)
    cross_entropy = F.cross_entropy(logits.transpose(1, 2), x, reduction="none")
    return (prior_kl(process, x) + T * (term + variant.lam * cross_entropy)).to(term.dtype)


def batches(seed: int) -> Iterator[Int[Tensor, "B L"]]:
    return source().train(SETTINGS["batch_size"], torch.Generator().manual_seed(1000 + seed))


def trained(variant: Variant, seed: int, steps: int = SETTINGS["steps"]) -> Transformer:
    torch.manual_seed(seed)
    config = TransformerConfig(
        source().V, SETTINGS["length"], SETTINGS["width"], SETTINGS["layers"], time_conditioning=True
    )
    model = Transformer(config)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0, betas=(0.9, 0.99), fused=True)
    warmup = min(0.5, SETTINGS["warmup"] / steps)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, SETTINGS["learning_rate"], steps, pct_start=warmup, cycle_momentum=False
    )
    data, generator = batches(seed), torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = next(data)
        value = loss(variant, model, x, stratified_times(len(x), generator), generator).mean()
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def held_out() -> list[Int[Tensor, "B L"]]:
    """Rows from all over the plays that no network was trained on."""
    rows = torch.tensor(prepared(source())[1]["ids"])
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(4321))
    return list(rows[order[: SETTINGS["rows"]]].split(128))


def score(variant: Variant, model: Transformer) -> dict:
    """Bits per character: the bound with all T steps, and with fewer; the same rows and seeds for all."""
    process, rows = process_of(variant.noise), held_out()
    found = {}
    for T in (SETTINGS["T"], *SETTINGS["fewer_steps"]):
        draws = SETTINGS["draws" if T == SETTINGS["T"] else "draws_of_fewer"]
        found[T] = estimate_nelbo(
            lambda x, t, g, T=T: d3pm_nelbo(process, model, x, t, T, g),
            rows, draws, torch.Generator().manual_seed(5),
        )  # fmt: skip
    whole = found[SETTINGS["T"]]
    return {
        "bits": whole.bits,
        "standard_error": whole.standard_error / log(2),
        "prior_bits": max(0.0, prior_kl(process, rows[0]).mean().item()) / log(2),
        "bits_by_steps": {str(T): estimate.bits for T, estimate in found.items()},
    }


def samples(variant: Variant, model: Transformer, n: int = 2) -> list[str]:
    shape, generator = (n, SETTINGS["length"]), torch.Generator().manual_seed(7)
    drawn = sample_discrete(process_of(variant.noise), model, SETTINGS["T"], shape, generator=generator)
    return [source().decode(row) for row in drawn.tokens]


def run(variant: Variant, seed: int) -> dict:
    began = time.perf_counter()
    model = trained(variant, seed)
    row = {
        "noise": variant.noise, "lam": variant.lam, "own_evidence": variant.own_evidence, "seed": seed,
        "train_seconds": round(time.perf_counter() - began), **score(variant, model),
    }  # fmt: skip
    return row | ({"samples": samples(variant, model)} if seed == SEEDS[0] else {})


def main() -> None:
    started, runs = time.perf_counter(), []
    for seed in SEEDS:
        for variant in VARIANTS:
            runs.append(run(variant, seed))
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in runs[-1].items()}, flush=True)
    store.save("d3pm_characters", SETTINGS | {"V": source().V}, runs, time.perf_counter() - started)


if __name__ == "__main__":
    main()
