"""The exercises of lesson 12: right answers pass however they are written, and each usual mistake is named."""

from dataclasses import replace

import pytest
import torch
from judging import is_told, passes

from difflm_core.classroom.exercises.lesson_12 import budget, claims, equal_cost, ex12_1, ex12_2, ex12_3, ex12_4, ex12_5
from difflm_core.classroom.exercises.lesson_12.budget import Plan
from difflm_core.classroom.exercises.lesson_12.training_flops import parts, right
from difflm_core.models import ErrorPredictor, Transformer, TransformerConfig
from difflm_core.samplers import calls_needed, gstar, steps_for_calls
from difflm_core.studies.scoreboard_methods import step_flops
from difflm_core.training.plan import needs
from difflm_core.training.recipes import RECIPES

# 12.1 training_flops(steps, rows, L, V, width, layers, share)


def layer_by_layer(steps, rows, L, V, width, layers, share):
    a_layer = 2 * (4 * width * width + 8 * width * width) + 2 * 2 * width * L
    return 3 * (layers * a_layer + 2 * share * width * V) * steps * rows * L


@pytest.mark.parametrize("formula", [right, layer_by_layer])
def test_right_flops(formula):
    passes(ex12_1, formula)


@pytest.mark.parametrize("name, share", [("mdlm-tiny", 0.5), ("ar-tiny", 1.0), ("mdlm-owt", 0.5)])
def test_the_formula_is_that_of_the_plan(name, share):
    recipe = RECIPES[name][1]
    run = needs(recipe)
    found = right(
        recipe.steps, recipe.batch_size, recipe.data.length, run.V, recipe.size.width, recipe.size.layers, share
    )
    assert found == pytest.approx(run.flops, rel=1e-9)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (parts(trunk=2, attention=4, head=2), "That is the forward pass"),
        (parts(trunk=4, attention=8, head=4), "You count the backward pass once"),
        (parts(trunk=3, attention=6, head=3), "comes with an addition"),
        (parts(attention=0), "Attention is missing"),
        (parts(attention=6), "Half of the attention"),
        (parts(attention=14), "what fused attention computes"),
        (lambda steps, rows, L, *rest: right(steps, rows, L, *rest) / L, "has L positions"),
        (parts(square=True), "once too often"),
        (parts(asked=1.0), "at a share of the positions only"),
        (parts(head=0), "The head is missing"),
        (parts(weights=4), "The MLP has"),
        (parts(weights=8), "Attention has"),
        (parts(of_rows=False), "one row a step"),
        (parts(embedding=True), "The embedding is a look-up"),
        (lambda steps, *rest: right(1, *rest), "This is one step"),
        (lambda *case: 10 * right(*case), "10 times as many"),
    ],
)
def test_wrong_flops(wrong, message):
    is_told(ex12_1, wrong, message)


# 12.2 steps_for(budget, denoiser, predictor, t_on)


def by_counting_down(budget, denoiser, predictor, t_on):
    T = int(budget // denoiser)
    while T > 1 and equal_cost.cost_of(T, denoiser, predictor, t_on) > budget:
        T -= 1
    return T


@pytest.mark.parametrize("steps_for", [equal_cost.right, by_counting_down])
def test_right_steps(steps_for):
    passes(ex12_2, steps_for)


@pytest.mark.parametrize("calls", [1, 4, 8, 12, 32, 128])
@pytest.mark.parametrize("t_on", [0.3, 0.6, 1.0])
def test_equal_calls_are_those_of_the_samplers(calls, t_on):
    rule = gstar(ErrorPredictor.head_only(Transformer(TransformerConfig(5, 4, 16, 1, 2))), t_on)
    T = equal_cost.right(calls, 1.0, 1.0, t_on)
    assert T == steps_for_calls(rule, calls) and equal_cost.cost_of(T, 1.0, 1.0, t_on) == calls_needed(rule, T)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda budget, d, p, t_on: int(budget / d), "Only the denoiser's calls are counted"),
        (lambda budget, d, p, t_on: int(budget / (d + p)), "Before, a step is one call"),
        (equal_cost.with_cost(equal_cost.last_too), "In the last step nothing is taken back"),
        (
            equal_cost.with_cost(
                lambda T, d, p, t_on: T * d + (T - sum(k / T <= t_on + 1e-9 for k in range(1, T + 1))) * p
            ),
            "near the end of sampling",
        ),
        (
            equal_cost.with_cost(lambda T, d, p, t_on: T * d + sum(k / T < t_on for k in range(2, T + 1)) * p),
            "exactly at t_on",
        ),
        (equal_cost.one_more, "One step too many"),
        (lambda budget, d, p, t_on: max(1, int(budget / (d + t_on * p) + 1e-9)), "steps come whole"),
        (lambda budget, d, p, t_on: max(1, round(budget / (d + t_on * p))), "Rounded"),
        (lambda budget, d, p, t_on: budget / (d + t_on * p), "a whole number of steps"),
        (lambda *case: 1, "steps fit"),
        (lambda *case: 0, "at least one step"),
    ],
)
def test_wrong_steps(wrong, message):
    is_told(ex12_2, wrong, message)


# 12.3 on_frontier(cost, quality)


def by_two_loops(cost, quality):
    keep = torch.ones(len(cost), dtype=torch.bool)
    for i in range(len(cost)):
        for j in range(len(cost)):
            if cost[j] <= cost[i] and quality[j] >= quality[i] and (cost[j] < cost[i] or quality[j] > quality[i]):
                keep[i] = False
    return keep


def by_costs(cost, quality):
    return torch.stack(
        [
            (quality[i] == quality[cost <= c].max()) & ~(quality[cost < c] >= quality[i]).any()
            for i, c in enumerate(cost)
        ]
    )


@pytest.mark.parametrize("frontier", [by_two_loops, by_costs])
def test_right_frontiers(frontier):
    passes(ex12_3, frontier)


def running(cost, quality):
    keep, best = torch.zeros(len(cost), dtype=torch.bool), -1.0
    for i in cost.argsort(stable=True).tolist():
        if quality[i] > best:
            keep[i], best = True, float(quality[i])
    return keep


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda c, q: ~((c[:, None] <= c) & (q[:, None] >= q)).any(0), "'no worse' than itself"),
        (lambda c, q: ~((c[:, None] < c) & (q[:, None] > q)).any(0), "Strictly better in both"),
        (lambda c, q: by_two_loops(-c, q), "fewer calls are better"),
        (lambda c, q: by_two_loops(c, -q), "more is better"),
        (lambda c, q: q == q.max(), "Only the best quality"),
        (running, "running best"),
        (lambda c, q: by_two_loops(c, q).nonzero()[:, 0], "not their numbers"),
        (lambda c, q: by_two_loops(c, q).double(), "not their numbers"),
        (lambda c, q: torch.ones_like(c, dtype=torch.bool), "is beaten by"),
        (lambda c, q: by_two_loops(c, q) & (c > c.min()), "Nothing beats"),
    ],
)
def test_wrong_frontiers(wrong, message):
    is_told(ex12_3, wrong, message)


# 12.4 my_verdicts()


def test_right_verdicts():
    passes(ex12_4, lambda: dict(claims.TRUTH))


@pytest.mark.parametrize("letter", claims.TRUTH)
@pytest.mark.parametrize("verdict", claims.ANSWERS)
def test_every_wrong_verdict_is_explained(letter, verdict):
    if verdict != claims.TRUTH[letter]:
        is_told(ex12_4, lambda: claims.TRUTH | {letter: verdict}, f" {letter}: ")


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: {"A": "supported"}, "a verdict for each"),
        (lambda: ["supported"] * 6, "a verdict for each"),
        (lambda: claims.TRUTH | {"A": "yes"}, "A: one of"),
    ],
)
def test_answers_that_are_no_verdicts(wrong, message):
    is_told(ex12_4, wrong, message)


def test_the_claims_follow_from_the_table():
    """Each verdict from the numbers; the two open ones ask for seconds and for a bound, which are not there."""
    mauve = {name: [figures[0] for figures in row.values()] for name, row in claims.TABLE.items()}
    assert all(a > b for a, b in zip(mauve["ReMDM"], mauve["MDLM"])) and claims.TRUTH["A"] == claims.SUPPORTED
    dfm, remdm = (claims.TABLE[name][1024] for name in ("DFM corrector", "ReMDM"))
    assert (dfm[1], remdm[1]) == (21.7, 28.6) and dfm[0] < remdm[0]
    assert abs(dfm[2] - claims.DATA[2]) > abs(remdm[2] - claims.DATA[2])
    assert mauve["MDLM"] != sorted(mauve["MDLM"])
    assert claims.AR[1] < claims.DATA[1] and claims.AR[0] < claims.DATA[0] == 1
    assert {letter for letter, verdict in claims.TRUTH.items() if verdict == claims.OPEN} == {"D", "F"}
    assert all(claim in claims.shown() for claim in claims.CLAIMS.values()) and "0.403 / 28.6 / 5.38" in claims.shown()


# 12.5 my_plan()


def test_the_reference_beats_the_recipe():
    passes(ex12_5, ex12_5.reference)
    assert "for the same FLOPs" in ex12_5.praise


def test_a_budget_is_never_passed():
    for plan in (Plan(), Plan(batch_size=16), Plan(width=64, layers=1, batch_size=32)):
        recipe = budget.recipe_of(plan)
        spent = recipe.steps * step_flops(replace(recipe, steps=1500, evaluate_every=300, warmup=100, ema=0.99))
        assert spent <= budget.BUDGET < spent * (1 + 1 / recipe.steps) + 1


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: Plan(), "wastes most"),
        (lambda: {"width": 96}, "Return a Plan"),
        (lambda: Plan(width=90), "even whole number"),
        (lambda: Plan(batch_size=64.0), "whole numbers"),
        (lambda: Plan(learning_rate=0.0), "above 0"),
        (lambda: Plan(width=8, heads=1, layers=1, batch_size=8), "between the products"),
        (lambda: Plan(batch_size=100_000), "raise the budget"),
        (lambda: Plan(width=4096, layers=24, heads=16), "a million weights"),
    ],
)
def test_wrong_plans(wrong, message):
    is_told(ex12_5, wrong, message)
