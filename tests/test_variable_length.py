"""The toy language with END and PAD: its figures, its lengths, and length as a prompt."""

import pytest
import torch

from difflm_core.data import length_prompt, text_length, variable_length_language
from difflm_core.data.variable_length import variable_length_grammar
from difflm_core.processes import masked
from difflm_core.samplers import first_hitting, sample_masked


def test_probabilities_sum_to_one_and_lengths_are_as_stated():
    shapes = variable_length_grammar().shapes
    assert len(shapes) == 24 and sum(p for p, _ in shapes) == pytest.approx(1)
    language = variable_length_language()
    assert (language.V, language.length) == (109, 14)
    n = 2000
    x = language.sample(n, generator=torch.Generator().manual_seed(0))
    assert language.grammatical(x).all()
    expected = torch.zeros(15, dtype=torch.float64)
    for p, slots in shapes:
        expected[[slot.words.get("") == ["."] for slot in slots].index(True)] += p
    found = text_length(language, x).bincount(minlength=15).double() / n
    assert expected.nonzero().flatten().tolist() == list(range(3, 14))
    assert ((found - expected).abs() <= 4 * (expected * (1 - expected) / n).sqrt()).all()


def test_after_end_comes_pad_and_only_pad():
    language = variable_length_language()
    x = language.sample(500, generator=torch.Generator().manual_seed(1))
    end, pad = language.encode(". _").tolist()
    place, lengths = torch.arange(14), text_length(language, x)[:, None]
    assert torch.equal(x == end, place == lengths) and torch.equal(x == pad, place > lengths)


def test_entropy_is_the_mean_surprise():
    language = variable_length_language()
    surprise = -language.log_prob(language.sample(1000, generator=torch.Generator().manual_seed(2)))
    assert abs(surprise.mean() - language.entropy()) < 4 * surprise.std() / 1000**0.5


def test_a_length_prompt_is_obeyed_exactly_by_the_exact_denoiser():
    language = variable_length_language()
    lengths = torch.tensor([3, 5, 8, 13] * 8)
    prompt = length_prompt(language, lengths)
    assert language.decode(prompt[0]) == "▢ ▢ ▢ . _ _ _ _ _ _ _ _ _ _"
    denoiser = language.denoiser(masked(language.V), typo_rate=0.0)
    sample = sample_masked(denoiser, first_hitting(), prompt.shape, prompt, torch.Generator().manual_seed(3))
    assert torch.equal(text_length(language, sample.tokens), lengths)
    assert language.grammatical(sample.tokens).all()


def test_lengths_that_are_read_and_refused():
    language = variable_length_language()
    word, end = language.encode("fox .").tolist()
    x = torch.tensor([[word] * 14, [end] + [word] * 12 + [end]])
    assert text_length(language, x).tolist() == [14, 0]
    for lengths in ([0, 3], [14]):
        with pytest.raises(ValueError, match="holds 1 to 13 words and END"):
            length_prompt(language, torch.tensor(lengths))
