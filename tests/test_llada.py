"""LLaDA put together: the schedule of counts, the sampler against its own words (predict all, keep some, mask the rest
again), and the estimator of likelihoods with exactly n masks.
"""

import pytest
import torch
from enumerable import FixedNoise, TinyLanguage, all_masks, random_denoiser, texts_p

from difflm_core.objectives import masked_nelbo, masked_nelbo_by_count
from difflm_core.processes import masked
from difflm_core.samplers import ancestral, confidence, sample_masked
from difflm_core.samplers.llada import (
    after_prompt,
    ends_early,
    in_random_order,
    sample_llada,
    transfer_counts,
    until,
)

V, L = 3, 4
LANGUAGE = TinyLanguage(V, L)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Hashed:
    """A network for canvases too long to enumerate: logits that depend on the whole page, through a random table."""

    V = 7

    def hidden(self, z, t=None):
        key = (z * torch.arange(1, z.shape[1] + 1) ** 2).sum(1).tolist()
        return torch.stack([torch.randn(z.shape[1], self.V, generator=seeded(k), dtype=torch.float64) for k in key])

    def logits(self, h):
        return h


# --- how many in each call --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", [1, 2, 3, 5, 8, 13])
def test_transfer_counts_are_their_definition(T):
    masks = torch.arange(14)
    counts = transfer_counts(masks, T)
    assert torch.equal(counts.sum(1), masks)  # every position exactly once
    assert int((counts.amax(1) - counts.amin(1)).max()) <= 1 and bool((counts.diff(dim=1) <= 0).all())


@pytest.mark.parametrize("T", [1, 3, 4, 9])
def test_the_plans_keep_to_them(T):
    prompt = torch.full((4, 9), Hashed.V)
    for row in range(4):
        prompt[row, : 2 * row] = 0
    expected = transfer_counts((prompt == Hashed.V).sum(1), T)
    for plan in (confidence(T), in_random_order(T)):
        written = [f.written for f in sample_masked(Hashed(), plan, (4, 9), prompt, seeded(), record=True).trajectory]
        assert torch.equal(sum(w.long() for w in written), (prompt == Hashed.V).long())
        for row in range(4):
            made = sorted(int(w[row].sum()) for w in written if w[row].any())
            assert made == sorted(n for n in expected[row].tolist() if n)


# --- sampling ---------------------------------------------------------------------------------------------------------


def in_its_own_words(network, prompt, new, steps, block, w):
    """Greedy LLaDA, one row: predict every mask, keep the surest of the block, put the mask back on all others."""
    V, P = network.V, len(prompt)
    x = torch.cat([prompt, torch.full((new,), V)])
    ask = lambda z: network.logits(network.hidden(z[None]))[0]  # noqa: E731
    for start in range(P, P + new, block):
        for count in transfer_counts(torch.tensor([block]), steps * block // new)[0].tolist():
            logits = ask(x)
            if w:
                blind = x.clone()
                blind[:P] = V
                logits = ask(blind) + (w + 1) * (logits - ask(blind))
            sure, best = logits.softmax(-1).max(-1)
            predicted = torch.where(x == V, best, x)
            sure = sure.masked_fill(x != V, -1)
            sure[start + block :] = -1
            kept = x != V
            kept[sure.topk(count).indices] |= count > 0
            x = torch.where(kept, predicted, V)
    return x


@pytest.mark.parametrize("w", [0.0, 1.5])
@pytest.mark.parametrize("block, steps", [(8, 8), (8, 3), (4, 4), (2, 4), (4, 2), (1, 8)])
def test_it_is_what_the_paper_says(block, steps, w):
    prompt = torch.randint(Hashed.V, (3, 3), generator=seeded())
    out = sample_llada(Hashed(), prompt, 8, steps, block, w=w)
    for row in range(3):
        assert out.tokens[row].tolist() == in_its_own_words(Hashed(), prompt[row], 8, steps, block, w).tolist()
    assert out.network_calls.tolist() == [steps * (2 if w else 1)] * 3


@pytest.mark.parametrize("remasking", [confidence, in_random_order])
def test_blocks_begin_behind_the_prompt(remasking):
    out = sample_llada(Hashed(), torch.zeros(2, 3, dtype=torch.long), 6, 6, 2, remasking, 0, 1.0, seeded(), True)
    for call, frame in enumerate(out.trajectory[1:]):
        assert (frame.written.nonzero()[:, 1] - 3).div(2, rounding_mode="floor").tolist() == [call // 2] * 2
        assert torch.allclose(frame.time, torch.tensor((6 - call) / 9))


def test_random_remasking_one_at_a_time_is_exact():
    """With the exact network, one token per call in random order draws from the language; behind a prompt too."""
    n, denoiser = 4000, LANGUAGE.denoiser()
    text = sample_llada(denoiser, torch.zeros(n, 0, dtype=torch.long), L, L, None, in_random_order, 0, 1.0, seeded())
    assert texts_p(text.tokens, V, LANGUAGE.p) > 1e-3
    given = sample_llada(denoiser, torch.full((n, 1), 2), L - 1, L - 1, 1, in_random_order, 0, 1.0, seeded())
    begins = LANGUAGE.texts[:, 0] == 2
    assert texts_p(given.tokens, V, LANGUAGE.p * begins / LANGUAGE.p[begins].sum()) > 1e-3


def test_a_plan_after_no_prompt_is_the_plan():
    masked_ = torch.ones(5, 6, dtype=torch.bool)
    one, same = ancestral(4).arrange(masked_, seeded()), after_prompt(0, ancestral(4)).arrange(masked_, seeded())
    assert all(torch.equal(getattr(one, part), getattr(same, part)) for part in ("group", "time", "window"))


def test_where_answers_end():
    tokens = torch.tensor([[9, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]])
    assert until(tokens[0], 0, 1).tolist() == [1, 2] and until(tokens[1], 0, 1).tolist() == [1, 2, 3, 4, 5]
    assert ends_early(tokens, 0, 1).tolist() == pytest.approx([3 / 5, 0])


# --- likelihood -------------------------------------------------------------------------------------------------------


def moments(denoiser, x) -> tuple[float, float, list]:
    """Mean and variance of the estimate for one text with exactly n masks, n uniform on 1..L, by enumeration; and for
    each pattern of masks (its size, sum of -log p at its masks).
    """
    costs = []
    for pattern in all_masks(L):
        if pattern.any():
            fixed = FixedNoise(masked(V), torch.where(pattern, V, x)[None])
            one = masked_nelbo(fixed, denoiser, x[None], torch.ones(1).double())  # weight 1/t = 1
            costs.append((int(pattern.sum()), one.sum().item()))
    of_size = {n: [cost for size, cost in costs if size == n] for n in range(1, L + 1)}
    draws = [(L / n) * cost for n, group in of_size.items() for cost in group]
    chance = [1 / L / len(group) for group in of_size.values() for _ in group]
    mean = sum(p * d for p, d in zip(chance, draws))
    return mean, sum(p * d * d for p, d in zip(chance, draws)) - mean**2, costs


@pytest.mark.parametrize("denoiser", [LANGUAGE.denoiser(), random_denoiser(V, L)], ids=["exact", "arbitrary"])
def test_counting_masks_is_unbiased_and_quieter_than_drawing_them(denoiser):
    """LLaDA Eq. 6 against Eq. 3. The mean is the bound itself, here summed by hand over times and masks; the variance
    is finite, while that of 1/t times a cross-entropy grows without end as the smallest time goes to 0.
    """
    x = LANGUAGE.texts[11]
    mean, variance, costs = moments(denoiser, x)

    def of_drawn_times(lowest: float) -> tuple[float, float]:
        t = torch.linspace(lowest, 1, 20_001, dtype=torch.float64)
        chance = [t**n * (1 - t) ** (L - n) for n, _ in costs]
        first = sum(torch.trapezoid(p / t * cost, t) for p, (_, cost) in zip(chance, costs))
        second = sum(torch.trapezoid(p / t**2 * cost**2, t) for p, (_, cost) in zip(chance, costs))
        return first.item(), (second - first**2).item()

    assert of_drawn_times(1e-6)[0] == pytest.approx(mean, rel=1e-3)
    noisy = [of_drawn_times(lowest)[1] for lowest in (0.1, 0.01, 0.001)]
    assert variance < noisy[0] < noisy[1] < noisy[2]

    n = 20_000
    t = torch.rand(n, generator=seeded(), dtype=torch.float64)
    draws = masked_nelbo_by_count(masked(V), denoiser, x.expand(n, -1), t, seeded(1)).sum(1)
    assert abs(draws.mean().item() - mean) < 4 * (variance / n) ** 0.5
    assert draws.var().item() == pytest.approx(variance, rel=0.1)


def test_the_exact_network_gets_the_exact_likelihood():
    """All orders of its conditionals multiply to p(x), so the bound is tight for every single text."""
    for row in (0, 11, 40):
        mean, _, _ = moments(LANGUAGE.denoiser(), LANGUAGE.texts[row])
        assert mean == pytest.approx(-LANGUAGE.p[row].log().item(), abs=1e-9)


@pytest.mark.parametrize("call, message", [
    (lambda: sample_llada(Hashed(), torch.full((1, 2), 7), 4, 4), "no mask"),
    (lambda: sample_llada(Hashed(), torch.zeros(2, dtype=torch.long), 4, 4), "batch, tokens"),
    (lambda: sample_llada(Hashed(), torch.zeros(1, 2, dtype=torch.long), 6, 4, 4), "do not divide an answer of 6"),
    (lambda: sample_llada(Hashed(), torch.zeros(1, 2, dtype=torch.long), 8, 3, 4), "3 steps do not divide into 2"),
    (lambda: transfer_counts(torch.tensor([3]), 0), "at least one step"),
    (lambda: transfer_counts(torch.tensor([-1]), 2), "masks of each row"),
    (lambda: after_prompt(-1, confidence(2)), "0 tokens or more"),
])  # fmt: skip
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
