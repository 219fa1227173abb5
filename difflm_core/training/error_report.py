"""Does the error predictor find wrong tokens better than the denoiser's own doubts do?"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.evaluation.detection import Detection, detection
from difflm_core.models import Denoiser, ErrorPredictor
from difflm_core.models.error_predictor import check_fits
from difflm_core.processes import Schedule
from difflm_core.samplers import probabilities
from difflm_core.training.error_predictor import frozen, one_step_drafts


@dataclass(frozen=True)
class ErrorReport:
    """Detectors of wrong tokens, judged on held-out drafts: `predictor` and two baselines on the positions that the
    denoiser wrote, and `predictor_everywhere`.
    """

    predictor: Detection
    confidence: Detection
    rescored: Detection | None
    predictor_everywhere: Detection


@torch.no_grad()
def evaluate_error_predictor(
    predictor: ErrorPredictor,
    denoiser: Denoiser,
    batches: Iterable[Int[Tensor, "B L"]],
    generator: torch.Generator | None = None,
    rescore: bool = False,
    schedule: Schedule | None = None,
) -> ErrorReport:
    """Compare the predictor with the denoiser's own doubts on drafts of held-out texts (a finite iterable of (B, L)).

    The comparison is on drafted positions only: the confidence of a visible token is no detector, it knows the
    answer. The baselines are `confidence`, 1 - p(token | z_t) when it was written, which is free but needs z_t, and,
    with `rescore`, 1 - p(token | all others of the draft), which sees what the predictor sees and costs L calls.

    Given z_t, the draft is drawn without a look at x, so p(wrong | z_t, draft) = 1 - p(token | z_t): if the denoiser
    is exact, `confidence` is the best detector there can be of *these* labels, and a predictor that sees only the
    draft cannot beat it. What a sampler lacks is another thing: a token that is kept was judged when less was known.
    """
    frozen(denoiser)
    predictor.eval()
    logits, first, second, wrong, new = [], [], [], [], []
    for x in batches:
        check_fits(predictor, denoiser.V, x.shape[1])
        drafts = one_step_drafts(denoiser, x, generator, schedule)
        logits.append(predictor.error_logits(drafts.tokens))
        first.append(doubt(drafts.probability))
        second.append(doubt(rescored_probability(denoiser, drafts.tokens)) if rescore else first[-1])
        wrong.append(drafts.wrong)
        new.append(drafts.drafted)
    if not new:
        raise ValueError("There is nothing to evaluate: give at least one batch of held-out texts.")
    new, wrong = torch.cat(new), torch.cat(wrong)
    by_predictor, by_confidence, by_rescoring = (
        detection(torch.cat(part), wrong, new) for part in (logits, first, second)
    )
    everywhere = detection(torch.cat(logits), wrong)
    return ErrorReport(by_predictor, by_confidence, by_rescoring if rescore else None, everywhere)


def doubt(probability: Float[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """Log-odds of being wrong, given the probability of being right; certainty is cut at 1e-12."""
    p = probability.double().clamp(1e-12, 1 - 1e-12)
    return torch.log1p(-p) - p.log()


@torch.no_grad()
def rescored_probability(denoiser: Denoiser, tokens: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """p(x_i | all other tokens) for every token of complete texts: each is masked alone and asked for again, L
    network calls.
    """
    out = []
    for i in range(tokens.shape[1]):
        z = tokens.clone()
        z[:, i] = denoiser.V
        h = denoiser.hidden(z, torch.full((len(z),), 1 / tokens.shape[1], device=z.device))[:, i]
        out.append(probabilities(denoiser.logits(h)).gather(1, tokens[:, i : i + 1]))
    return torch.cat(out, dim=1)
