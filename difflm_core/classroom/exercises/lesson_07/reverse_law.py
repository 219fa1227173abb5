"""Exercise 7.2: the posterior q(z_s | z_t, x) from one matrix and a cumulative one, judged by Bayes' rule."""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.lesson_07.chains import X, Z, cases, check_law, is_like
from difflm_core.processes import matrices


def answers(reverse_law) -> list[Tensor]:
    return [torch.as_tensor(reverse_law(Q.clone(), Qbar.clone(), Z.clone(), X.clone())) for _, Q, Qbar in cases()]


def test(reverse_law):
    for (name, Q, Qbar), given in zip(cases(), answers(reverse_law), strict=True):
        exact = matrices.posterior(Q, Qbar, Z, X)
        check_law(name, given, exact, known)


def known(row: int, place: int) -> str:
    return f"clean symbol {int(X[row, place])} and {int(Z[row, place])} seen at t"


def law_with(landing=lambda Q, z: Q.T[z], before=lambda Q, Qbar, x: Qbar[x], normalise=True):
    """The posterior, with parts that can be got wrong: q(z_t | z_s) over z_s, and q(z_s | x)."""

    def reverse_law(Q_t, Qbar_s, z, x):
        joint = landing(Q_t, z) * before(Q_t, Qbar_s, x)
        return joint / joint.sum(-1, keepdim=True) if normalise else joint

    return reverse_law


right = law_with()


MISTAKES = [
    (is_like(answers, law_with(normalise=False)), "Not normalised: divide by the sum over z_s, which is q(z_t | x)."),
    (
        is_like(answers, law_with(landing=lambda Q, z: Q[z])),
        "You took the row of Q_t that z_t names: where z_t goes next. Wanted is its column: from where z_t can have"
        " come, Q_t[:, z_t], or a row of Q_t.T.",
    ),
    (
        is_like(answers, law_with(before=lambda Q, Qbar, x: (Qbar @ Q)[x])),
        "The second factor is q(z_s | x), before the step: Qbar_s. Yours has the step in it already (Qbar_t).",
    ),
    (
        is_like(answers, law_with(before=lambda Q, Qbar, x: Qbar.T[x])),
        "Row x of Qbar_s says where x went. You took the column.",
    ),
    (
        is_like(answers, law_with(landing=lambda Q, z: torch.ones_like(Q)[z])),
        "z_t is not used: that is q(z_s | x) alone. Multiply by q(z_t | z_s).",
    ),
    (
        is_like(answers, law_with(before=lambda Q, Qbar, x: torch.ones_like(Qbar)[x])),
        "x is not used: q(z_t | z_s) alone, normalised. Multiply by q(z_s | x).",
    ),
    (
        is_like(answers, lambda Q, Qbar, z, x: right(Q, Qbar, x, z)),
        "x and z_t are exchanged. z_t picks the column of Q_t, the clean x the row of Qbar_s.",
    ),
    (
        is_like(answers, lambda Q, Qbar, z, x: Q.T[z] * Qbar[x] / Qbar[x].gather(-1, z[..., None])),
        "You divided by q(z_s = z_t | x), before the step. The divisor is q(z_t | x), from Qbar_s @ Q_t: the sum of"
        " your own numerator over z_s.",
    ),
    (
        is_like(answers, lambda Q, Qbar, z, x: (Q.T[z] * Qbar[x]).softmax(-1)),
        "These are probabilities already, not logits: divide by their sum, without softmax.",
    ),
    (
        is_like(answers, lambda Q, Qbar, z, x: (Q.T[z] + Qbar[x]) / 2 / ((Q.T[z] + Qbar[x]) / 2).sum(-1, keepdim=True)),
        "Two pieces of evidence are multiplied, not added.",
    ),
]

ex7_2 = Check(
    "7.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Bayes: q(z_s | z_t, x) is proportional to q(z_t | z_s) q(z_s | x), as functions of z_s. Both are (B, L, K).",
        "q(z_s | x) is row x of Qbar_s. q(z_t | z_s) for every z_s is *column* z_t of Q_t.",
        "joint = Q_t.T[z] * Qbar_s[x]; then divide by its sum over the last axis.",
    ],
    reference=right,
    praise="The same line serves for any matrix; only for masks and uniform noise is there a shorter way.",
)
