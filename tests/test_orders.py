"""Deterministic orders: the exact likelihood against enumeration, the sampler against that likelihood, and the bound
against both.
"""

import itertools

import pytest
import torch
from enumerable import (
    TinyLanguage,
    all_masks,
    all_sequences,
    chi_square_p,
    index_of,
    random_denoiser,
    texts_p,
)

from difflm_core.evaluation import order_nll
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import autoregressive_nll
from difflm_core.objectives.autoregressive import shift_right
from difflm_core.samplers import (
    fixed_order,
    left_to_right,
    lowest_entropy,
    sample_in_order,
    sample_masked,
    surest,
    widest_margin,
)

V, L = 3, 4
LANGUAGE = TinyLanguage(V, L)
TEXTS = LANGUAGE.texts
DENOISERS = {"arbitrary": random_denoiser(V, L), "with time": random_denoiser(V, L, with_time=True)}
ONE = {
    "left to right": fixed_order(torch.arange(L)),
    "a fixed order": fixed_order(torch.tensor([2, 0, 3, 1])),
    "surest": surest(),
    "widest margin": widest_margin(),
    "lowest entropy": lowest_entropy(),
}
RULES = ONE | {"surest 2": surest(2), "surest 3": surest(3), "margin 2": widest_margin(2), "all at once": surest(9)}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
every_denoiser = pytest.mark.parametrize("denoiser", DENOISERS.values(), ids=DENOISERS.keys())


def law(denoiser, rule) -> torch.Tensor:
    """Probabilities of all texts, in the order of `all_sequences`."""
    return (-order_nll(denoiser, TEXTS, rule).sum(1)).exp()


def by_hand(denoiser, x: list[int], rule: str) -> float:
    """-log p of one text, one position per call: written without the code under test."""
    z, nats = [V] * L, 0.0
    while V in z:
        t = torch.tensor([z.count(V) / L], dtype=torch.float64)
        p = denoiser.logits(denoiser.hidden(torch.tensor([z]), t))[0].softmax(-1)
        ordered = p.sort(-1).values
        scores = {
            "left to right": [0, -1, -2, -3],
            "a fixed order": [-1, -3, 0, -2],
            "surest": ordered[:, -1].tolist(),
            "widest margin": (ordered[:, -1] - ordered[:, -2]).tolist(),
            "lowest entropy": (p * p.log()).sum(-1).tolist(),
        }[rule]
        i = max((i for i in range(L) if z[i] == V), key=scores.__getitem__)
        nats -= p[i, x[i]].log().item()
        z[i] = x[i]
    return nats


@every_rule
@every_denoiser
def test_probabilities_of_all_texts_sum_to_one(denoiser, rule):
    assert law(denoiser, rule).sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("rule", ONE)
@every_denoiser
def test_it_is_the_product_along_the_one_path(denoiser, rule):
    rows = range(0, len(TEXTS), 7)
    expected = [by_hand(denoiser, TEXTS[i].tolist(), rule) for i in rows]
    found = order_nll(denoiser, TEXTS[list(rows)], ONE[rule]).sum(1)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", ONE.values(), ids=ONE.keys())
def test_the_exact_denoiser_gives_log_p_in_every_order(rule):
    torch.testing.assert_close(law(LANGUAGE.denoiser(), rule), LANGUAGE.p, rtol=1e-10, atol=0)


def test_in_reading_order_the_exact_denoiser_pays_the_chain_rule_token_by_token():
    nll = order_nll(LANGUAGE.denoiser(), TEXTS, fixed_order(torch.arange(L)))
    for i in range(L):
        same = (TEXTS[:, None, :i] == TEXTS[None, :, :i]).all(-1).double() @ LANGUAGE.p
        more = (TEXTS[:, None, : i + 1] == TEXTS[None, :, : i + 1]).all(-1).double() @ LANGUAGE.p
        torch.testing.assert_close(nll[:, i], (same / more).log(), rtol=1e-10, atol=1e-12)


def test_several_words_per_call_cost_even_the_exact_denoiser():
    found = -(LANGUAGE.p * law(LANGUAGE.denoiser(), surest(2)).log()).sum().item()
    assert found > LANGUAGE.entropy() + 0.01


class ReadsLeftOnly:
    """A causal network as a Denoiser: its answer at a position uses what stands to the left."""

    def __init__(self, model):
        self.model, self.V = model, model.V

    def hidden(self, z_t, t):
        return self.model.hidden(shift_right(z_t, self.V))

    def logits(self, h):
        return self.model.logits(h)


def test_in_reading_order_a_causal_network_has_its_autoregressive_likelihood():
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(V, L, width=8, layers=2, heads=2, causal=True)).double()
    torch.nn.init.normal_(model.head.weight, std=1.0)
    found = order_nll(ReadsLeftOnly(model), TEXTS, fixed_order(torch.arange(L)))
    torch.testing.assert_close(found, autoregressive_nll(model, TEXTS), rtol=0, atol=1e-12)


def test_the_mean_over_all_orders_is_the_bound():
    """Any-order autoregression (Zheng et al. 2024, Eq. 14): text by text, for any denoiser that ignores time."""
    denoiser = DENOISERS["arbitrary"]
    orders = [fixed_order(torch.tensor(order)) for order in itertools.permutations(range(L))]
    mean = torch.stack([order_nll(denoiser, TEXTS, rule).sum(1) for rule in orders]).mean(0)
    bound = torch.zeros(len(TEXTS), dtype=torch.float64)
    for mask in all_masks(L)[1:]:  # patterns with n masks have probability 1 / (L choose n), n is uniform
        n = int(mask.sum())
        z = torch.where(mask, V, TEXTS)
        nats = -denoiser.logits(denoiser.hidden(z)).log_softmax(-1).gather(-1, TEXTS[..., None])[..., 0]
        bound += (nats * mask).sum(1) / n / len([m for m in all_masks(L) if int(m.sum()) == n])
    torch.testing.assert_close(mean, bound, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["a fixed order", "surest", "margin 2", "surest 3", "lowest entropy"])
def test_the_sampler_draws_this_law(name):
    denoiser, rule, n = DENOISERS["with time"], RULES[name], 20_000
    out = sample_in_order(denoiser, rule, (n, L), generator=torch.Generator().manual_seed(1))
    assert texts_p(out.tokens, V, law(denoiser, rule)) > 1e-3
    other = ONE["left to right"]
    assert texts_p(out.tokens, V, law(denoiser, other)) < 1e-6  # the test can tell orders apart


def test_the_plan_left_to_right_draws_it_too():
    denoiser = DENOISERS["with time"]
    out = sample_masked(denoiser, left_to_right(), (20_000, L), generator=torch.Generator().manual_seed(2))
    assert texts_p(out.tokens, V, law(denoiser, ONE["left to right"])) > 1e-3


def test_a_rule_that_looks_at_the_drawn_token_has_no_such_likelihood():
    """LLaDA's confidence of the token itself: scored along the text's own path the probabilities do not sum to 1."""
    denoiser, total = DENOISERS["arbitrary"], 0.0
    for text in TEXTS:

        def peeking(where, log_p, text=text):
            return surest()(where, log_p.gather(-1, text.expand(len(where), L)[..., None]))

        total += (-order_nll(denoiser, text[None], peeking).sum()).exp().item()
    assert abs(total - 1) > 0.05


@every_rule
def test_given_positions_cost_nothing_and_the_rest_is_conditional(rule):
    denoiser, given = DENOISERS["with time"], torch.tensor([False, True, False, False])
    rest = all_sequences(V, L - 1)
    x = torch.stack([rest[:, 0], torch.full((len(rest),), 2), rest[:, 1], rest[:, 2]], dim=1)
    nll = order_nll(denoiser, x, rule, given.expand(x.shape))
    assert nll[:, 1].abs().max() == 0
    p = (-nll.sum(1)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    prompt = torch.tensor([[V, 2, V, V]]).expand(6000, L)
    out = sample_in_order(denoiser, rule, (6000, L), prompt, torch.Generator().manual_seed(3))
    assert bool((out.tokens[:, 1] == 2).all())
    assert chi_square_p(index_of(out.tokens[:, [0, 2, 3]], V), p) > 1e-3


def test_calls_are_counted_and_a_finished_row_makes_none():
    prompt = torch.tensor([[V] * L, [0, V, V, 1], [0, 1, 2, 0]])
    calls = lambda rule: sample_in_order(DENOISERS["arbitrary"], rule, (3, L), prompt).network_calls.tolist()  # noqa: E731
    assert calls(surest()) == [4, 2, 0] and calls(surest(3)) == [2, 1, 0] and calls(ONE["a fixed order"]) == [4, 2, 0]


def test_nothing_to_pay_where_everything_is_given():
    x = torch.tensor([[0, 1, 2, 0]])
    assert order_nll(DENOISERS["arbitrary"], x, surest(), torch.ones(1, L, dtype=torch.bool)).tolist() == [[0.0] * L]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fixed_order(torch.tensor([0, 0, 1])), "each position"),
        (lambda: surest(0), "at least one position"),
        (lambda: order_nll(DENOISERS["arbitrary"], TEXTS[:2], fixed_order(torch.arange(3))), "for 3 positions"),
        (lambda: order_nll(DENOISERS["arbitrary"], torch.tensor([[0, 1, 2, V]]), surest()), "clean texts"),
        (lambda: order_nll(DENOISERS["arbitrary"], TEXTS[0], surest()), "clean texts"),
        (lambda: order_nll(DENOISERS["arbitrary"], TEXTS[:2], surest(), torch.ones(1, L).bool()), "given marks"),
        (lambda: order_nll(DENOISERS["arbitrary"], TEXTS[:2], lambda m, p: m & False), "revealed nothing"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
