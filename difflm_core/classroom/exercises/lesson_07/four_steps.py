"""Exercise 7.4, open: four steps of uniform noise for the smallest bound of a perfect network. All exact, no chance.

The language is the lesson's two-word one: small enough to sum over every text and every noisy text.
"""

import itertools
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.objectives.d3pm_terms import kl, prior_kl
from difflm_core.oracle import HiddenMarkovLanguage
from difflm_core.processes import matrices

T, LIMIT = 4, 0.083


@cache
def mini_language() -> HiddenMarkovLanguage:
    """Three places, two words that like to agree."""
    return HiddenMarkovLanguage(
        torch.tensor([0.7, 0.3]), torch.tensor([[0.95, 0.05], [0.1, 0.9]]), torch.tensor([[0.9, 0.1], [0.05, 0.95]]),
        ["a", "b"], 3,
    )  # fmt: skip


def gap(betas: Float[Tensor, "T"]) -> float:
    """Nats per text by which the bound passes the entropy, when what the *others* say is plugged in."""
    language = mini_language()
    process = matrices.MatrixProcess(matrices.uniform(language.V, betas), language.V)
    texts = torch.tensor(list(itertools.product(range(2), repeat=3)))  # (8, 3): the clean texts, and the noisy ones
    p_text = language.log_prob(texts).exp()
    x, z = texts.repeat_interleave(8, 0), texts.repeat(8, 1)  # every pair
    bound = (p_text[:, None] * prior_kl(process, texts)).sum()
    for step in range(1, process.T + 1):
        s, t = (torch.full((64,), i / process.T, dtype=torch.float64) for i in (step - 1, step))
        seen = process.marginal(x, t).gather(-1, z[..., None])[..., 0]  # (64, 3): q(z_i | x_i)
        weight = p_text.repeat_interleave(8) * seen.prod(-1)
        q, p = process.posterior(z, x, s, t), process.posterior(z, others(p_text, texts, seen), s, t)
        bound = bound + (weight * kl(q, p).sum(-1)).sum()
    return float(bound) - language.entropy()


def others(p_text, texts, seen) -> Float[Tensor, "64 3 2"]:
    """p(x_i | z without z_i) for all eight z, once for every pair (x, z)."""
    seen = seen.view(8, 8, 3)  # text, noisy text, place
    answer = torch.zeros(8, 3, 2, dtype=torch.float64)
    for i in range(3):
        rest = p_text[:, None] * seen[..., [j for j in range(3) if j != i]].prod(-1)  # (text, noisy text)
        for word in (0, 1):
            answer[:, i, word] = rest[texts[:, i] == word].sum(0)
    return (answer / answer.sum(-1, keepdim=True)).repeat(8, 1, 1)


def betas_of(answer) -> Float[Tensor, "T"]:
    betas = torch.as_tensor(answer).detach().double()
    assert betas.shape == (T,), f"Return {T} betas, one for each step, shaped ({T},), not {tuple(betas.shape)}."
    assert bool(((betas > 0) & (betas <= 1)).all()), (
        f"A beta is the chance of a jump and lies in (0, 1]; yours are {', '.join(f'{b:.3f}' for b in betas)}. (From"
        " total noises to betas: matrices.step_noise.)"
    )
    return betas


def test(my_betas):
    betas = betas_of(my_betas(gap))
    found, cosine = gap(betas), gap(matrices.cosine_betas(T))
    assert found <= LIMIT, (
        f"Your bound lies {found:.4f} nats above the entropy, cosine_betas({T}) {cosine:.4f}; at most {LIMIT} is"
        f" asked. Your total noise is {', '.join(f'{b:.2f}' for b in matrices.total_noise(betas))}."
    )
    ex7_4.praise = (
        f"{found:.4f} nats above the entropy; cosine_betas({T}) {cosine:.4f}, 1/(T-t+1)"
        f" {gap(matrices.reciprocal_betas(T)):.4f}."
    )


def reference(gap):
    return matrices.step_noise(torch.tensor([0.14, 0.30, 0.51, 1.0], dtype=torch.float64))


def gives_totals(my_betas) -> bool:
    """The answer would do if it were read as total noises."""
    total = torch.as_tensor(my_betas(gap)).double()
    return (
        bool((total.diff() > 0).all()) and abs(float(total[-1]) - 1) < 1e-9 and gap(matrices.step_noise(total)) <= LIMIT
    )


def is_near(wrong):
    """A probe: the attempt returns about these betas."""
    return lambda my_betas: torch.allclose(betas_of(my_betas(gap)), wrong.double(), atol=1e-3)


MISTAKES = [
    (
        gives_totals,
        "These look like total noises, and as such they are good. Return the betas of the single steps:"
        " matrices.step_noise(total).",
    ),
    (
        lambda my_betas: float(betas_of(my_betas(gap))[-1]) < 0.9,
        "Your last beta is well below 1, so something of the text is left at the end and L_T pays for it. Let the last"
        " step forget everything.",
    ),
    (
        is_near(matrices.cosine_betas(T)),
        "That is the cosine itself. Change its total noises a little: which way helps?",
    ),
    (
        is_near(matrices.reciprocal_betas(T)),
        "That is the schedule for masks; for uniform noise it is worse than the cosine.",
    ),
]

ex7_4 = Check(
    "7.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Three numbers are free: the total noise after steps 1, 2 and 3 (the fourth is 1). Try some by hand, starting"
        " from total_noise(cosine_betas(4)).",
        "Let the machine try: change the three numbers at random, keep what is better, and make the changes smaller"
        " with time. Two hundred tries of gap(step_noise(total)) take a few seconds.",
        "The best total noises lie near 0.14, 0.30 and 0.51: half of the way is left to the last step.",
    ],
    reference=reference,
)
