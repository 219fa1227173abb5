"""How many words can still be read from noisy embeddings, per noise schedule: exact posteriors, no network.

Random embeddings of the toy language, of unit variance per coordinate (what a variance-preserving process expects;
their squared length grows with D) and of unit length. About 3 minutes on one core.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.data import toy_language
from difflm_core.oracle import guessed_blind, recoverable, useless_steps
from difflm_core.processes import CosineBeta, LinearBeta, ShiftedCosine, Sqrt
from difflm_core.studies import store

SETTINGS = {
    "texts": 128,
    "times": [0.005, *(k / 24 for k in range(1, 25))],
    "embeddings": [[16, "unit variance"], [64, "unit variance"], [128, "unit variance"], [16, "unit length"],
                   [128, "unit length"]],
    "tolerance": 0.02,
}  # fmt: skip
SEEDS = (0, 1, 2)
SCHEDULES = {
    "linear beta": LinearBeta(),
    "cosine": CosineBeta(),
    "sqrt": Sqrt(),
    "shifted cosine 3": ShiftedCosine(3.0),
    "shifted cosine 9": ShiftedCosine(9.0),
}


def random_embeddings(V: int, D: int, scale: str, generator: torch.Generator) -> Float[Tensor, "V D"]:
    vectors = torch.randn(V, D, generator=generator, dtype=torch.float64)
    vectors = vectors / vectors.norm(dim=-1, keepdim=True)
    return vectors * D**0.5 if scale == "unit variance" else vectors


def run(seed: int):
    """One dict per kind of embedding and schedule; the seed draws embeddings, texts and noise."""
    language = toy_language()
    times, blind = torch.tensor(SETTINGS["times"], dtype=torch.float64), guessed_blind(language)
    for D, scale in SETTINGS["embeddings"]:
        embeddings = random_embeddings(language.V, D, scale, torch.Generator().manual_seed(seed))
        for name, schedule in SCHEDULES.items():
            generator = torch.Generator().manual_seed(1000 + seed)
            curve = recoverable(language, embeddings, schedule, times, SETTINGS["texts"], generator)
            yield {
                "D": D,
                "scale": scale,
                "schedule": name,
                "alpha": schedule.alpha(times).tolist(),
                **{part: values.tolist() for part, values in curve._asdict().items()},
                "useless": useless_steps(times, curve.context, blind, SETTINGS["tolerance"])._asdict(),
            }


def told(row: dict) -> str:
    useless = row["useless"]
    return (
        f"D {row['D']:3} {row['scale']:13} {row['schedule']:16} "
        f"too easy {useless['too_easy']:.3f}   too noisy {useless['too_noisy']:.3f}"
    )


def main() -> None:
    settings = {**SETTINGS, "guessed_blind": guessed_blind(toy_language())}
    store.over_seeds("recoverable_tokens", settings, SEEDS, run, told)


if __name__ == "__main__":
    main()
