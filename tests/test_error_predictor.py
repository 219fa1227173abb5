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
L = 8


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def language():
    """Texts all of lower or all of upper case letters: a draft that mixes them is wrong somewhere."""
    emission = torch.zeros(2, 8)
    emission[0, :4] = emission[1, 4:] = 0.25
    return HiddenMarkovLanguage(torch.tensor([0.5, 0.5]), torch.eye(2), emission, list("abcdABCD"), L)


@pytest.fixture(scope="module")
def denoiser(language):
    """A small network, trained for a few seconds."""
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(8, L, width=32, layers=2, heads=2))
    optimizer, process, data = (
        torch.optim.AdamW(model.parameters(), 5e-3),
        masked(8),
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
    logits = predictor.error_logits(torch.randint(0, 8, (3, L)))
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
    predictor = ErrorPredictor.head_only(Transformer(TransformerConfig(8, L, width=16, layers=1, heads=2, dropout=0.5)))
    torch.nn.init.ones_(predictor.output.weight)
    predictor.train()
    x = torch.randint(0, 8, (2, L))
    assert predictor.training and torch.equal(predictor.error_logits(x), predictor.error_logits(x))
    whole = ErrorPredictor.whole(Transformer(TransformerConfig(8, L, width=16, layers=1, heads=2, dropout=0.5)))
    torch.nn.init.ones_(whole.output.weight)
    whole.train()
    assert not torch.equal(whole.error_logits(x), whole.error_logits(x))


def test_a_time_conditioned_trunk_is_shown_clean_time():
    model = Transformer(TransformerConfig(8, L, width=16, layers=1, heads=2, time_conditioning=True))
    assert ErrorPredictor.whole(model).error_logits(torch.zeros(2, L, dtype=torch.long)).shape == (2, L)


def test_what_an_error_predictor_is_not_built_from_and_does_not_read(denoiser, language):
    with pytest.raises(ValueError, match="not from ExactDenoiser"):
        ErrorPredictor.whole(language.denoiser(masked(8)))
    with pytest.raises(ValueError, match="not from a causal model"):
        ErrorPredictor.whole(Transformer(TransformerConfig(8, L, width=16, layers=1, heads=2, causal=True)))
    with pytest.raises(ValueError, match="finished drafts, ids 0..7 and no mask, got 0..8"):
        ErrorPredictor.whole(denoiser).error_logits(torch.tensor([[0, 8]]))
    other = ErrorPredictor.whole(Transformer(TransformerConfig(9, L, width=16, layers=1, heads=2)))
    with pytest.raises(ValueError, match="vocabulary of 9 tokens, but the denoiser writes 8"):
        train_error_predictor(other, denoiser, held_out(language), 1, progress=False)
    with pytest.raises(ValueError, match="vocabulary of 9 tokens"):
        evaluate_error_predictor(other, denoiser, held_out(language))
    with pytest.raises(ValueError, match="vocabulary of 9 tokens"):
        sample_remasking(denoiser, gstar(other), 4, (2, L))
    short = ErrorPredictor.whole(Transformer(TransformerConfig(8, 4, width=16, layers=1, heads=2)))
    with pytest.raises(ValueError, match="at most 4 positions, but the canvas has 8"):
        sample_remasking(denoiser, gstar(short), 4, (2, L))


def test_labels(denoiser, language):
    x = language.sample(200, generator=seeded(0))
    drafts = one_step_drafts(denoiser, x, seeded(1))
    assert not drafts.wrong[~drafts.drafted].any() and (drafts.tokens[~drafts.drafted] == x[~drafts.drafted]).all()
    assert torch.equal(drafts.wrong, drafts.tokens != x)
    assert (drafts.tokens < 8).all() and 0.45 < drafts.drafted.double().mean() < 0.55  # t is uniform
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


def test_it_learns_to_see_what_independent_drawing_broke(denoiser, language, tmp_path):
    """In a mixed-case draft the minority is wrong: no doubt at writing time can know that, the predictor can."""
    predictor = ErrorPredictor.last_block(denoiser)
    losses = train_error_predictor(
        predictor, denoiser, language_batches(language, 64, seeded(5)), 150, generator=seeded(6), progress=False
    )
    assert sum(losses[-20:]) / 20 < losses[0] - 0.1
    report = evaluate_error_predictor(predictor, denoiser, held_out(language), seeded(7), rescore=True)
    assert report.predictor.auroc > report.confidence.auroc + 0.05
    assert (
        report.predictor_everywhere.auroc > 0.7 and report.predictor.recall > 0.5 and report.predictor.precision > 0.5
    )
    assert report.predictor.tokens < report.predictor_everywhere.tokens == 4 * 128 * L
    assert "AUROC" in str(report.predictor)

    rule = gstar(predictor, 0.5)
    out = sample_remasking(denoiser, rule, 6, (64, L), generator=seeded(0))
    assert (out.tokens < 8).all() and (out.network_calls <= calls_needed(rule, 6)).all()
    assert (
        sample_remasking(denoiser, star_loop(inner=gstar(predictor, 1.0)), 6, (8, L), generator=seeded(0)).tokens < 8
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
    with pytest.raises(TrainingStopped, match="step 1 is not a number"):
        train_error_predictor(predictor, denoiser, held_out(language), 2, progress=False)


def test_rescoring_is_the_leave_one_out_posterior(language):
    exact = language.denoiser(masked(8))
    x = language.sample(5, generator=seeded(0))
    torch.testing.assert_close(rescored_probability(exact, x), torch.full((5, L), 0.25, dtype=torch.float64))
    x[0, 0] = (x[0, 0] + 4) % 8  # the wrong case among seven: impossible given the others
    assert rescored_probability(exact, x)[0, 0] == 0


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
    found = detection(torch.tensor([2.0, -1.0, 0.5, -3.0]), torch.tensor([True, True, False, False]))
    assert (found.auroc, found.precision, found.recall, found.share_wrong, found.tokens) == (0.75, 0.5, 0.5, 0.5, 4)
    expected = sum(math.log1p(math.exp(v)) for v in (-2.0, 1.0, 0.5, -3.0)) / 4
    assert found.bce == pytest.approx(expected, abs=1e-7)
    assert math.isnan(detection(torch.tensor([-1.0, -2.0]), torch.tensor([True, False])).precision)
