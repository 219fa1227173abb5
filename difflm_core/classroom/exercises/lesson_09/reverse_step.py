"""Exercise 9.3: the plug-in posterior of hybrid noise, judged against Bayes' rule as the package computes it."""

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded
from difflm_core.processes import hybrid, masked, uniform

V, L = 5, 6
MASK = V
Z = torch.tensor([[0, 1, MASK, 3, MASK, 4], [MASK, 2, 2, MASK, 0, 1]])
NO_MASKS = Z % V  # what uniform noise can have written
P = (2 * torch.randn(2, L, V, generator=seeded(1), dtype=torch.float64)).softmax(-1)
HYBRID = [(hybrid(V, 0.3), Z, 0.4, 0.6), (hybrid(V, 0.1), Z, 0.1, 0.8)]
CASES = HYBRID + [(uniform(V), NO_MASKS, 0.3, 0.5), (masked(V), Z, 0.2, 0.5)]
Masses = tuple[float, float, float]


def masses(process, t: float) -> Masses:
    return tuple(float(mass) for mass in process.masses(torch.tensor([t], dtype=torch.float64)))


def answers(step, cases=CASES) -> list[Tensor]:
    """What `step` says in every case, in float64."""
    return [
        torch.as_tensor(step(z.clone(), P.clone(), masses(process, s), masses(process, t))).double()
        for process, z, s, t in cases
    ]


def truth(process, z, s: float, t: float) -> Float[Tensor, "2 L K"]:
    times = (torch.full((2,), time, dtype=torch.float64) for time in (s, t))
    return process.posterior(z, P, *times)


def test(step):
    names = ("hybrid noise", "hybrid noise", "uniform noise", "masks alone")
    for (process, z, s, t), given, name in zip(CASES, answers(step), names):
        assert given.shape == (2, L, V + 1), f"Return probabilities over {V + 1} symbols, shaped (2, {L}, {V + 1})."
        assert torch.allclose(given.sum(-1), torch.ones(2, L).double(), atol=1e-5), "Probabilities must sum to 1."
        exact = truth(process, z, s, t)
        row, place, symbol = [int(i) for i in torch.unravel_index((given - exact).abs().argmax(), exact.shape)]
        assert torch.allclose(given, exact, atol=1e-5), (
            f"With {name}, from t = {t} to s = {s}, where z_t is {described(z[row, place])}, the chance of"
            f" {described(symbol)} at s is {exact[row, place, symbol]:.4f}; yours is {given[row, place, symbol]:.4f}."
        )


def described(symbol) -> str:
    return "the mask" if int(symbol) == MASK else f"word {int(symbol)}"


def step_with(
    stay=lambda then, now: now[0] / then[0],
    jump=lambda then, now, stay: (now[1] - stay * then[1], now[2] - stay * then[2]),
    before=lambda then, now: then,
    each=lambda V: 1 / V,
    normalise=True,
):
    """The posterior, with parts that can be got wrong: staying, jumping, q(z_s | x), the share of one word."""

    def step(z, p, at_s, at_t):
        V = p.shape[-1]
        a = stay(at_s, at_t)
        to_mask, to_random = jump(at_s, at_t, a)
        alpha, mask, uniform_mass = before(at_s, at_t)
        q_s = torch.cat([alpha * p + uniform_mass / V, torch.full_like(p[..., :1], mask)], dim=-1)
        landing = torch.where(z == V, torch.tensor(to_mask).to(p), torch.tensor(to_random * each(V)).to(p))[..., None]
        joint = (a * torch.nn.functional.one_hot(z, V + 1) + landing) * q_s
        return joint / joint.sum(-1, keepdim=True) if normalise else joint

    return step


right = step_with()


def over_all_symbols(z, p, at_s, at_t):
    """Random words spread over V + 1."""
    V, a = p.shape[-1], at_t[0] / at_s[0]
    q_s = torch.cat([at_s[0] * p + at_s[2] / (V + 1), torch.full_like(p[..., :1], at_s[1])], dim=-1)
    onto = (at_t[1] - a * at_s[1], (at_t[2] - a * at_s[2]) / (V + 1))
    joint = (a * torch.nn.functional.one_hot(z, V + 1) + torch.where((z == V)[..., None], *onto)) * q_s
    return joint / joint.sum(-1, keepdim=True)


def jumps_onto_the_past(z, p, at_s, at_t):
    """The mass of a jump taken at z_s, where it must be taken at z_t."""
    V, a = p.shape[-1], at_t[0] / at_s[0]
    q_s = ignores_z(z, p, at_s, at_t)
    onto = torch.tensor([(at_t[2] - a * at_s[2]) / V] * V + [at_t[1] - a * at_s[1]]).to(p)
    joint = (a * torch.nn.functional.one_hot(z, V + 1) + onto) * q_s
    return joint / joint.sum(-1, keepdim=True)


def carries_over(z, p, at_s, at_t):
    stays = torch.nn.functional.one_hot(z, p.shape[-1] + 1).to(p)
    return torch.where((z == p.shape[-1])[..., None], right(z, p, at_s, at_t), stays)


def ignores_z(z, p, at_s, at_t):
    V = p.shape[-1]
    return torch.cat([at_s[0] * p + at_s[2] / V, torch.full_like(p[..., :1], at_s[1])], dim=-1)


def mixture(z, p, at_s, at_t):
    """The mean over x ~ p of the posteriors given x."""
    V = p.shape[-1]
    given_x = [right(z, torch.nn.functional.one_hot(torch.full_like(z, v), V).to(p), at_s, at_t) for v in range(V)]
    return (torch.stack(given_x, -2) * p[..., None]).sum(-2)


def is_like(wrong):
    """A probe: under hybrid noise the attempt gives what `wrong` gives."""
    return lambda step: all(
        torch.allclose(given, expected, atol=1e-6)
        for given, expected in zip(answers(step, HYBRID), answers(wrong, HYBRID), strict=True)
    )


MISTAKES = [
    (
        lambda step: answers(step, HYBRID)[0].shape[-1] == V,
        "The mask has no column. z_s may still be masked: return V + 1 probabilities, the mask's last.",
    ),
    (
        is_like(carries_over),
        "Visible words stay for certain in your step. That is masked diffusion's carry-over; here a visible word may be"
        " wrong, and Bayes' rule must be applied to it as well.",
    ),
    (
        is_like(ignores_z),
        "z_t changes nothing: that is q(z_s | x) alone. Multiply by the chance q(z_t | z_s) of going on to what is"
        " seen: a jump, which comes from everywhere alike, and where z_s = z_t the chance to have stayed.",
    ),
    (
        is_like(mixture),
        "That is the mean of the posteriors q(z_s | z_t, x) over x ~ p. Each of them brings z_t's evidence about x in,"
        " but p is not changed by it. GIDD plugs p into q(z_s | x) and then applies Bayes' rule once.",
    ),
    (
        is_like(step_with(normalise=False)),
        "Not normalised: divide by the sum over all V + 1 symbols of z_s.",
    ),
    (
        is_like(step_with(jump=lambda then, now, stay: (now[1], now[2]))),
        "For a token that jumps between s and t you used the masses at t, which count all jumps since 0. Take away what"
        " had jumped by s: mass_t - alpha_{t|s} mass_s.",
    ),
    (
        is_like(step_with(jump=lambda then, now, stay: (now[1] - then[1], now[2] - then[2]))),
        "Of the masses at s only the part alpha_{t|s} is still unmoved at t: mass_t - alpha_{t|s} mass_s, not mass_t -"
        " mass_s.",
    ),
    (
        is_like(step_with(stay=lambda then, now: now[0])),
        "alpha_t is the chance to survive from 0 to t. From s to t it is alpha_t / alpha_s.",
    ),
    (
        is_like(step_with(before=lambda then, now: now)),
        "The second factor must be q(z_s | x_theta), with the masses at s; yours has those at t.",
    ),
    (
        is_like(jumps_onto_the_past),
        "The jump lands on z_t, so its mass depends on what z_t is (mask or word) and is the same for every z_s. Yours"
        " depends on z_s.",
    ),
    (
        is_like(step_with(before=lambda then, now: (then[0], then[1], 0.0))),
        "q(z_s | x_theta) lacks its random words: alpha_s p + uniform_s / V on words.",
    ),
    (
        is_like(over_all_symbols),
        "You spread the random words over V + 1 symbols. In this course they are the V words, and never the mask.",
    ),
    (
        is_like(lambda *inputs: right(*inputs).roll(1, -1)),
        "The mask's column is the last, because its id is V; yours is the first.",
    ),
    (
        is_like(step_with(each=lambda V: 1)),
        "A jump onto *this* word has one V-th of the mass that jumps onto random words.",
    ),
]

ex9_3 = Check(
    "9.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Bayes: q(z_s | z_t) is proportional to q(z_t | z_s) q(z_s | x_theta). Write both factors as (B, L, V + 1).",
        "q(z_s | x_theta) is alpha_s p + uniform_s / V on words and mask_s on the mask. q(z_t | z_s): stayed with"
        " alpha_t / alpha_s if z_s = z_t, or jumped onto z_t from anywhere.",
        "The masses of the jump are mask_t - a mask_s and uniform_t - a uniform_s with a = alpha_t / alpha_s; onto one"
        " word goes one V-th of the second.",
    ],
    reference=right,
    praise="Masked and uniform noise come out of the same line: only the three masses differ.",
)
