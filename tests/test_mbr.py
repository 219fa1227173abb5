"""Minimum Bayes risk: n-gram scores against counting by hand, and the choice against the definition."""

from collections import Counter

import pytest
import torch

from difflm_core.samplers import minimum_bayes_risk, ngram_loss


def by_hand(one, other, order, ignore):
    """1 - mean F over n, with Python's counters."""
    scores = []
    for n in range(1, order + 1):
        grams = []
        for text in (one, other):
            pieces = (tuple(text[i : i + n]) for i in range(len(text) - n + 1))
            grams.append(Counter(piece for piece in pieces if ignore not in piece))
        total = grams[0].total() + grams[1].total()
        scores.append(2 * (grams[0] & grams[1]).total() / total if total else 1.0)
    return 1 - sum(scores) / order


@pytest.mark.parametrize("order,ignore", [(1, None), (2, None), (4, None), (3, 0)])
def test_the_loss_is_what_counting_gives(order, ignore):
    texts = torch.randint(0, 3, (12, 6), generator=torch.Generator().manual_seed(order))
    expected = torch.tensor([[by_hand(a, b, order, ignore) for b in texts.tolist()] for a in texts.tolist()])
    found = ngram_loss(texts, order, ignore)
    torch.testing.assert_close(found, expected.double(), rtol=0, atol=1e-7)
    torch.testing.assert_close(found, found.T)
    assert (found.diagonal() == 0).all()


def test_a_known_pair_a_text_shorter_than_the_order_and_pads():
    texts = torch.tensor([[1, 2, 2, 3], [2, 2, 1, 4]])  # words in common: 1, 2, 2; pairs in common: (2, 2)
    assert ngram_loss(texts)[0, 1].item() == pytest.approx(1 - (3 / 4 + 1 / 3) / 2)
    assert ngram_loss(torch.tensor([[1], [2]]), order=2)[0, 1].item() == pytest.approx(0.5)  # neither has a pair
    padded = torch.tensor([[1, 2, 0, 0], [1, 2, 3, 0], [0, 0, 0, 0]])
    assert ngram_loss(padded, 1, ignore=0)[0].tolist() == pytest.approx([0, 1 - 4 / 5, 1])


def test_the_choice_is_the_definition_and_the_blunder_loses():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 20, (5, 1, 8), generator=generator)
    noisy = torch.rand(5, 9, 8, generator=generator) < 0.2
    samples = torch.where(noisy, torch.randint(0, 20, (5, 9, 8), generator=generator), truth)
    samples[:, 0] = torch.randint(20, 40, (5, 8), generator=generator)  # foreign to all the others
    chosen = minimum_bayes_risk(samples)
    for source, texts in enumerate(samples):
        risk = [sum(by_hand(a, b, 2, None) for b in texts.tolist()) / 9 for a in texts.tolist()]
        assert chosen.risk[source].tolist() == pytest.approx(risk)
        assert chosen.index[source] == risk.index(min(risk)) != 0 and chosen.risk[source].argmax() == 0
        assert torch.equal(chosen.tokens[source], texts[chosen.index[source]])


def test_any_loss_will_do_and_zero_one_loss_is_the_mode():
    samples = torch.tensor([[[1, 1], [2, 3], [1, 2], [2, 3], [1, 3]]])
    chosen = minimum_bayes_risk(samples, lambda texts: (texts[:, None] != texts).any(-1).double())
    assert chosen.tokens.tolist() == [[2, 3]] and chosen.index.tolist() == [1]
    one_way = minimum_bayes_risk(samples, lambda texts: texts[:, None].sum(-1).double().expand(-1, len(texts)))
    assert one_way.tokens.tolist() == [[1, 1]]  # the loss is read as loss[answer, truth]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"must be \(B, N, L\)"):
        minimum_bayes_risk(torch.zeros(3, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="at least one sample"):
        minimum_bayes_risk(torch.zeros(3, 0, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="at least one word"):
        ngram_loss(torch.zeros(2, 3, dtype=torch.long), order=0)
