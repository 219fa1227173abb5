"""The remasking inspector: its probabilities against the sampler and against brute force, its marks, its refusals."""

import itertools

import pytest
import torch

from difflm_core.classroom import lesson as lesson_module
from difflm_core.classroom import widgets_remasking
from difflm_core.classroom.remasking import Draft, drafts_of, exact_errors, guided, hidden_after, usual_rules
from difflm_core.classroom.widgets_remasking import (
    draft_controls,
    inspect,
    inspection_html,
    inspector_controls,
    inspector_figure,
    level,
)
from difflm_core.data.toy_language import toy_language
from difflm_core.oracle import HiddenMarkovLanguage
from difflm_core.processes import Linear, masked
from difflm_core.samplers import (
    Moment,
    remask_count,
    remdm,
    remdm_cap,
    remdm_conf,
    remdm_loop,
    remdm_switch,
    star,
    star_plus,
)
from difflm_core.samplers.canvas import new_canvas
from difflm_core.samplers.remasking import sigma_step

MINI = HiddenMarkovLanguage(
    torch.tensor([0.7, 0.3]),
    torch.tensor([[0.95, 0.05], [0.1, 0.9]]),
    torch.tensor([[0.9, 0.1], [0.05, 0.95]]),
    ["a", "b"],
    4,
)
WRONG = exact_errors(MINI)
VISIBLE = torch.tensor([True, False, True, False])
WRITTEN = torch.tensor([0.9, torch.nan, 0.2, torch.nan])


def draft(t=0.5, s=0.375, tokens=(0, 0, 1, 0)):
    ids = torch.tensor(tokens)
    return Draft(t, s, ids, VISIBLE, WRITTEN, WRONG(ids[None])[0])


def test_the_exact_error_is_bayes_rule_by_brute_force():
    """P(word i differs from what stands there), over all clean texts, each word replaced with probability r."""
    rate, texts = 0.1, torch.tensor(list(itertools.product(range(2), repeat=4)))
    prior = MINI.log_prob(texts).exp()
    for z in (torch.tensor([0, 0, 1, 0]), torch.tensor([1, 0, 1, 1])):
        same = texts == z
        likelihood = torch.where(same, 1 - rate + rate / 2, rate / 2).double().prod(1)
        post = prior * likelihood / (prior * likelihood).sum()
        expected = (post[:, None] * ~same).sum(0)
        assert torch.allclose(exact_errors(MINI, rate)(z[None])[0], expected, atol=1e-9)


def test_a_mask_is_no_error_and_the_rate_is_a_share():
    assert WRONG(torch.tensor([[2, 0, 2, 1]]))[0, [0, 2]].tolist() == [0, 0]
    for rate in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="inside"):
            exact_errors(MINI, rate)


def test_the_word_that_breaks_an_agreement_is_suspected_most():
    language = toy_language()
    right = language.encode("the great brown foxes hop over the lazy dog in brown boots")
    assert exact_errors(language)(right[None]).max() < 0.3
    bad = language.encode("the great brown foxes hop over a lazy dogs in brown boots")
    worst = exact_errors(language)(bad[None])[0].topk(2).indices.tolist()
    assert sorted(worst) == [6, 8]


@pytest.mark.parametrize(
    "rule", [remdm(0.0), remdm_cap(0.2), star(), remdm_conf()], ids=["mdlm", "cap", "star", "conf"]
)
def test_probabilities_are_the_frequencies_of_the_samplers_own_step(rule):
    d, n = draft(), 20_000
    z = torch.where(d.visible, d.tokens, 2).expand(n, 4)
    canvas = new_canvas(torch.full((n, 4), 2), 2, False)
    canvas.z, canvas.written = z.clone(), WRITTEN.double().expand(n, 4).clone()
    alpha_t, alpha_s = Linear().alpha(torch.tensor([d.t, d.s], dtype=torch.float64))
    now = Moment(d.t, d.s, d.t, alpha_t, alpha_s, canvas.written)

    def predict(canvas, wanted, time):
        return d.tokens.expand(n, 4)[wanted], None

    sigma_step(canvas, rule.sigma(now), now, predict, torch.Generator().manual_seed(0))
    found, p = (canvas.z == 2).double().mean(0), hidden_after(rule, d)
    assert bool(((found - p).abs() <= 4 * (p * (1 - p) / n).sqrt() + 1e-9).all())


def test_a_guided_rule_hides_its_exact_count_and_prefers_errors():
    d = draft(0.5, 0.5)
    p = hidden_after(guided(WRONG), d, torch.Generator().manual_seed(0))
    count = int(remask_count(torch.tensor(0.5, dtype=torch.float64), torch.tensor([4])))
    assert p.sum() == pytest.approx(count) and p.argmax() == d.wrong.argmax()
    cold = hidden_after(guided(WRONG, temperature=0.0), d, torch.Generator().manual_seed(0))
    assert cold.topk(count).values.tolist() == [1.0] * count


def test_outside_its_times_a_rule_is_mdlm_and_a_rule_with_its_own_clock_is_refused():
    d = draft(0.5, 0.375)
    plain = hidden_after(remdm(0.0), d)
    for rule in (star_plus(0.3), remdm_switch(0.3, guided(WRONG))):
        assert torch.equal(hidden_after(rule, d), plain)
    assert torch.equal(hidden_after(star_plus(0.6), d), hidden_after(star(), d))
    with pytest.raises(ValueError, match="bends time"):
        hidden_after(remdm_loop(), d)


def test_coin_rules_share_their_coins():
    """A rule that hides each word with a larger probability hides at least the same words."""
    found = inspect(draft(), {"MDLM": remdm(0.0), "cap": remdm_cap(0.1), "star": star()}, seed=3)
    for low, high in itertools.permutations(found.hidden, 2):
        if bool((found.hidden[low] <= found.hidden[high]).all()):
            assert bool((found.outcome[low] <= found.outcome[high]).all())


def test_drafts_are_complete_and_end_with_the_sample():
    drafts, sample = drafts_of(MINI.denoiser(masked(2)), WRONG, 4, 4, torch.Generator().manual_seed(1))
    assert [d.t for d in drafts] == [1.0, 0.75, 0.5, 0.25] and not drafts[0].visible.any()
    assert all(bool((d.tokens < 2).all()) for d in drafts)
    assert torch.equal(drafts[-1].tokens, sample.tokens[0]) and drafts[-1].s == 0
    for d in drafts[1:]:
        assert int(d.visible.sum()) == 4 - round(4 * d.t)


def inspections():
    drafts, _ = drafts_of(MINI.denoiser(masked(2)), WRONG, 4, 4, torch.Generator().manual_seed(1))
    return [inspect(d, usual_rules(WRONG)) for d in drafts]


def test_colour_is_never_the_only_sign():
    signs = [level(p) for p in (0.0, 0.1, 0.5, 1.0)]
    assert len({sign for sign, _ in signs}) == len({colour for _, colour in signs}) == 4
    found = inspect(draft(), usual_rules(WRONG))
    html = inspection_html(found, MINI.words.__getitem__)
    assert html.count("✗ ") == sum(int(hidden.sum()) for hidden in found.outcome.values())
    assert all(f'<th scope="row">{name}</th>' in html for name in ("draft", "MDLM", "ReMDM cap 0.2", "Star", "G-Star"))
    assert 'role="status"' in html and "most likely wrong" in html


def test_twin_and_player_show_the_drafts():
    found = inspections()
    figure, alt, words = inspector_figure(found[:2], MINI.words.__getitem__)
    assert len(figure.axes) == 2 and "G-Star" in alt and words.count("most likely wrong") == 2
    player = inspector_controls(found, MINI.words.__getitem__)
    slider, page = player.children[0].children[1], player.children[2]
    before = page.value
    slider.value = len(found) - 1
    assert page.value != before and "to 0.00" in page.value


def test_a_typed_draft_is_inspected_or_refused():
    language = toy_language()
    box, slider, picture = draft_controls(exact_errors(language), language, "the fox hop").children
    assert "most likely wrong" in picture.value
    before = picture.value
    slider.value = 1.0
    assert picture.value != before
    for bad in ("", "🦊 hops", "the " * 2500):
        box.value = bad
        assert 'role="alert"' in picture.value
    box.value = "the fox hops"
    assert 'role="alert"' not in picture.value


def test_without_a_model_it_says_so_and_static_leaves_only_the_figure(monkeypatch):
    shown = []
    monkeypatch.setattr(lesson_module, "display", lambda data, raw=False, metadata=None: shown.append(data))
    monkeypatch.setattr(widgets_remasking, "display", shown.append)
    with pytest.raises(ValueError, match="no model yet"):
        widgets_remasking.remasking_inspector(None, WRONG, MINI.words.__getitem__, 4, 4)
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    widgets_remasking.remasking_inspector(MINI.denoiser(masked(2)), WRONG, MINI.words.__getitem__, 4, 4)
    assert len(shown) == 2 and "image/png" in shown[0]
    language = toy_language()
    widgets_remasking.draft_inspector(exact_errors(language), language, "the fox hop")
    assert len(shown) == 4 and "One draft" in shown[2]["text/plain"]
