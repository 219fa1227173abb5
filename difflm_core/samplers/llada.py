"""LLaDA's way to answer, put together from parts of this course (Nie et al. 2025, section 2.4 and its released code).

The prompt stays, the answer is a canvas of masks behind it. Each call predicts every mask, keeps planned numbers of the
predictions, and masks the rest again ("remasking"). Which ones are kept is the rule: the surest (`confidence`, called
low-confidence remasking there) or any (`in_random_order`). In either case a token that was kept is never taken back, so
this is a schedule of *unmasking*: the same as filling the planned positions and leaving the others alone.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.samplers.masked import sample_masked
from difflm_core.samplers.plans import Arrangement, Plan, blocks, check_steps, confidence, counts
from difflm_core.samplers.prompt_guidance import PromptGuidance
from difflm_core.samplers.sample import Sample


def transfer_counts(masks: Int[Tensor, "B"], T: int) -> Int[Tensor, "B T"]:
    """How many of a row's masks each of T calls fills: equal shares, the remainder one by one to the first calls. They
    sum to `masks`; with fewer masks than calls the last calls have nothing to do, and samplers leave them out.
    """
    check_steps(T)
    if masks.ndim != 1 or bool((masks < 0).any()):
        raise ValueError(f"masks counts the masks of each row, got {masks.tolist()}.")
    return masks[:, None] // T + (torch.arange(T, device=masks.device) < masks[:, None] % T)


def in_random_order(T: int) -> Plan:
    """Random remasking: T (nearly) equal counts, positions at random, whatever the network thinks of them."""
    check_steps(T)
    return counts([1] * T)


def after_prompt(known: int, plan: Plan) -> Plan:
    """The plan on what follows the first `known` positions, as if the canvas began there: so that blocks are counted
    from the end of the prompt.
    """
    if known < 0:
        raise ValueError(f"A prompt holds 0 tokens or more, got {known}.")

    def front(part: Tensor) -> Tensor:
        return F.pad(part, (known, 0))

    def arrange(masked, generator):
        here = plan.arrange(masked[:, known:], generator)
        share = 1 - known / masked.shape[1]  # times are shares of the canvas, and this one is longer
        return Arrangement(front(here.group), front(here.time * share), front(here.window))

    return Plan(arrange, plan.select)


def sample_llada(
    denoiser: Denoiser,
    prompt: Int[Tensor, "B P"],
    new: int,
    steps: int,
    block: int | None = None,
    remasking: Callable[[int], Plan] = confidence,
    w: float = 0.0,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    record: bool = False,
) -> Sample:
    """Prompt and answer (B, P + new). `steps` calls fill the `new` masks, in blocks of `block` from left to right
    (None: one block), each with its share of the calls; `remasking` makes a block's plan from its number of calls.

    `w` is the strength of guidance (`PromptGuidance`; 0 is none), which doubles `network_calls`. LLaDA's own setting is
    temperature 0. An answer ends at its first end token: what stands behind it means nothing. Raises ValueError for
    blocks that do not divide the answer, steps that the blocks do not divide, and prompts with a mask in them.
    """
    block = new if block is None else block
    check_answer_canvas(denoiser, prompt, new, steps, block)
    B, P = prompt.shape
    canvas = F.pad(prompt, (0, new), value=denoiser.V)
    plan = after_prompt(P, blocks(block, remasking(steps * block // new)))
    if not w:
        return sample_masked(denoiser, plan, (B, P + new), canvas, generator, temperature, 1.0, record, prompt.device)
    guided = PromptGuidance(denoiser, torch.arange(P + new) < P, w)
    sample = sample_masked(guided, plan, (B, P + new), canvas, generator, temperature, 1.0, record, prompt.device)
    return Sample(sample.tokens, 2 * sample.network_calls, sample.trajectory)


def check_answer_canvas(denoiser: Denoiser, prompt: Int[Tensor, "B P"], new: int, steps: int, block: int) -> None:
    if prompt.ndim != 2:
        raise ValueError(f"The prompt is (batch, tokens), with 0 tokens for none; got {tuple(prompt.shape)}.")
    if prompt.numel() and not 0 <= int(prompt.min()) <= int(prompt.max()) < denoiser.V:
        raise ValueError(
            f"A prompt is clean tokens, ids in 0..{denoiser.V - 1} and no mask ({denoiser.V}), got "
            f"{int(prompt.min())}..{int(prompt.max())}: to fill holes in a text, give `sample_masked` the whole canvas."
        )
    if new < 1 or block < 1 or new % block:
        raise ValueError(f"Blocks of {block} do not divide an answer of {new} tokens: choose a divisor.")
    if steps < 1 or steps % (new // block):
        raise ValueError(f"{steps} steps do not divide into {new // block} blocks: choose a multiple of their number.")


def until(tokens: Int[Tensor, "L"], end: int, known: int = 0) -> Int[Tensor, "N"]:
    """The answer of one row: what stands after the prompt's `known` tokens and before the first `end`."""
    answer = tokens[known:]
    ends = (answer == end).nonzero()
    return answer[: int(ends[0])] if len(ends) else answer


def ends_early(tokens: Int[Tensor, "B L"], end: int, known: int = 0) -> Float[Tensor, "B"]:
    """The share of each answer that is `end` or stands behind it: near 1 is the flood of end tokens that makes LLaDA
    sample long answers in blocks.
    """
    return ((tokens[:, known:] == end).cumsum(1) > 0).double().mean(1)
