"""Classifier guidance: closed forms for one step, a whole chain with exact parts, the classifier and its training."""

import math

import pytest
import torch

from difflm_core.data.toy_language import GRAMMAR, toy_language
from difflm_core.models import DiffusionLM, LatentClassifier, VectorConfig, VectorTransformer
from difflm_core.oracle import EmbeddingEvidence, HiddenMarkovLanguage, feature_value
from difflm_core.processes import CosineBeta, GaussianProcess
from difflm_core.samplers import classifier_guide, sample_diffusion_lm, sample_gaussian
from difflm_core.training import label_loss, train_latent_classifier

PROCESS = GaussianProcess(CosineBeta())
V, L, D = 4, 6, 8


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normals(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def times(n, *values):
    return [torch.full((n,), value, dtype=torch.float64) for value in values]


# ---------------------------------------------------------------- one step, in closed form


def seen(y, r):
    """log p(c | z) where c says: y was measured, z plus noise of variance r."""
    return lambda z, s: -(y - z).square().flatten(1).sum(-1) / (2 * r)


@pytest.mark.parametrize("fluency", [1.0, 0.1])
def test_many_updates_end_at_the_mode_of_the_product(fluency):
    """Two bells multiply to a bell; with lambda = 1 its centre is the mean of p(z_s | z_t, c)."""
    z_s, z_t, x_hat, y = (normals(3, 4, 2, seed=i) for i in range(4))
    (s, t), r = times(3, 0.3, 0.6), 0.2
    guided = classifier_guide(PROCESS, seen(y, r), fluency, 0.5, updates=400)(z_s, z_t, x_hat, s, t)
    mean, variance = PROCESS.posterior(z_t, x_hat, s, t)
    expected = (fluency * mean / variance + y / r) / (fluency / variance + 1 / r)
    torch.testing.assert_close(guided, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("fluency", [0.0, 1e-3, 10.0])
def test_the_first_update_goes_uphill_by_the_learning_rate(fluency):
    z_s, z_t, x_hat, y = (normals(3, 4, 2, seed=i) for i in range(4))
    s, t = times(3, 0.3, 0.6)
    guided = classifier_guide(PROCESS, seen(y, 0.2), fluency, 0.07, updates=1)(z_s, z_t, x_hat, s, t)
    mean, variance = PROCESS.posterior(z_t, x_hat, s, t)
    gradient = fluency * (mean - z_s) / variance + (y - z_s) / 0.2
    torch.testing.assert_close(guided - z_s, 0.07 * gradient.sign(), rtol=1e-6, atol=0)


def test_updates_are_adagrad_and_each_step_starts_afresh():
    z_s, z_t, x_hat, y = (normals(2, 3, seed=i) for i in range(4))
    s, t = times(2, 0.2, 0.5)
    guide = classifier_guide(PROCESS, seen(y, 0.2), 0.3, 0.1, updates=3)
    mean, variance = PROCESS.posterior(z_t, x_hat, s, t)
    z = z_s.clone().requires_grad_()
    adagrad = torch.optim.Adagrad([z], lr=0.1)
    for _ in range(3):
        z.grad = -(0.3 * (mean - z) / variance + (y - z) / 0.2).detach()
        adagrad.step()
    z = z.detach()
    torch.testing.assert_close(guide(z_s, z_t, x_hat, s, t), z)
    torch.testing.assert_close(guide(z_s, z_t, x_hat, s, t), z)  # nothing is remembered


def test_late_steps_are_left_alone_and_the_input_is_not_changed():
    z_s, other = normals(2, 3), normals(2, 3, seed=1)
    before = z_s.clone()
    guide = classifier_guide(PROCESS, seen(other, 1.0), until=0.25)
    assert guide(z_s, other, other, *times(2, 0.2, 0.5)) is z_s
    moved = guide(z_s, other, other, *times(2, 0.3, 0.5))
    assert not torch.equal(moved, z_s) and torch.equal(z_s, before) and not moved.requires_grad


# ---------------------------------------------------------------- a whole chain with exact denoiser and classifier


def exact_denoiser(z, t):
    """E[x | z] for x = -1 or 1 with equal chances."""
    signal, noise = PROCESS.levels(t, z)
    return torch.tanh(signal * z / noise**2)


def positive(z, s):
    """log p(x = 1 | z), exactly."""
    signal, noise = PROCESS.levels(s, z)
    return torch.nn.functional.logsigmoid(2 * signal * z / noise**2)[:, 0]


def test_a_coin_falls_on_the_wanted_side_and_lambda_says_how_surely():
    shares = []
    for fluency in (1e6, 1.0, 1e-3):
        guide = classifier_guide(PROCESS, positive, fluency, learning_rate=0.1)
        x = sample_gaussian(PROCESS, exact_denoiser, 40, (400, 1), seeded(1), guide=guide, dtype=torch.float64).x
        assert (x.abs() > 0.9).double().mean() > 0.95  # still -1 or 1
        shares.append((x > 0).double().mean().item())
    free, bayes, wanted = shares
    assert abs(free - 0.5) < 0.08 and free + 0.1 < bayes and bayes <= wanted and wanted > 0.99


# ---------------------------------------------------------------- a classifier of texts


@pytest.fixture(scope="module")
def language():
    """Runs of one letter: "a" or "b" first, then mostly the same."""
    stay = torch.full((V, V), 0.02).fill_diagonal_(0.94)
    return HiddenMarkovLanguage(torch.tensor([0.5, 0.5, 0.0, 0.0]), stay, torch.eye(V), list("abcd"), L)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return DiffusionLM(V, VectorTransformer(VectorConfig(D, L, width=16, layers=1, heads=2))).eval()


def classifier_of(labels, seed=0):
    torch.manual_seed(seed)
    return LatentClassifier(labels, VectorConfig(D, L, width=16, layers=1, heads=2))


def first_letter(x):
    return torch.where(x[:, 0] < 2, x[:, 0], -1)


def batches(language, seed):
    generator = seeded(seed)
    while True:
        yield language.sample(64, generator=generator)


@pytest.fixture(scope="module")
def trained(language, model):
    classifier = classifier_of(["a", "b"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = train_latent_classifier(
        classifier, model, batches(language, 0), first_letter, 100, 1e-2, generator=seeded(1), progress=False
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and not classifier.training
    return classifier, losses


def test_it_learns_what_noise_leaves_and_no_more(trained, language, model):
    classifier, losses = trained
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)  # undecided at first
    x = language.sample(512, generator=seeded(3))
    by_time = []
    with torch.no_grad():
        for time in (0.05, 0.5, 1.0):
            t = torch.full((512,), time)
            by_time.append(label_loss(classifier, model, x, first_letter(x), t, seeded(4)).mean().item())
    assert by_time[0] < 0.1 and by_time[0] < by_time[1] < by_time[2] and abs(by_time[2] - math.log(2)) < 0.1


def test_says_is_a_log_probability_and_gradients_reach_the_vectors(trained):
    classifier, _ = trained
    z, t = torch.randn(5, L, D, generator=seeded(0)).requires_grad_(), torch.full((5,), 0.3)
    total = classifier.says("a")(z, t).exp() + classifier.says("b")(z, t).exp()
    torch.testing.assert_close(total, torch.ones(5))
    assert (torch.autograd.grad(classifier.says("a")(z, t).sum(), z)[0].flatten(1).norm(dim=-1) > 0).all()


@pytest.mark.slow
def test_it_steers_an_exact_denoiser_of_texts(trained, language, model):
    """The language's posterior as the denoiser: what is left to chance is the guidance."""

    class Exact:
        V, D, length, process, bias = V, D, L, model.process, model.bias
        embedding, self_conditioning = model.embedding, False
        round, start, logits = model.round, model.start, model.logits

        @staticmethod
        def x_hat(z, t):
            p = language.posterior(z, t, EmbeddingEvidence(model.embedding, model.process.schedule))
            return (p @ model.embedding.double()).to(z.dtype)

    shares = {}
    for name in ("free", "a", "b"):
        guide = None if name == "free" else classifier_guide(model.process, trained[0].says(name), 1e-3, 0.1)
        sample = sample_diffusion_lm(Exact(), 30, (128, L), generator=seeded(5), guide=guide)
        shares[name] = (sample.tokens[:, 0] == 0).double().mean().item()
        assert language.grammatical(sample.tokens).double().mean() > 0.9
    assert abs(shares["free"] - 0.5) < 0.15 and shares["a"] > 0.9 and shares["b"] < 0.1


# ---------------------------------------------------------------- true labels


def label_of(feature, *sentences):
    language = toy_language()
    place = feature_value(GRAMMAR, feature, torch.stack([language.encode(text) for text in sentences]))
    return [None if i < 0 else list(GRAMMAR.features[feature])[i] for i in place.tolist()]


def test_labels_are_read_by_the_grammar():
    fox = "the great brown fox hops over the lazy dog in brown boots"
    assert label_of("colour", fox, fox.replace("brown", "red")) == ["brown", "red"]
    assert label_of("colour", fox.replace("brown boots", "red boots")) == [None]  # they contradict each other
    assert label_of("colour", "fox " * 12) == [None]  # nothing says
    assert label_of("subject number", fox, fox.replace("fox hops", "foxes hop"), fox.replace("hops", "hop")) == [
        "one", "many", None,
    ]  # fmt: skip
    # A word that does not fit its place has no say.
    assert label_of("subject number", fox.replace("hops", "hat").replace("hat", "dog")) == ["one"]


def test_every_sentence_of_the_language_has_each_label_as_often_as_the_grammar_says():
    x = toy_language().sample(4000, generator=seeded(0))
    for feature, values in GRAMMAR.features.items():
        place = feature_value(GRAMMAR, feature, x)
        assert (place >= 0).all()
        for i, p in enumerate(values.values()):
            assert abs((place == i).double().mean().item() - p) < 4 * (p * (1 - p) / 4000) ** 0.5


# ---------------------------------------------------------------- bad input


def test_what_is_refused(model, language):
    classifier = classifier_of(["one", "many"])
    with pytest.raises(ValueError, match="no label 'few'; it knows one, many"):
        classifier.says("few")
    with pytest.raises(ValueError, match="different names"):
        classifier_of(["one", "one"])
    x, t = language.sample(3, generator=seeded(0)), torch.full((3,), 0.5)
    for label in (torch.tensor([0, 1, 2]), torch.tensor([0, -1, 1]), torch.tensor([0, 1])):
        with pytest.raises(ValueError, match=r"0\.\.1 per text \(one, many\)"):
            label_loss(classifier, model, x, label, t)
    none = lambda x: torch.full((len(x),), -1)  # noqa: E731
    with pytest.raises(ValueError, match="No text of this batch has a label"):
        train_latent_classifier(classifier, model, [x], none, 1, progress=False)
    with pytest.raises(ValueError, match="ran out after 1 of 2"):
        train_latent_classifier(classifier, model, [x], first_letter, 2, progress=False)
    for wrong in ({"fluency": -1.0}, {"learning_rate": 0.0}, {"updates": 0}):
        with pytest.raises(ValueError, match="at least one update"):
            classifier_guide(PROCESS, positive, **wrong)
    with pytest.raises(ValueError, match="no feature 'size'; it has subject number, object number, colour"):
        feature_value(GRAMMAR, "size", toy_language().sample(2))
    with pytest.raises(ValueError, match="exactly 12"):
        feature_value(GRAMMAR, "colour", torch.zeros(1, 3, dtype=torch.long))
