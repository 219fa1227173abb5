"""What each rule would take back from one draft: the numbers behind the remasking inspector.

A step goes from t to an earlier s. Some words were visible at t, the others have just been drafted. Afterwards a word
is hidden

    visible at t     with probability sigma                       (ReMDM Eq. 6; MDLM 0, Star 1 - alpha_s)
    just drafted     with probability 1 - reveal                  (it was masked, and stays masked)
    a guided rule    if it is one of exactly N_s positions, chosen by score (G-Star)

so that one row of numbers per rule can be compared across rules. Beside it stands the probability that the word is an
error: a learned predictor's, or the exact one, by Bayes' rule in a language whose probabilities are known.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models import ErrorPredictor
from difflm_core.oracle import HiddenMarkovLanguage
from difflm_core.processes import Linear, uniform
from difflm_core.samplers import (
    Guide,
    Moment,
    Rule,
    Sample,
    gumbel_top_k,
    remask_count,
    remdm,
    remdm_cap,
    remdm_posterior,
    sample_remasking,
    star,
)

ErrorProbability = Callable[[Int[Tensor, "B L"]], Float[Tensor, "B L"]]
DRAWS = 1000  # of the guided choice: a frequency is then off by 1.6 points of a hundred at most (one standard error)


@dataclass(frozen=True)
class Draft:
    """One complete draft: words (L,), which of them were visible at t, the probability each was last written with
    (NaN: not known), and for each word the probability that it is wrong.
    """

    t: float
    s: float
    tokens: Int[Tensor, "L"]
    visible: Bool[Tensor, "L"]
    written: Float[Tensor, "L"]
    wrong: Float[Tensor, "L"]


def exact_errors(language: HiddenMarkovLanguage, rate: float = 0.1) -> ErrorProbability:
    """P(word i is wrong | the whole draft), if every word had been replaced by a random one with probability `rate`.

    That is the posterior of uniform noise at t = rate, exact. A mask is no word and is not wrong. (What a learned
    predictor is asked differs a little: its errors are those of a denoiser that writes several words at once.)
    """
    if not 0 < rate < 1:
        raise ValueError(f"The rate is the share of wrong words expected in a draft, inside (0, 1), got {rate}.")
    process = uniform(language.V)

    def wrong(draft: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        p = language.posterior(draft, torch.full((len(draft),), rate, dtype=torch.float64), process)
        own = p.gather(-1, draft.clamp_max(language.V - 1)[..., None])[..., 0]
        return (1 - own).clamp(0, 1).masked_fill(draft == language.mask_id, 0)

    return wrong


def predicted_errors(predictor: ErrorPredictor) -> ErrorProbability:
    """The same from a trained error predictor."""
    return torch.no_grad()(lambda draft: predictor.error_logits(draft).sigmoid())


def guided(wrong: ErrorProbability, temperature: float = 1.0) -> Rule:
    """G-Star with any error probability as its score: its log-odds, as `samplers.gstar` has them from a predictor."""
    return Rule(guide=Guide(lambda draft, written: wrong(draft).double().clamp(1e-9, 1 - 1e-9).logit(), temperature))


def usual_rules(wrong: ErrorProbability) -> dict[str, Rule]:
    """The four that lesson 10 compares."""
    return {"MDLM": remdm(0.0), "ReMDM cap 0.2": remdm_cap(0.2), "Star": star(), "G-Star": guided(wrong)}


def drafts_of(
    denoiser, wrong: ErrorProbability, T: int, L: int, generator: torch.Generator | None = None
) -> tuple[list[Draft], Sample]:
    """The complete drafts of one text while G-Star writes it in T steps, and the sample itself.

    Steps that begin with masks everywhere and take everything back again have no draft (`remask_count` = L).
    """
    sample = sample_remasking(denoiser, guided(wrong), T, (1, L), generator=generator, record=True)
    drafts, written = [], torch.full((L,), torch.nan)
    for now, before in zip(sample.trajectory[1:], sample.trajectory):
        written = torch.where(now.written[0], now.probability[0], written)
        if not bool((now.tokens == denoiser.V).any()):
            t = float(now.time[0])
            visible = before.tokens[0] != denoiser.V
            drafts.append(Draft(t, t - 1 / T, now.tokens[0], visible, written.clone(), wrong(now.tokens)[0]))
    return drafts, sample


def hidden_after(rule: Rule, draft: Draft, generator: torch.Generator | None = None) -> Float[Tensor, "L"]:
    """The probability that each word of the draft is a mask after this step (linear schedule). For a guided rule a
    frequency over DRAWS draws, otherwise exact. Where a rule is not active the step is MDLM's. Raises ValueError for a
    rule with a clock of its own (`remdm_loop`), whose levels are not those of the draft.
    """
    if abs(rule.clock(Linear())(draft.t) - draft.t) > 1e-9:
        raise ValueError("This rule bends time: the inspector compares rules at the same level, so choose one without.")
    if guides(rule, draft):
        return choose(rule.guide, draft, DRAWS, generator).double().mean(0)
    alpha_t, alpha_s = Linear().alpha(torch.tensor([draft.t, max(draft.s, 0.0)], dtype=torch.float64))
    known = draft.written.double().masked_fill(~draft.visible, torch.nan)[None]
    now = Moment(draft.t, draft.s, draft.t, alpha_t, alpha_s, known)
    sigma = rule.sigma(now) if rule.during(draft.t) else 0.0
    moves = remdm_posterior(alpha_t, alpha_s, sigma)
    remask, reveal = (part.expand(1, len(draft.tokens))[0] for part in (moves.remask, moves.reveal))
    return torch.where(draft.visible, remask, 1 - reveal)


def choose(guide: Guide, draft: Draft, draws: int, generator: torch.Generator | None) -> Bool[Tensor, "draws L"]:
    """Which words a guided rule takes back, `draws` times."""
    score = guide.score(draft.tokens[None], draft.written[None].double()).expand(draws, -1)
    count = remask_count(torch.tensor(1 - draft.s, dtype=torch.float64), torch.tensor([len(draft.tokens)]))
    everywhere = torch.ones_like(score, dtype=torch.bool)
    return gumbel_top_k(score, count.expand(draws), guide.temperature, everywhere, generator)


def one_outcome(
    rule: Rule, draft: Draft, hidden: Float[Tensor, "L"], u: Float[Tensor, "L"], generator: torch.Generator
) -> Bool[Tensor, "L"]:
    """One way in which the step could end. Coin rules share the coins u, so that a larger probability hides more."""
    return choose(rule.guide, draft, 1, generator)[0] if guides(rule, draft) else u < hidden


def guides(rule: Rule, draft: Draft) -> bool:
    """Whether the rule's guide chooses in this step."""
    return rule.guide is not None and rule.during(draft.t)
