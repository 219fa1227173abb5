"""LLaDA's parts: masking the answer only, counting masks for likelihoods, the schedule of how many tokens are revealed,
and guidance by hiding the prompt.
"""

import pytest
import torch
from enumerable import FixedNoise, TinyLanguage, all_masks, all_sequences, chi_square_p, random_denoiser

from difflm_core.objectives import (
    answer_nelbo,
    answer_nelbo_by_count,
    answer_rows,
    masked_nelbo,
    masked_nelbo_by_count,
)
from difflm_core.processes import Cosine, hybrid, masked
from difflm_core.samplers import PromptGuidance, blocks, confidence, counts, sample_in_order, sample_masked, surest

V, L = 3, 4
LANGUAGE = TinyLanguage(V, L)
TEXTS = all_sequences(V, L)
PROCESS = masked(V)
WITH_TIME = random_denoiser(V, L, with_time=True)
ANSWERS = torch.tensor([[False, True, True, False], [False, False, True, True], [True, True, True, True]])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def log_p_given(x: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """log p(answer | the rest of x), by enumeration."""
    same = TEXTS[:, None] == x  # (V^L, N, L)
    return (same.all(-1).double().T @ LANGUAGE.p).log() - ((same | answer).all(-1).double().T @ LANGUAGE.p).log()


# --- the bound on the answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [None, Cosine()], ids=["linear", "cosine"])
def test_when_everything_is_answer_it_is_the_masked_bound(schedule):
    process, t = masked(V, schedule), torch.rand(len(TEXTS), generator=seeded()).double()
    everything = torch.ones_like(TEXTS, dtype=torch.bool)
    for part, whole in ((answer_nelbo, masked_nelbo), (answer_nelbo_by_count, masked_nelbo_by_count)):
        expected = whole(process, WITH_TIME, TEXTS, t, seeded(1))
        assert torch.equal(part(process, WITH_TIME, TEXTS, everything, t, seeded(1)), expected)


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_question_is_never_masked(answer):
    seen = []
    denoiser = random_denoiser(V, L)
    hidden = denoiser.hidden
    denoiser.hidden = lambda z, t=None: seen.append(z) or hidden(z, t)
    rows, t = answer.expand(TEXTS.shape), torch.rand(len(TEXTS), generator=seeded())
    for objective in (answer_nelbo, answer_nelbo_by_count):
        nats = objective(PROCESS, denoiser, TEXTS, rows, t, seeded(1))
        z = seen.pop()
        assert torch.equal(z[:, ~answer], TEXTS[:, ~answer]) and bool((z[:, answer] == V).any())
        assert torch.equal(nats != 0, z == V)


@pytest.mark.parametrize("answer", ANSWERS)
def test_counting_masks_gives_the_exact_likelihood_in_the_mean(answer):
    """For the exact denoiser every order of the answer costs -log p(answer | question), and so does their mean."""
    x, A = TEXTS[::8], int(answer.sum())
    draws = 600
    n = torch.arange(A).repeat_interleave(draws)
    t = ((n + 0.5) / A).double().repeat_interleave(len(x))
    rows = x.repeat(len(n), 1)
    nats = answer_nelbo_by_count(PROCESS, LANGUAGE.denoiser(), rows, answer.expand(rows.shape), t, seeded())
    nats = nats.sum(1).view(len(n), len(x))
    error = nats.std(0) / len(n) ** 0.5
    assert bool(((nats.mean(0) + log_p_given(x, answer)).abs() <= 4.5 * error).all())


def test_drawn_times_give_it_too():
    """The mean over t of w(t) and of all masks: the integral of (1 - t)^k t^(n - 1) is a Beta function."""
    answer, x, total = ANSWERS[0], TEXTS, 0
    for mask in all_masks(L):
        if not mask.any() or (mask & ~answer).any():
            continue
        n, k = int(mask.sum()), int((answer & ~mask).sum())
        z, half = torch.where(mask, V, x), torch.full((len(x),), 0.5).double()
        nats = answer_nelbo(FixedNoise(PROCESS, z), LANGUAGE.denoiser(), x, answer.expand(x.shape), half)
        beta = torch.lgamma(torch.tensor([n, k + 1.0, n + k + 1.0]).double())
        total = total + 0.5 * nats.sum(1) * (beta[0] + beta[1] - beta[2]).exp()  # w(1/2) = 2
    torch.testing.assert_close(total, -log_p_given(x, answer), rtol=1e-10, atol=1e-10)


def test_an_answer_of_one_token_is_exact_in_one_draw():
    answer = torch.eye(L, dtype=torch.bool)[torch.arange(len(TEXTS)) % L]
    t = torch.rand(len(TEXTS), generator=seeded()).double()
    nats = answer_nelbo_by_count(PROCESS, LANGUAGE.denoiser(), TEXTS, answer, t, seeded()).sum(1)
    expected = torch.stack([-log_p_given(TEXTS[i : i + 1], answer[i])[0] for i in range(len(TEXTS))])
    torch.testing.assert_close(nats, expected, rtol=1e-10, atol=1e-10)


def test_rows_with_answers_of_different_lengths():
    """Each row's count is a share of its own answer."""
    answer = torch.tensor([[False, False, False, True], [False, True, True, True], [True] * 4])
    t, seen = torch.full((3,), 0.6), []
    denoiser = random_denoiser(V, L)
    hidden = denoiser.hidden
    denoiser.hidden = lambda z, t=None: seen.append(z) or hidden(z, t)
    answer_nelbo_by_count(PROCESS, denoiser, TEXTS[:3], answer, t, seeded())
    assert (seen[0] == V).sum(1).tolist() == [1, 2, 3]


def test_answers_are_filled_up_with_the_end_token():
    questions, replies = [torch.tensor([5, 6]), torch.tensor([7])], [torch.tensor([1]), torch.tensor([2, 3, 4])]
    x, answer = answer_rows(questions, replies, 6, end=0)
    assert x.tolist() == [[5, 6, 1, 0, 0, 0], [7, 2, 3, 4, 0, 0]]
    assert answer.long().tolist() == [[0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]]  # the end tokens are learned too


# --- how many tokens in each call -------------------------------------------------------------------------------------


def by_hand(masks: int, steps: int) -> list[int]:
    """LLaDA's transfer counts: equal shares, the remainder one by one to the first steps; empty steps make no call."""
    return [n for n in (masks // steps + (k < masks % steps) for k in range(steps)) if n]


class Even:
    """A network that is equally unsure of every token."""

    V = 5

    def hidden(self, z, t=None):
        return torch.randn(*z.shape, self.V, generator=seeded(int((z == self.V).sum())))

    def logits(self, h):
        return h


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 12, 40])
@pytest.mark.parametrize("known", [0, 1, 5])
def test_low_confidence_remasking_keeps_to_its_counts(steps, known):
    prompt = torch.full((2, 12), 5)
    prompt[:, :known] = 3
    out = sample_masked(Even(), confidence(steps), (2, 12), prompt, seeded(), record=True)
    written = torch.stack([frame.written for frame in out.trajectory[1:]])
    assert torch.equal(written.sum(0), (prompt == 5).long())  # every position once, the prompt never
    for row in range(2):
        assert written[:, row].sum(1).tolist() == by_hand(12 - known, steps)


@pytest.mark.parametrize("size, steps", [(4, 2), (4, 3), (6, 4), (3, 1), (12, 5)])
def test_in_blocks_each_block_keeps_to_them(size, steps):
    """LLaDA's semi-autoregressive sampling: the same counts in every block, block after block."""
    out = sample_masked(Even(), blocks(size, confidence(steps)), (1, 12), generator=seeded(), record=True)
    written = torch.stack([frame.written[0] for frame in out.trajectory[1:]])
    assert written.sum(1).tolist() == by_hand(size, steps) * (12 // size)
    assert bool((written.sum(0) == 1).all())
    for call in written:
        assert len(set((call.nonzero()[:, 0] // size).tolist())) == 1


def test_random_remasking_has_planned_counts_in_random_order():
    out = sample_masked(Even(), counts([3, 3, 2, 2]), (300, 10), generator=seeded(), record=True)
    written = torch.stack([frame.written for frame in out.trajectory[1:]])  # (4, 300, 10)
    assert bool((written.sum(2) == torch.tensor([3, 3, 2, 2])[:, None]).all()) and bool((written.sum(0) == 1).all())
    first = written[0].nonzero()[:, 1]
    assert chi_square_p(first, torch.full((10,), 0.1).double()) > 1e-3


# --- guidance ---------------------------------------------------------------------------------------------------------

GIVEN = torch.tensor([True, True, False, False])


@pytest.mark.parametrize("w", [-1.0, 0.0, 0.5, 2.0])
def test_guidance_is_a_power_of_the_condition(w):
    """p(x_i | page, prompt)^(w + 1) / p(x_i | page)^w, from the language's own probabilities."""
    z = torch.tensor([[0, 1, V, V], [2, 1, V, 1], [1, 1, 0, V]])
    guided = PromptGuidance(LANGUAGE.denoiser(), GIVEN, w)
    found = guided.logits(guided.hidden(z)).softmax(-1)
    one_hot = torch.nn.functional.one_hot(TEXTS, V).double()
    conditional, plain = (
        torch.einsum("nk,klv->nlv", LANGUAGE.given(page), one_hot) for page in (z, z.masked_fill(GIVEN, V))
    )
    masked_now = z == V
    expected = conditional[masked_now] ** (w + 1) / plain[masked_now] ** w
    torch.testing.assert_close(found[masked_now], expected / expected.sum(-1, keepdim=True), rtol=1e-9, atol=1e-12)


def test_without_guidance_one_call_and_the_same_text():
    prompt, inner = torch.tensor([[0, 1, V, V]]).expand(50, -1), random_denoiser(V, L)
    plain = sample_masked(inner, confidence(2), (50, L), prompt, seeded())
    inner.times_shown.clear()
    guided = sample_masked(PromptGuidance(inner, GIVEN, 0.0), confidence(2), (50, L), prompt, seeded())
    assert torch.equal(guided.tokens, plain.tokens) and len(inner.times_shown) == 2
    inner.times_shown.clear()
    sample_masked(PromptGuidance(inner, GIVEN, 1.0), confidence(2), (50, L), prompt, seeded())
    assert len(inner.times_shown) == 4


def test_guidance_pulls_texts_towards_the_prompt():
    """With w = 1, log p(text | prompt) - log p(text) rises: what is written says more about its prompt."""
    prompt = torch.tensor([[0, 1, V, V]]).expand(2000, -1)
    said = []
    for w in (-1.0, 0.0, 2.0):
        guided = PromptGuidance(LANGUAGE.denoiser(), GIVEN, w)
        x = sample_in_order(guided, surest(), (2000, L), prompt, seeded()).tokens
        assert torch.equal(x[:, :2], prompt[:, :2])
        alone = ((TEXTS[:, None, 2:] == x[:, 2:]).all(-1).double().T @ LANGUAGE.p).log()
        said.append((log_p_given(x, ~GIVEN) - alone).mean().item())
    assert said[0] + 0.05 < said[1] < said[2] - 0.05


@pytest.mark.parametrize("call, message", [
    (lambda: answer_nelbo(PROCESS, WITH_TIME, TEXTS, ANSWERS[0], torch.rand(81)), "belongs to the answer"),
    (lambda: answer_nelbo(PROCESS, WITH_TIME, TEXTS, TEXTS, torch.rand(81)), "torch.int64"),
    (lambda: answer_nelbo(PROCESS, WITH_TIME, TEXTS, TEXTS > 1, torch.rand(81)), "has no answer token"),
    (lambda: answer_nelbo_by_count(PROCESS, WITH_TIME, TEXTS, TEXTS > 1, torch.rand(81)), "has no answer token"),
    (lambda: answer_nelbo(PROCESS, WITH_TIME, TEXTS + 1, TEXTS > -1, torch.rand(81)), "Clean token ids"),
    (lambda: answer_nelbo_by_count(PROCESS, WITH_TIME, TEXTS + 1, TEXTS > -1, torch.rand(81)), "Clean token ids"),
    (lambda: answer_nelbo(hybrid(V, 0.2), WITH_TIME, TEXTS, TEXTS > -1, torch.rand(81)), "masking only"),
    (lambda: answer_rows([torch.tensor([1])], [], 4, 0), "Each question has one answer"),
    (lambda: answer_rows([], [], 4, 0), "Each question has one answer"),
    (lambda: answer_rows([torch.tensor([1, 2])], [torch.tensor([3, 4])], 4, 0), "Row 0 has 4 tokens"),
    (lambda: PromptGuidance(WITH_TIME, GIVEN[None]), "marks the positions"),
    (lambda: PromptGuidance(WITH_TIME, torch.ones(4).bool()), "not all True"),
    (lambda: PromptGuidance(WITH_TIME, GIVEN).hidden(TEXTS[:, :3]), "the canvas has 3"),
])  # fmt: skip
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
