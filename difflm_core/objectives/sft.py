"""Instruction tuning of a masked model: the question stays clean, only the answer is masked and paid for (LLaDA, Nie et
al. 2025, Eq. 5).

The same bound as in masked.py, now on -log p(answer | question). An answer shorter than its canvas is filled up with
the end token, which belongs to the answer: masked, predicted and paid for like any word. So the model learns where to
stop, and in sampling its surest positions are often at the far end, full of end tokens, which is why LLaDA samples
long answers in blocks.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.objectives.masked import bound_weight, weighted_cross_entropy
from difflm_core.processes import DiscreteProcess, time_of
from difflm_core.processes.schedules import check_times


def answer_nelbo(
    process: DiscreteProcess,
    denoiser: Denoiser,
    x: Int[Tensor, "B L"],
    answer: Bool[Tensor, "B L"],
    t: Float[Tensor, "B"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B L"]:
    """One-sample estimate, nats per token, zero outside the answer: sum over L for -log p(answer | the rest).

    Divide by the number of answer tokens, not by B L, for a mean per token.
    """
    check_answer(x, answer)
    z_t = torch.where(answer, process.corrupt(x, t, generator), x)
    return weighted_cross_entropy(process, denoiser, x, z_t, t, bound_weight(process, t))


def answer_nelbo_by_count(
    process: DiscreteProcess,
    denoiser: Denoiser,
    x: Int[Tensor, "B L"],
    answer: Bool[Tensor, "B L"],
    t: Float[Tensor, "B"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B L"]:
    """The same bound with exactly n = ceil(t A) of a row's A answer tokens masked, and weight A/n (LLaDA Eq. 6): the
    estimator for likelihoods. An answer of one token is exact in one draw.
    """
    check_answer(x, answer)
    check_times(t)
    process.check_tokens(x)
    A = answer.sum(1)  # (B,)
    n = (t * A).ceil().long().clamp_min(1).minimum(A)
    u = torch.rand(x.shape, generator=generator, device=x.device, dtype=torch.float64).masked_fill(~answer, 2)
    level = u.sort(dim=1).values.gather(1, n[:, None] - 1)  # (B, 1), the n-th smallest of the answer
    z_n = torch.where(u <= level, process.mask_id, x)
    shown = time_of(process.schedule, 1 - level[:, 0].to(t.dtype))
    return weighted_cross_entropy(process, denoiser, x, z_n, shown, A / n.to(t.dtype))


def answer_rows(
    questions: Sequence[Int[Tensor, "P"]], answers: Sequence[Int[Tensor, "A"]], length: int, end: int
) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
    """(x, answer): each question, its answer, and the end token up to `length`; `answer` is True from the first token
    of the answer to the last end token. Raises ValueError where no end token fits.
    """
    if len(questions) != len(answers) or not len(questions):
        raise ValueError(f"Each question has one answer, got {len(questions)} questions and {len(answers)} answers.")
    x = torch.full((len(questions), length), end, dtype=torch.long, device=questions[0].device)
    is_answer = torch.ones_like(x, dtype=torch.bool)
    for row, (question, reply) in enumerate(zip(questions, answers)):
        text = torch.cat([question, reply])
        if len(text) >= length:
            raise ValueError(
                f"Row {row} has {len(text)} tokens, a canvas of {length} takes {length - 1} and an end token: shorten "
                "it or take a longer canvas."
            )
        x[row, : len(text)] = text
        is_answer[row, : len(question)] = False
    return x, is_answer


def check_answer(x: Int[Tensor, "B L"], answer: Bool[Tensor, "B L"]) -> None:
    if answer.shape != x.shape or answer.dtype != torch.bool:
        raise ValueError(
            f"answer is True where a token of x, shaped {tuple(x.shape)}, belongs to the answer; got "
            f"{tuple(answer.shape)}, {answer.dtype}."
        )
    if answer.device.type == "cpu" and not bool(answer.any(1).all()):
        raise ValueError("A row has no answer token, so there is nothing to learn from it: leave it out.")
