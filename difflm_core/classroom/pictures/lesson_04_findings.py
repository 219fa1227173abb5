"""What lesson 04's stored study says, in lines whose verdicts are computed from its rows.

A direction counts as seen only if it holds for every seed; else it is "open".
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from difflm_core.classroom.pictures.lesson_04 import (
    beta_name,
    gap,
    kept_above_chance,
    mean_range,
    over_seeds,
    relative_area,
    rows_of,
)

Value = Callable[[dict], float]


def way(a: Float[Tensor, "S"], b: Float[Tensor, "S"]) -> str:
    """Where a figure goes from a to b, seed by seed."""
    return "rises" if bool((b > a).all()) else "falls" if bool((b < a).all()) else "open"


def verdicts(study: dict, values: dict[str, Value], a: dict, b: dict, what: str = "codes") -> str:
    """One line: where each figure goes between two cells of the study."""
    rows = rows_of(study, what, **a), rows_of(study, what, **b)
    found = {name: way(*(over_seeds(cell, value) for cell in rows)) for name, value in values.items()}
    return ", ".join(f"{name} {verdict}" for name, verdict in found.items())


def of_price(study: dict) -> str:
    betas = study["settings"]["betas"]
    values = {
        "KL": lambda r: sum(r["kl"]),
        "BLEU": lambda r: r["own"]["bleu"],
        "AuBLEU": lambda r: r["aubleu_over_1_minus_alpha"],
        "AuBLEU / BLEU": relative_area,
        "words kept at midpoints": kept_above_chance,
    }
    lines = ["What changes in the same direction with every seed (open: it does not):"]
    for low, high in zip(betas, betas[1:]):
        step = f"beta {beta_name(low)} -> {beta_name(high)}:"
        lines.append(f"  {step:24s}{verdicts(study, values, {'beta': low}, {'beta': high})}")
    few, many = min(study["settings"]["codes"]), max(study["settings"]["codes"])
    lines.append(f"  {f'{few} codes -> {many}:':24s}{verdicts(study, values, {'N': few}, {'N': many})}")
    return "\n".join([*lines, at_the_bound(study)])


def at_the_bound(study: dict) -> str:
    """What is left of the codes at the largest beta."""
    beta = max(study["settings"]["betas"])
    rows = rows_of(study, "codes", beta=beta)
    kl, active = over_seeds(rows, lambda r: sum(r["kl"])), over_seeds(rows, lambda r: 100 * r["active"])
    own, other = (over_seeds(rows, lambda r, whose=whose: r[whose]["bleu"]) for whose in ("own", "another's"))
    state = "carry nothing" if bool((kl < 1).all()) else "still carry something"
    return (
        f"At beta = {beta_name(beta)} the codes {state}: KL {mean_range(kl)} nats, {mean_range(active, 0)} % of the"
        f" numbers active, BLEU {mean_range(own)} from own and {mean_range(other)} from another's codes."
    )


TEXTS = {
    "grammar": lambda r: r["grammatical"],
    "distinct-2": lambda r: r["distinct_2"],
    "spread": lambda r: r["spread"],
    "distance of the gap from 0": lambda r: abs(gap(r)),
}


def of_sources(study: dict) -> str:
    lines = ["What changes in the same direction with every seed (open: it does not):"]
    for beta in study["settings"]["betas"]:
        for rival in ("N(0, I)", "one Gaussian"):
            found = verdicts(
                study, TEXTS, {"beta": beta, "source": rival}, {"beta": beta, "source": "diffusion"}, "texts"
            )
            lines.append(f"  {f'beta {beta_name(beta)}, {rival} -> diffusion:':42s}{found}")
    few, many = min(study["settings"]["codes"]), max(study["settings"]["codes"])
    cells = ({"N": N, "source": "diffusion"} for N in (few, many))
    lines.append(f"  {f'diffusion on {few} codes -> {many}:':42s}{verdicts(study, TEXTS, *cells, 'texts')}")
    return "\n".join(lines)


def of_noise(study: dict) -> str:
    shares = study["settings"]["swapped_shares"]
    values = {
        "whole texts": lambda r: r["own"]["exact"],
        "AuBLEU": lambda r: r["aubleu_over_1_minus_alpha"],
        "AuBLEU / BLEU": relative_area,
    }
    lines = ["What changes in the same direction with every seed (open: it does not):"]
    for low, high in zip(shares, shares[1:]):
        step = f"{low:.0%} -> {high:.0%} swapped:"
        lines.append(f"  {step:24s}{verdicts(study, values, {'share': low}, {'share': high})}")
    for share in shares:
        left = over_seeds(rows_of(study, "codes", share=share), relative_area)
        lines.append(f"  {share:.0%} swapped: AuBLEU is {mean_range(left, 3)} of the clean BLEU")
        between = over_seeds(rows_of(study, "codes", share=share), lambda r: r["between"]["grammatical"])
        lines.append(f"  {share:.0%} swapped: {mean_range(between, 3)} of the texts written half-way are grammatical")
    raw, denoised = (
        over_seeds(rows, lambda r: r["aubleu_over_1_minus_alpha"])
        for rows in (rows_of(study, "codes"), rows_of(study, "plan", by="noise"))
    )
    lines.append(f"  one look of the denoiser before decoding: AuBLEU {way(raw, denoised)}")
    return "\n".join(lines)


def of_guidance(study: dict) -> str:
    weights = study["settings"]["weights"]
    values = {"colour as asked": lambda r: r["asked_for"]} | TEXTS
    lines = ["What changes in the same direction with every seed (open: it does not):"]
    for low, high in zip(weights, weights[1:]):
        cells = ({"by": "weight", "weight": weight} for weight in (low, high))
        lines.append(f"  {f'w = {low:g} -> {high:g}:':24s}{verdicts(study, values, *cells, 'plan')}")
    return "\n".join(lines)
