"""The error predictor: it starts undecided, trains only what it should, learns from honest labels, and is judged
fairly.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from difflm_core.data.batches import language_batches
from difflm_core.evaluation import auroc, detection
from difflm_core.evaluation.detection import auroc_within
from difflm_core.models import ErrorPredictor, Transformer, TransformerConfig
from difflm_core.objectives import masked_nelbo, stratified_times
from difflm_core.oracle import HiddenMarkovLanguage
from difflm_core.processes import masked
from difflm_core.samplers import calls_needed, gstar, sample_remasking, star_loop
from difflm_core.training import (
    TrainingStopped,
    error_loss,
    evaluate_error_predictor,
    load_error_predictor,
    one_step_drafts,
    save_model,
    train_error_predictor,
)
from difflm_core.training.error_report import rescored_probability

WAYS = {"head": ErrorPredictor.head_only, "block": ErrorPredictor.last_block, "whole": ErrorPredictor.whole}
V, L = 4, 8


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def language():
    """Four letters in runs: a draft whose runs are broken is wrong somewhere."""
    stay = torch.full((V, V), 0.05).fill_diagonal_(0.85)
    return HiddenMarkovLanguage(torch.full((V,), 1 / V), stay, torch.eye(V), list("abcd"), L)


@pytest.fixture(scope="module")
def denoiser(language):
    """A small network, trained for a few seconds."""
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(V, L, width=32, layers=2, heads=2))
    optimizer, process, data = (
        torch.optim.AdamW(model.parameters(), 5e-3),
        masked(V),
        language_batches(language, 64, seeded(0)),
    )
    generator = seeded(1)
    for _ in range(120):
        loss = masked_nelbo(process, model, next(data), stratified_times(64, generator), generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def held_out(language, n=4):
    return [language.sample(128, generator=seeded(100 + i)) for i in range(n)]


@pytest.mark.parametrize("way", WAYS)
def test_an_untrained_predictor_is_undecided(denoiser, way):
    predictor = WAYS[way](denoiser)
    logits = predictor.error_logits(torch.randint(0, V, (3, L)))
    assert logits.shape == (3, L) and (logits == 0).all()


def test_each_way_trains_its_part_and_never_the_denoiser(denoiser, language):
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    counts = {}
    for way, build in WAYS.items():
        predictor = build(denoiser)
        trunk = {name: value.clone() for name, value in predictor.trunk.state_dict().items()}
        train_error_predictor(
            predictor, denoiser, language_batches(language, 32, seeded(0)), 3, generator=seeded(1), progress=False
        )
        changed = {name for name, value in predictor.trunk.state_dict().items() if not torch.equal(value, trunk[name])}
        counts[way] = len(changed)
        if way == "head":
            assert not changed and all(p.grad is None for p in predictor.trunk.parameters())
        if way == "block":
            assert changed and all(name.startswith(("blocks.1.", "norm.")) for name in changed)
        assert (predictor.output.weight != 0).any() and not predictor.training
    assert counts["head"] < counts["block"] < counts["whole"]
    assert all(torch.equal(value, before[name]) for name, value in denoiser.state_dict().items())
    assert denoiser.head.weight.requires_grad  # and it can still be trained


def test_a_frozen_trunk_keeps_its_dropout_off():
    predictor = ErrorPredictor.head_only(Transformer(TransformerConfig(V, L, width=16, layers=1, heads=2, dropout=0.5)))
    torch.nn.init.ones_(predictor.output.weight)
    predictor.train()
    x = torch.randint(0, V, (2, L))
    assert predictor.training and torch.equal(predictor.error_logits(x), predictor.error_logits(x))
    whole = ErrorPredictor.whole(Transformer(TransformerConfig(V, L, width=16, layers=1, heads=2, dropout=0.5)))
    torch.nn.init.ones_(whole.output.weight)
    whole.train()
    assert not torch.equal(whole.error_logits(x), whole.error_logits(x))


def test_a_time_conditioned_trunk_is_shown_clean_time():
    model = Transformer(TransformerConfig(V, L, width=16, layers=1, heads=2, time_conditioning=True))
    assert ErrorPredictor.whole(model).error_logits(torch.zeros(2, L, dtype=torch.long)).shape == (2, L)


def test_what_an_error_predictor_is_not_built_from_and_does_not_read(denoiser, language):
    with pytest.raises(ValueError, match="not from ExactDenoiser"):
        ErrorPredictor.whole(language.denoiser(masked(V)))
    with pytest.raises(ValueError, match="not from a causal model"):
        ErrorPredictor.whole(Transformer(TransformerConfig(V, L, width=16, layers=1, heads=2, causal=True)))
    with pytest.raises(ValueError, match="finished drafts, ids 0..3 and no mask, got 0..4"):
        ErrorPredictor.whole(denoiser).error_logits(torch.tensor([[0, V]]))
    other = ErrorPredictor.whole(Transformer(TransformerConfig(9, L, width=16, layers=1, heads=2)))
    with pytest.raises(ValueError, match="vocabulary of 9 tokens, but the denoiser writes 4"):
        train_error_predictor(other, denoiser, held_out(language), 1, progress=False)
    with pytest.raises(ValueError, match="vocabulary of 9 tokens"):
        evaluate_error_predictor(other, denoiser, held_out(language))
    with pytest.raises(ValueError, match="vocabulary of 9 tokens"):
        sample_remasking(denoiser, gstar(other), 4, (2, L))
    short = ErrorPredictor.whole(Transformer(TransformerConfig(V, 4, width=16, layers=1, heads=2)))
    with pytest.raises(ValueError, match="at most 4 positions, but the canvas has 8"):
        sample_remasking(denoiser, gstar(short), 4, (2, L))


def test_labels(denoiser, language):
    x = language.sample(200, generator=seeded(0))
    drafts = one_step_drafts(denoiser, x, seeded(1))
    assert not drafts.wrong[~drafts.drafted].any() and (drafts.tokens[~drafts.drafted] == x[~drafts.drafted]).all()
    assert torch.equal(drafts.wrong, drafts.tokens != x)
    assert (drafts.tokens < V).all() and 0.45 < drafts.drafted.double().mean() < 0.55  # t is uniform
    assert (drafts.probability[~drafts.drafted] == 1).all() and (drafts.probability[drafts.drafted] < 1).all()


def test_loss_over_all_or_only_new_positions(denoiser, language):
    predictor = ErrorPredictor.head_only(denoiser)
    drafts = one_step_drafts(denoiser, language.sample(50, generator=seeded(0)), seeded(1))
    assert error_loss(predictor, drafts).item() == pytest.approx(math.log(2))  # undecided
    torch.nn.init.normal_(predictor.output.weight)
    per_token = torch.nn.functional.binary_cross_entropy_with_logits(
        predictor(drafts.tokens), drafts.wrong.float(), reduction="none"
    )
    assert error_loss(predictor, drafts).item() == pytest.approx(per_token.mean().item())
    assert error_loss(predictor, drafts, only_new=True).item() == pytest.approx(per_token[drafts.drafted].mean().item())


def test_it_learns_and_samples_and_is_stored(denoiser, language, tmp_path):
    predictor = ErrorPredictor.whole(denoiser)
    data = language_batches(language, 64, seeded(5))
    train_error_predictor(predictor, denoiser, data, 250, generator=seeded(6), progress=False)
    report = evaluate_error_predictor(predictor, denoiser, held_out(language), seeded(7), rescore=True)
    everywhere, share = report.predictor_everywhere, report.predictor_everywhere.share_wrong
    assert everywhere.auroc > 0.65 and everywhere.auroc_within > 0.6
    assert everywhere.bce < -share * math.log(share) - (1 - share) * math.log(1 - share)  # better than the base rate
    assert report.predictor.tokens < everywhere.tokens == 4 * 128 * L and report.rescored.auroc > 0.7
    assert "AUROC" in str(report.predictor)

    rule = gstar(predictor, 0.5)
    out = sample_remasking(denoiser, rule, 6, (64, L), generator=seeded(0))
    assert (out.tokens < V).all() and (out.network_calls <= calls_needed(rule, 6)).all()
    assert (
        sample_remasking(denoiser, star_loop(inner=gstar(predictor, 1.0)), 6, (8, L), generator=seeded(0)).tokens < V
    ).all()

    save_model(tmp_path / "g", predictor)
    again = load_error_predictor(tmp_path / "g")
    assert torch.equal(again.error_logits(out.tokens), predictor.error_logits(out.tokens))
    save_model(tmp_path / "d", denoiser)
    with pytest.raises(ValueError, match="holds a denoiser"):
        load_error_predictor(tmp_path / "d")


def test_training_refuses_what_cannot_be(denoiser, language):
    predictor = ErrorPredictor.head_only(denoiser)
    with pytest.raises(ValueError, match="ran out after 4 of 9 steps"):
        train_error_predictor(predictor, denoiser, held_out(language), 9, progress=False)
    with pytest.raises(ValueError, match="at least one batch"):
        evaluate_error_predictor(predictor, denoiser, [])
    torch.nn.init.constant_(predictor.output.bias, math.nan)
    with pytest.raises(TrainingStopped, match="error predictor: the loss at step 1 is nan; try a lower learning rate"):
        train_error_predictor(predictor, denoiser, held_out(language), 2, progress=False)


def test_the_exact_doubt_at_writing_time_is_calibrated_and_no_predictor_beats_it(denoiser, language):
    """Given z_t the draft knows nothing of x, so p(wrong | z_t, draft) = 1 - p(token | z_t)."""
    exact = language.denoiser(masked(V))
    drafts = one_step_drafts(exact, language.sample(20_000, generator=seeded(0)), seeded(1))
    doubt, wrong = 1 - drafts.probability[drafts.drafted], drafts.wrong[drafts.drafted].double()
    for low in (0.0, 0.25, 0.5, 0.75):
        here = (doubt >= low) & (doubt < low + 0.25)
        assert abs((doubt[here] - wrong[here]).mean()) < 4 * 0.5 / math.sqrt(here.sum())
    predictor = ErrorPredictor.whole(denoiser)
    data = language_batches(language, 64, seeded(5))
    train_error_predictor(predictor, exact, data, 50, only_new=True, generator=seeded(6), progress=False)
    report = evaluate_error_predictor(predictor, exact, held_out(language), seeded(7))
    assert report.confidence.bce < report.predictor.bce and report.confidence.auroc > report.predictor.auroc
    assert report.rescored is None


def test_rescoring_is_the_leave_one_out_posterior(language):
    x = torch.zeros(1, L, dtype=torch.long)
    x[0, 3] = 1  # a stranger in a run
    stay, leave = 0.85, 0.05
    between_equals = stay * stay + 3 * leave * leave
    expected = torch.full((L,), stay * stay / between_equals, dtype=torch.float64)
    expected[0] = expected[-1] = stay
    expected[[2, 4]] = (
        stay * leave / (2 * stay * leave + 2 * leave * leave)
    )  # one of its two neighbours, or a third letter
    expected[3] = leave * leave / between_equals
    again = rescored_probability(language.denoiser(masked(V)), x)[0]
    torch.testing.assert_close(again, expected, rtol=0, atol=1e-6)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_auroc_is_the_share_of_correctly_ordered_pairs(pairs):
    score, positive = torch.tensor([p[0] for p in pairs]).double(), torch.tensor([p[1] for p in pairs])
    if positive.all() or not positive.any():
        with pytest.raises(ValueError, match="judge more drafts"):
            auroc(score, positive)
        return
    difference = score[positive][:, None] - score[~positive][None]
    by_pairs = ((difference > 0).double() + 0.5 * (difference == 0).double()).mean().item()
    assert auroc(score, positive) == pytest.approx(by_pairs, abs=1e-12)


def test_detection_by_hand():
    score = torch.tensor([[2.0, -1.0], [0.5, -3.0], [9.0, 9.0]])
    wrong = torch.tensor([[True, True], [False, False], [True, False]])
    found = detection(score, wrong, torch.tensor([[True, True], [True, True], [False, False]]))
    assert (found.auroc, found.precision, found.recall, found.share_wrong, found.tokens) == (0.75, 0.5, 0.5, 0.5, 4)
    assert math.isnan(found.auroc_within)  # no text has both kinds among the judged positions
    assert found.bce == pytest.approx(sum(math.log1p(math.exp(v)) for v in (-2.0, 1.0, 0.5, -3.0)) / 4, abs=1e-7)
    everything = detection(score, wrong)
    assert everything.auroc_within == 0.5 and everything.tokens == 6  # one pair in the third text, a tie
    assert math.isnan(detection(torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, False]])).precision)


@given(st.integers(0, 1000))
def test_the_ranking_within_texts_is_the_mean_over_their_pairs(seed):
    score, wrong = torch.randint(-2, 3, (3, 5), generator=seeded(seed)), torch.rand(3, 5, generator=seeded(seed)) < 0.5
    pairs = []
    for row, bad in zip(score.tolist(), wrong.tolist()):
        rights = [b for b, is_wrong in zip(row, bad) if not is_wrong]
        pairs += [(a > b) + 0.5 * (a == b) for a, is_wrong in zip(row, bad) if is_wrong for b in rights]
    if pairs:
        assert auroc_within(score, wrong, ~wrong) == pytest.approx(sum(pairs) / len(pairs))
