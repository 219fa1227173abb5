"""Exercise 12.2: as many steps as a budget allows, for a sampler that asks two networks."""

from difflm_core.classroom.checks import Check

# (budget, a call of the denoiser, a call of the predictor, t_on)
CASES = [
    (8, 1.0, 1.0, 0.6),
    (12, 1.0, 1.0, 0.6),
    (12, 1.0, 1.0, 0.3),
    (32, 1.0, 1.0, 1.0),
    (16, 1.0, 0.0, 0.6),
    (100, 2.0, 0.5, 0.5),
    (10, 3.0, 1.0, 0.7),
    (7, 1.0, 4.0, 0.4),
    (1, 1.0, 1.0, 1.0),
    (21, 1.0, 1.0, 0.55),
    (64, 1.0, 1.0, 0.0),
]


def cost_of(T: int, denoiser: float, predictor: float, t_on: float) -> float:
    """Steps k = T, ..., 1 begin at k / T; guided are those with k / T <= t_on, but not the last, k = 1."""
    guided = sum(k / T <= t_on + 1e-9 for k in range(2, T + 1))
    return T * denoiser + guided * predictor


def largest(cost, budget: float, denoiser: float) -> int:
    """The largest T with cost(T) <= budget."""
    most = int(budget / denoiser + 1e-9) + 1
    return max((T for T in range(1, most + 1) if cost(T) <= budget + 1e-9), default=0)


def right(budget, denoiser, predictor, t_on):
    return largest(lambda T: cost_of(T, denoiser, predictor, t_on), budget, denoiser)


def test(steps_for):
    assert all(float(found) == int(found) for found in (steps_for(*case) for case in CASES)), (
        "Steps come whole: return a whole number of steps."
    )
    for budget, denoiser, predictor, t_on in CASES:
        found, T = steps_for(budget, denoiser, predictor, t_on), right(budget, denoiser, predictor, t_on)
        said = f"Budget {budget}, {denoiser:g} for a call of the denoiser, {predictor:g} of the predictor, t_on {t_on}"
        found = int(found)
        assert found >= 1, f"{said}: at least one step, got {found}."
        cost = cost_of(found, denoiser, predictor, t_on)
        assert cost <= budget + 1e-9, f"{said}: {found} steps cost {cost:g}, more than there is. {T} fit."
        assert found == T, f"{said}: {T} steps fit (they cost {cost_of(T, denoiser, predictor, t_on):g}), got {found}."


def like(wrong):
    return lambda steps_for: all(int(steps_for(*case)) == wrong(*case) for case in CASES)


def with_cost(cost):
    def wrong(budget, denoiser, predictor, t_on):
        return largest(lambda T: cost(T, denoiser, predictor, t_on), budget, denoiser)

    return wrong


def last_too(T, denoiser, predictor, t_on):
    return T * denoiser + sum(k / T <= t_on + 1e-9 for k in range(1, T + 1)) * predictor


def one_more(budget, denoiser, predictor, t_on):
    return right(budget, denoiser, predictor, t_on) + 1


MISTAKES = [
    (
        like(with_cost(lambda T, d, p, t_on: T * d)),
        "Only the denoiser's calls are counted. The predictor is a network too, and its calls are paid for.",
    ),
    (
        like(with_cost(lambda T, d, p, t_on: T * (d + p))),
        "The predictor is asked in guided steps only, those that begin at t_on or below. Before, a step is one call.",
    ),
    (
        like(with_cost(last_too)),
        "In the last step nothing is taken back, so that nobody asks the predictor: it costs one call of the denoiser.",
    ),
    (
        like(with_cost(lambda T, d, p, t_on: T * d + (T - sum(k / T <= t_on + 1e-9 for k in range(1, T + 1))) * p)),
        "Guided are the steps *below* t_on, near the end of sampling, and not those above it.",
    ),
    (
        like(with_cost(lambda T, d, p, t_on: T * d + sum(k / T < t_on - 1e-9 for k in range(2, T + 1)) * p)),
        "A step that begins exactly at t_on is guided as well: k / T <= t_on.",
    ),
    (like(one_more), "One step too many: you return the first number of steps that does not fit."),
    (
        like(lambda budget, d, p, t_on: max(1, int(budget / (d + t_on * p) + 1e-9))),
        "budget / (denoiser + t_on * predictor) forgets that the last step is not guided, and that steps come whole."
        " Count the steps with k / T <= t_on.",
    ),
    (
        like(lambda budget, d, p, t_on: max(1, round(budget / (d + t_on * p)))),
        "Rounded: that may cost more than the budget. Count the guided steps of each T and take the largest that fits.",
    ),
]

ex12_2 = Check(
    "12.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Write the cost of T steps first. Step k = T, ..., 1 begins at time k / T. Which k ask the predictor?",
        "Those with 2 <= k and k / T <= t_on. The cost is T * denoiser + (their number) * predictor.",
        "Try T = 1, 2, 3, ... and keep the largest whose cost is at most the budget. It can never be above"
        " budget / denoiser.",
    ],
    reference=right,
    praise="Now two samplers can be compared at equal cost.",
)
