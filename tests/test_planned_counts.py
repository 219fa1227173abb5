"""The plan with given numbers per call: what each call reveals, in which order, and the law of its texts."""

import itertools

import pytest
import torch
from enumerable import TinyLanguage, all_sequences, index_of, random_denoiser, texts_p

from difflm_core.samplers import ancestral, counts, first_hitting, prompt_canvas, sample_masked

V, L = 3, 4


class Free:
    """A Denoiser of any length with the same answer everywhere."""

    V = 5

    def hidden(self, z_t, t):
        self.t = t
        return torch.zeros(*z_t.shape, 5)

    def logits(self, h):
        return h


def revealed(plan, shape, prompt=None, seed=0) -> torch.Tensor:
    """How many positions each call revealed, (calls, B)."""
    out = sample_masked(Free(), plan, shape, prompt, torch.Generator().manual_seed(seed), record=True)
    return torch.stack([frame.written.sum(1) for frame in out.trajectory[1:]])


@pytest.mark.parametrize("numbers", [[1, 1, 1, 1, 2, 2, 2, 2], [12], [1] * 12, [5, 7], [2, 2, 2, 2, 1, 1, 1, 1]])
def test_each_call_reveals_its_number(numbers):
    assert revealed(counts(numbers), (6, 12)).tolist() == [[n] * 6 for n in numbers]


def test_a_list_with_another_sum_is_scaled():
    assert revealed(counts([1, 1, 2]), (3, 12))[:, 0].tolist() == [3, 3, 6]
    assert revealed(counts([1, 2]), (3, 10))[:, 0].tolist() == [3, 7]
    assert revealed(counts([1, 1, 1, 1, 2, 2, 2, 2]), (1, 3)).sum() == 3  # some calls are not made


def test_every_row_is_scaled_to_its_own_number_of_masks():
    prompt = torch.full((3, 12), 5)
    prompt[1, :6] = 0
    prompt[2] = 0
    out = sample_masked(Free(), counts([1, 2]), (3, 12), prompt, torch.Generator().manual_seed(0), record=True)
    assert torch.stack([f.written.sum(1) for f in out.trajectory[1:]]).T.tolist() == [[4, 8], [2, 4], [0, 0]]
    assert out.network_calls.tolist() == [2, 2, 0]


def test_the_time_shown_is_the_share_of_masks():
    out = sample_masked(Free(), counts([1, 3, 4]), (2, 8), generator=torch.Generator().manual_seed(0), record=True)
    assert [frame.time[0].item() for frame in out.trajectory[1:]] == [1, 7 / 8, 4 / 8]


def test_the_order_is_random_and_even():
    out = sample_masked(Free(), counts([1, 11]), (6000, 12), generator=torch.Generator().manual_seed(1), record=True)
    first = out.trajectory[1].written.double().mean(0)
    assert (first - 1 / 12).abs().max() < 4 * (1 / 12 / 6000) ** 0.5


def law_of(denoiser, numbers) -> torch.Tensor:
    """The law over all V^L texts by summing over every order of the positions: written without the code under test."""
    law = torch.zeros(V**L, dtype=torch.float64)
    texts, orders = all_sequences(V, L), list(itertools.permutations(range(L)))
    for order in orders:
        p, z, start = torch.ones(len(texts), dtype=torch.float64), torch.full_like(texts, V), 0
        for n in numbers:
            t = torch.full((len(texts),), (L - start) / L, dtype=torch.float64)
            q = denoiser.logits(denoiser.hidden(z, t)).softmax(-1).gather(-1, texts[..., None])[..., 0]
            for i in order[start : start + n]:
                p, z = p * q[:, i], z.index_put((torch.arange(len(z)), torch.tensor(i)), texts[:, i])
            start += n
        law += p / len(orders)
    return law


@pytest.mark.parametrize("numbers", [[1, 1, 2], [2, 1, 1], [1, 3]])
def test_the_texts_follow_the_enumerated_law(numbers):
    denoiser = random_denoiser(V, L, with_time=True)
    out = sample_masked(denoiser, counts(numbers), (20_000, L), generator=torch.Generator().manual_seed(2))
    law = law_of(denoiser, numbers)
    assert law.sum().item() == pytest.approx(1, abs=1e-12) and texts_p(out.tokens, V, law) > 1e-3


def test_one_per_call_is_exact_with_the_exact_denoiser():
    language = TinyLanguage(V, L)
    for plan in (counts([1] * L), first_hitting()):
        out = sample_masked(language.denoiser(), plan, (20_000, L), generator=torch.Generator().manual_seed(3))
        assert texts_p(out.tokens, V, language.p) > 1e-3
    out = sample_masked(language.denoiser(), counts([2, 2]), (20_000, L), generator=torch.Generator().manual_seed(3))
    assert texts_p(out.tokens, V, language.p) < 1e-6


def test_planned_numbers_lose_less_than_coins_at_equal_steps():
    """With the exact denoiser: distance to the truth, planned 1 1 2 against ancestral(3), both at most three calls."""
    language = TinyLanguage(V, L)
    planned = law_of(language.denoiser(), [1, 1, 2])
    out = sample_masked(language.denoiser(), ancestral(3), (40_000, L), generator=torch.Generator().manual_seed(4))
    coins = torch.bincount(index_of(out.tokens, V), minlength=V**L) / len(out.tokens)
    distance = lambda q: (q - language.p).abs().sum().item() / 2  # noqa: E731
    assert distance(planned) < distance(coins) - 0.01


def test_prompts_stay():
    prompt = prompt_canvas(torch.tensor([4, 3, 2]), (5, 9), 5)
    out = sample_masked(Free(), counts([1, 2]), (5, 9), prompt, torch.Generator().manual_seed(5))
    assert torch.equal(out.tokens[:, :3], prompt[:, :3]) and bool((out.tokens < 5).all())


@pytest.mark.parametrize("numbers", [[], [1, 0], [0.5, 0.5], [-1, 2]])
def test_refusals(numbers):
    with pytest.raises(ValueError, match="whole numbers, at least 1"):
        counts(numbers)
