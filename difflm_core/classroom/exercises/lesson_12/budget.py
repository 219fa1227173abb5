"""Exercise 12.5, open: the best masked model that a small budget of FLOPs buys.

The check counts what a step of the proposed run costs, trains it for as many steps as the budget allows, and compares
the bound on fresh sentences with that of the course's recipe under the same budget.
"""

from dataclasses import dataclass, replace
from functools import cache

from difflm_core.classroom.checks import Check
from difflm_core.studies.flops import steps_within
from difflm_core.studies.scoreboard_methods import DATA, MDLM, step_flops
from difflm_core.training import Recipe, Size, train
from difflm_core.training.tasks import Masked

BUDGET = 1.5e11  # FLOPs: a twelfth of the scoreboard's
BETTER = 0.5  # nats per word below the course's recipe
SLOWEST = 4000  # steps: what thousands of tiny steps cost is not FLOPs but overhead


@dataclass(frozen=True)
class Plan:
    """What may be chosen: the network (width a multiple of 2 heads) and how it is trained."""

    width: int = 96
    layers: int = 2
    heads: int = 4
    batch_size: int = 256
    learning_rate: float = 3e-3


def recipe_of(plan: Plan, budget: float = BUDGET) -> Recipe:
    """The whole budget as a recipe: warm-up a fifth of the steps, averaged weights over about a tenth of them."""
    recipe = replace(
        MDLM,
        data=DATA,
        task=Masked(),
        size=Size(plan.width, plan.layers, plan.heads),
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate,
    )
    steps = steps_within(budget, step_flops(recipe))
    return replace(
        recipe, steps=steps, evaluate_every=steps, warmup=min(100, steps // 5), ema=max(0.5, 1 - 10 / max(steps, 20))
    )


@cache
def bound_after(plan: Plan) -> tuple[float, int]:
    """(nats per word, steps) of the plan under the budget; remembered, so that a second check of it is at once."""
    recipe = recipe_of(plan)
    run = train(recipe)
    return run.history[-1]["bound"], recipe.steps


def test(my_plan):
    plan = my_plan()
    assert isinstance(plan, Plan), "Return a Plan(width=..., layers=..., heads=..., batch_size=..., learning_rate=...)."
    numbers = (plan.width, plan.layers, plan.heads, plan.batch_size)
    assert all(type(n) is int and n >= 1 for n in numbers), "Width, layers, heads and batch_size are whole numbers."
    assert plan.width % (2 * plan.heads) == 0, (
        f"width / heads must be an even whole number, got {plan.width} / {plan.heads}."
    )
    assert plan.learning_rate > 0, "The learning rate must be above 0."
    assert 12 * plan.layers * plan.width**2 <= 1e6, (
        "A network of more than a million weights gets hardly a step out of this budget: take a smaller one."
    )
    steps = recipe_of(plan).steps  # raises ValueError where not one step fits
    assert steps <= SLOWEST, (
        f"{steps:,} steps fit into the budget, and a run of more than {SLOWEST:,} would spend its time between the"
        " products. Take larger batches or a larger network."
    )
    (found, steps), (course, before) = bound_after(plan), bound_after(Plan())
    said = f"{found:.3f} nats per word after {steps} steps of {plan.batch_size}; the course's recipe {course:.3f} after"
    said += f" {before} steps of 256, for the same FLOPs"
    assert found <= course - BETTER, (
        f"{said}. Ask for {BETTER} less. Which of the five numbers wastes most of such a small budget?"
    )
    check.praise = f"{said}."


check = ex12_5 = Check(
    "12.5",
    test=test,
    hints=[
        "The course's recipe takes 35 steps. What does a network learn in 35 steps, however good each of them is?",
        "A batch of 256 tells hardly more about the direction of a first step than one of 32, and costs eight times as"
        " much.",
        "Many small steps: batches of 16 or 32. Then the width: a smaller network takes more steps for the same FLOPs."
        " Somewhere it becomes too small.",
    ],
    reference=lambda: Plan(batch_size=32),
)
