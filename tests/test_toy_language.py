"""The toy language: its exact figures, its rules, and that the rules are the language."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from difflm_core.data.toy_language import broken_rules, toy_language
from difflm_core.oracle import Grammar, Slot, build_language
from difflm_core.oracle.entropy import by_position

FOX = "the great brown fox hops over the lazy dog in brown boots"
GOOD = [
    FOX,
    "every brown fox hops over the lazy dog with its brown cub",
    "the great brown foxes hop over a dog near their brown den",
    "the great brown fox hops over many lazy dogs in brown boots",
]


def rules_broken(sentence):
    language = toy_language()
    return {rule for rule, broken in broken_rules(language, language.encode(sentence)[None]).items() if broken.item()}


def none_broken(x):
    return ~torch.stack(list(broken_rules(toy_language(), x).values())).any(0)


# ---------------------------------------------------------------- exact figures


def test_size_and_entropy_are_the_known_ones():
    language = toy_language()
    assert (language.V, len(language.initial), language.length) == (114, 350, 12)
    entropies, beliefs = by_position(language.chain, 12)
    assert sum(beliefs) == 377 and max(beliefs) == 96
    assert entropies.sum().item() / 12 == pytest.approx(1.7541712891, abs=1e-9)
    assert language.positional_entropy() / 12 == pytest.approx(2.5132645448, abs=1e-9)
    assert language.independent_grammatical() == pytest.approx(4.0810e-4, rel=1e-4)


def test_entropy_is_the_mean_surprise_of_samples():
    language = toy_language()
    surprise = -language.log_prob(language.sample(8000, generator=torch.Generator().manual_seed(1)))
    assert abs(surprise.mean() - language.entropy()) < 4 * surprise.std() / 8000**0.5


def test_a_second_sentence_costs_as_much_as_the_first():
    assert toy_language().entropy(24) == pytest.approx(2 * toy_language().entropy(12), abs=1e-9)
    x = toy_language().sample(50, 24, torch.Generator().manual_seed(0))
    torch.testing.assert_close(toy_language().log_prob(x),
                               toy_language().log_prob(x[:, :12]) + toy_language().log_prob(x[:, 12:]))


def test_words_drawn_alone_are_as_rarely_grammatical_as_computed():
    n = 100_000
    x = toy_language().sample_independent(n, generator=torch.Generator().manual_seed(0))
    found, expected = none_broken(x).sum().item(), n * toy_language().independent_grammatical()
    assert abs(found - expected) < 4 * expected**0.5


# ---------------------------------------------------------------- the rules


@pytest.mark.parametrize("sentence", GOOD)
def test_the_sentences_of_the_course_are_grammatical(sentence):
    language = toy_language()
    assert language.grammatical(language.encode(sentence)[None]).item()
    assert language.log_prob(language.encode(sentence)[None]).isfinite().item()
    assert rules_broken(sentence) == set()


@pytest.mark.parametrize("sentence,rules", [
    ("the great brown fox hop over the lazy dog in brown boots", {"subject number"}),
    ("these great brown fox hops over the lazy dog in brown boots", {"subject number"}),
    ("every brown fox hops over the lazy dog with their brown cub", {"subject number"}),
    ("the great brown fox hops over these lazy dog in brown boots", {"object number"}),
    ("the great brown fox hops over the lazy dog in red boots", {"colour"}),
    ("the great brown fox hop over these lazy dog in red boots", {"subject number", "object number", "colour"}),
    ("the great brown fox hops over the lazy dog in boots brown", {"word order"}),
    ("fox fox fox fox fox fox fox fox fox fox fox fox", {"word order"}),
    ("the great brown fox hop over the lazy dog in brown brown", {"word order", "subject number"}),
])
def test_each_rule_is_told_apart(sentence, rules):
    assert rules_broken(sentence) == rules


@settings(max_examples=15)
@given(st.integers(0, 2**31 - 1), st.integers(1, 4))
def test_grammatical_means_no_rule_broken(seed, changes):
    """Samples with a few words changed: for the word there in another sentence, for any word, or for a neighbour."""
    language, generator = toy_language(), torch.Generator().manual_seed(seed)
    x = language.sample(400, generator=generator)
    assert none_broken(x).all()
    other, anything = x.roll(1, 0), torch.randint(language.V, x.shape, generator=generator)
    swapped = x.roll(1, 1)
    change = torch.rand(x.shape, generator=generator) < changes / 12
    for source in (other, anything, swapped):
        changed = torch.where(change, source, x)
        ok = language.grammatical(changed)
        assert torch.equal(none_broken(changed), ok)
        assert torch.equal(language.log_prob(changed).isfinite(), ok)
    assert language.grammatical(torch.where(change, other, x)).any()


def test_no_vowel_follows_a():
    language = toy_language()
    says_a = language.emission[:, language.encode("a").item()] > 0
    next_word = (language.transition[says_a].sum(0) @ language.emission) > 0
    following = [word for word, possible in zip(language.words, next_word) if possible]
    assert "fox" in following and not [word for word in following if word[0] in "aeiou"]


def test_every_word_is_used():
    assert (toy_language().positional_marginals().sum(0) > 1e-4).all()


def test_the_colour_is_known_from_nine_words_away():
    class Masking:
        V = 114

        def masses(self, t):
            return 1 - t, t, torch.zeros_like(t)

    language = toy_language()
    z = language.encode("every ▢ ▢ ▢ ▢ ▢ ▢ ▢ ▢ ▢ brown cub")[None]
    posterior = language.posterior(z, None, Masking())[0]
    brown, red = language.encode("brown red")
    assert posterior[1, brown] > 0.4 and posterior[1, red] == 0  # the rest of the mass is on adjectives
    assert language.words[posterior[9].argmax()] == "its"
    with pytest.raises(ValueError, match="Row 0 of z_t"):
        language.posterior(language.encode("every red ▢ ▢ ▢ ▢ ▢ ▢ ▢ ▢ brown cub")[None], None, Masking())


# ---------------------------------------------------------------- text and ids, bad input


def test_text_to_ids_and_back():
    language = toy_language()
    assert language.decode(language.encode(FOX)) == FOX
    masked = "the ▢ brown fox"
    assert language.encode(masked)[1] == language.V == language.mask_id
    assert language.decode(language.encode(masked)) == masked
    assert language.encode("").shape == (0,)


def test_unknown_words_and_ids_are_named():
    language = toy_language()
    with pytest.raises(ValueError, match="'foxs' is not a word of this language; the nearest are foxes, fox, hops"):
        language.encode("the foxs")
    with pytest.raises(ValueError, match="'xylophone' is not a word"):
        language.encode("xylophone")
    with pytest.raises(ValueError, match="115 is not an id"):
        language.decode(torch.tensor([115]))
    with pytest.raises(ValueError, match="takes one row"):
        language.decode(torch.zeros(2, 3, dtype=torch.long))


def test_rules_refuse_other_lengths_and_languages():
    with pytest.raises(ValueError, match="exactly 12"):
        broken_rules(toy_language(), torch.zeros(1, 11, dtype=torch.long))
    other = build_language(Grammar([(1.0, [Slot({"": ["a", "b"]})])], {}))
    with pytest.raises(ValueError, match="rules of toy_language"):
        broken_rules(other, torch.zeros(1, 1, dtype=torch.long))


def test_a_grammar_of_two_lines():
    """A feature is drawn at its first slot, remembered to its last, and forgotten for the next sentence."""
    first, last = (Slot({"x": ["x"], "y": ["y"]}, "letter") for _ in range(2))
    between = Slot({"": ["-"]})
    language = build_language(Grammar([(1.0, [first, between, last])], {"letter": {"x": 0.75, "y": 0.25}}))
    assert (language.words, language.length, len(language.initial)) == (["x", "y", "-"], 3, 6)
    x = torch.stack([language.encode(text) for text in ("x - x", "y - y", "x - y")])
    torch.testing.assert_close(language.log_prob(x).exp(), torch.tensor([0.75, 0.25, 0.0], dtype=torch.float64))
    two = torch.stack([language.encode(text) for text in ("x - x y - y", "x - x x - x")])
    torch.testing.assert_close(language.log_prob(two).exp(), torch.tensor([0.1875, 0.5625], dtype=torch.float64))
    with pytest.raises(ValueError, match=r"shapes have \[1, 2\] slots"):
        build_language(Grammar([(0.5, [between]), (0.5, [between, between])], {}))
