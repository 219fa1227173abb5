"""Exercise 7.3: the reverse step of a network that says p(x_i | z_t): the posteriors mixed, not the prediction plugged
in.
"""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.lesson_07.chains import P, Z, cases, check_law, is_like
from difflm_core.processes import matrices


def answers(mixture) -> list[Tensor]:
    return [torch.as_tensor(mixture(Q.clone(), Qbar.clone(), Z.clone(), P.clone())) for _, Q, Qbar in cases()]


def test(mixture):
    for (name, Q, Qbar), given in zip(cases(), answers(mixture), strict=True):
        exact = matrices.posterior_mixture(Q, Qbar, Z, P)
        check_law(name, given, exact, lambda row, place: f"where {int(Z[row, place])} is seen at t")


def evidence(Q_t, Qbar_s, z):
    return (Qbar_s @ Q_t).T[z]  # q(z_t | x = v) for every v


def plug(Q_t, Qbar_s, z, p):
    joint = Q_t.T[z] * (p @ Qbar_s)
    return joint / joint.sum(-1, keepdim=True)


def right(Q_t, Qbar_s, z, p):
    others = p / evidence(Q_t, Qbar_s, z)
    return plug(Q_t, Qbar_s, z, others / others.sum(-1, keepdim=True))


def counted_again(Q_t, Qbar_s, z, p):
    return plug(Q_t, Qbar_s, z, p * evidence(Q_t, Qbar_s, z))


def of_one_step(Q_t, Qbar_s, z, p):
    return plug(Q_t, Qbar_s, z, p / Q_t.T[z])


def by_the_row(Q_t, Qbar_s, z, p):
    return Q_t.T[z] * ((p / (Qbar_s @ Q_t)[z]) @ Qbar_s)


def in_the_wrong_order(Q_t, Qbar_s, z, p):
    return Q_t.T[z] * ((p / (Q_t @ Qbar_s).T[z]) @ Qbar_s)


def going_on(Q_t, Qbar_s, z, p):
    return Q_t[z] * ((p / evidence(Q_t, Qbar_s, z)) @ Qbar_s)


def of_before(Q_t, Qbar_s, z, p):
    return plug(Q_t, Qbar_s, z, p / Qbar_s.T[z])


def is_like_up_to_the_sum(wrong):
    """A probe: the attempt gives what `wrong` gives, normalised at the end or not."""

    def normalised(Q_t, Qbar_s, z, p):
        joint = wrong(Q_t, Qbar_s, z, p)
        return joint / joint.sum(-1, keepdim=True)

    return lambda mixture: is_like(answers, wrong)(mixture) or is_like(answers, normalised)(mixture)


def by_the_best(Q_t, Qbar_s, z, p):
    return matrices.posterior(Q_t, Qbar_s, z, p.argmax(-1))


MISTAKES = [
    (
        is_like(answers, plug),
        "That is the plug-in (Eq. 4): it multiplies p by q(z_t | x) once more, but p(x | z_t) has seen z_t already."
        " Normalise the posterior of each x first, then mix.",
    ),
    (
        is_like(answers, counted_again),
        "The evidence is multiplied in, and the plug-in multiplies it in again. Divide p by q(z_t | x).",
    ),
    (
        is_like(answers, of_one_step),
        "You divided by q(z_t | z_s), the last step alone. The evidence about x goes through all steps: row x of"
        " Qbar_s @ Q_t.",
    ),
    (
        is_like_up_to_the_sum(by_the_row),
        "You divided by a row of Qbar_t, where z_t would go. The evidence q(z_t | x) for every x is its *column* z_t:"
        " (Qbar_s @ Q_t).T[z].",
    ),
    (
        is_like_up_to_the_sum(in_the_wrong_order),
        "The steps come in the order of time: first Qbar_s, then Q_t, so Qbar_t = Qbar_s @ Q_t.",
    ),
    (
        is_like_up_to_the_sum(going_on),
        "You took the row of Q_t that z_t names: where z_t goes next. Wanted is its column, Q_t.T[z], as in exercise"
        " 7.2.",
    ),
    (is_like(answers, of_before), "You divided by q(z_s = z_t | x): the last step is missing. Qbar_t = Qbar_s @ Q_t."),
    (
        is_like(answers, by_the_best),
        "You took the likeliest x and its posterior. All x count, each with its p.",
    ),
    (
        lambda mixture: (
            not torch.allclose(
                answers(mixture)[0].sum(-1), torch.ones(Z.shape, dtype=answers(mixture)[0].dtype), atol=1e-6
            )
        ),
        "The result does not sum to 1. In a loop: normalise each posterior before it is mixed. Without a loop: divide p"
        " by the evidence q(z_t | x), column z_t of Qbar_s @ Q_t.",
    ),
]

ex7_3 = Check(
    "7.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "The wanted law is the sum over x of p(x) q(z_s | z_t, x), and each q(z_s | z_t, x) is exercise 7.2's. A loop"
        " over the K values of x is allowed.",
        "Without a loop: in q(z_s | z_t, x) = q(z_t | z_s) q(z_s | x) / q(z_t | x) only the last factor and q(z_s | x)"
        " depend on x. So put p(x) / q(z_t | x) where the plug-in has p(x).",
        "evidence = (Qbar_s @ Q_t).T[z]; joint = Q_t.T[z] * ((p / evidence) @ Qbar_s). It sums to 1 by itself.",
    ],
    reference=right,
    praise="A network that knows p(x | z_t) takes the true reverse step with this line, and a wrong one with Eq. 4.",
)
