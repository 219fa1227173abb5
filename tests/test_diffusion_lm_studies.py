"""The pieces of lesson 02's studies: the perfect reader against brute force, cells, curves and their pictures."""

import pytest
import torch

from difflm_core.classroom.lesson import load_results
from difflm_core.classroom.pictures import lesson_02, lesson_02_studies
from difflm_core.data import toy_language
from difflm_core.models import DiffusionLM, VectorConfig, VectorTransformer
from difflm_core.oracle import HiddenMarkovLanguage, PerfectReader
from difflm_core.studies import diffusion_lm_dimension, diffusion_lm_drawbacks


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def mini():
    """Two hidden states, three words, two places; a model whose starting noise is large."""
    language = HiddenMarkovLanguage(
        torch.tensor([0.7, 0.3]), torch.tensor([[0.9, 0.1], [0.2, 0.8]]),
        torch.tensor([[0.8, 0.2, 0.0], [0.1, 0.3, 0.6]]), ["a", "b", "c"], 2,
    )  # fmt: skip
    torch.manual_seed(0)
    net = VectorTransformer(VectorConfig(2, 2, width=8, layers=1, heads=2))
    return language, DiffusionLM(3, net, sigma_0=0.5).double().requires_grad_(False)


def test_the_perfect_reader_is_bayes_by_enumeration(mini):
    language, model = mini
    texts = torch.cartesian_prod(torch.arange(3), torch.arange(3))  # (9, 2)
    t = torch.tensor([0.4], dtype=torch.float64)
    z_t = model.process.corrupt(model.start(texts[4:5], seeded(1)), t, seeded(2))
    alpha = model.process.schedule.alpha(t)
    mean, variance = alpha.sqrt() * model.embedding[texts], alpha * model.sigma_0**2 + 1 - alpha
    log_joint = language.log_prob(texts) - (z_t - mean).square().sum((1, 2)) / (2 * variance)
    p = log_joint.softmax(0)  # (9,)
    words = torch.stack([torch.stack([p[texts[:, i] == v].sum() for v in range(3)]) for i in range(2)])
    reader = PerfectReader(model, language)
    torch.testing.assert_close(reader.words(z_t, t)[0], words)
    # E[x_0 | z_t]: for each text a normal law's posterior mean, averaged over the texts
    gain = model.sigma_0**2 * alpha.sqrt() / variance
    each = model.embedding[texts] + gain * (z_t - mean)
    torch.testing.assert_close(reader.x_hat(z_t, t)[0], (p[:, None, None] * each).sum(0))


def test_the_perfect_reader_in_pure_noise_says_what_is_usual(mini):
    language, model = mini
    t = torch.ones(4, dtype=torch.float64)
    z_t = model.process.prior((4, 2, 2), seeded(3), dtype=torch.float64)
    reader = PerfectReader(model, language)
    usual = language.positional_marginals()
    torch.testing.assert_close(reader.words(z_t, t), usual.expand(4, 2, 3), atol=2e-3, rtol=0)  # alpha is 2e-7, not 0
    torch.testing.assert_close(reader.x_hat(z_t, t), (usual @ model.embedding).expand(4, 2, 2), atol=2e-3, rtol=0)


def test_a_cell_of_the_study_of_width(monkeypatch):
    small = {"sentences": 6, "samples": 4, "steps": 3, "T": 6, "batch_size": 8}
    monkeypatch.setattr(diffusion_lm_dimension, "SETTINGS", diffusion_lm_dimension.SETTINGS | small)
    row = diffusion_lm_dimension.run("eps", 4, "linear", seed=0, steps=2)
    assert len(row["read"]) == len(row["best"]) == len(row["times"]) == 4
    assert row["times"] == sorted(row["times"], reverse=True), "more signal is earlier"
    assert all(0.2 < best <= 1 for best in row["best"]) and row["best"] == sorted(row["best"])
    assert row["lost"] == pytest.approx(sum(row["best"]) / 4 - sum(row["read"]) / 4)


def test_training_is_the_same_again_and_looks_at_averages():
    def build():
        return diffusion_lm_dimension.build("x", 4, "sqrt", seed=3)

    seen = []
    settings = diffusion_lm_dimension.SETTINGS | {"batch_size": 8}
    loss = diffusion_lm_dimension.training_loss
    first = diffusion_lm_dimension.fit(build(), loss, 3, 5, settings, lambda step, averaged: seen.append(step))
    second = diffusion_lm_dimension.fit(build(), loss, 3, 5, settings)
    assert seen == [1, 2, 3]
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    assert not torch.equal(first.embedding, build().embedding)


def test_variety_knows_a_narrow_sampler_from_a_true_one():
    language = toy_language()
    truth = language.sample(400, generator=seeded(4))
    likeliest = truth[language.log_prob(truth).topk(10).indices].repeat(40, 1)
    wide, narrow = (diffusion_lm_drawbacks.variety(tokens) for tokens in (truth, likeliest))
    assert wide["grammatical"] == narrow["grammatical"] == 1
    assert abs(wide["log_prob_gap"]) < 0.6 and narrow["log_prob_gap"] > 3
    assert narrow["spread"] < 0.8 * wide["spread"] and narrow["distinct_3"] < 0.2 * wide["distinct_3"]


def test_the_stored_studies_say_what_the_lesson_says():
    """Directions that the prose of lesson 02 states, in every seed."""
    study = load_results("diffusion_lm_dimension")

    def lost(kind, D, schedule="sqrt"):
        return {row["seed"]: row["lost"] for row in lesson_02_studies.cells(study, kind, D, schedule)}

    assert len(study["runs"]) == 36
    for seed in (0, 1, 2):
        for D in (64, 128):
            assert lost("eps", D)[seed] > 1.7 * lost("x", D)[seed]
        assert lost("x", 128)[seed] < 1.3 * lost("x", 16)[seed]
        assert lost("eps", 128)[seed] > 1.6 * lost("eps", 16)[seed]
        for kind, D in (("x", 16), ("x", 128), ("eps", 16)):
            assert lost(kind, D)[seed] < lost(kind, D, "linear")[seed]
    drawbacks = load_results("diffusion_lm_drawbacks")
    for row in drawbacks["runs"]:
        if row["network"] == "vectors":
            found = row["varieties"]
            assert found["ancestral, clamped"]["spread"] < 0.9 * found["true sentences"]["spread"]
            assert found["ancestral, clamped"]["log_prob_gap"] > found["ancestral"]["log_prob_gap"] + 1
            perfect = {q["steps"]: q["grammatical"] for q in row["exact_qualities"]}
            assert perfect[5] > 0.9
    table = lesson_02_studies.dimension_table(study)
    assert "x            16  sqrt" in table and len(table.splitlines()) == 9


@pytest.mark.parametrize("picture", ["convergence", "steps"])
def test_pictures_of_the_drawbacks(picture):
    figure, alt, caption = getattr(lesson_02_studies, picture)(load_results("diffusion_lm_drawbacks"))
    assert "%" in alt and "Make it again" in caption and figure.axes


def test_neighbours_of_words_that_are_sorted_by_kind():
    language = toy_language()
    sorted_by_kind = torch.zeros(language.V, 3)
    for number, (members, _) in enumerate(lesson_02.KINDS.values()):
        rows = [language.words.index(word) for word in members]
        sorted_by_kind[rows] = 0.01 * torch.randn(len(rows), 3, generator=seeded(number)) + number
    like, chance = lesson_02.neighbours(sorted_by_kind, language)
    assert like == 1 and 0.05 < chance < 0.2
