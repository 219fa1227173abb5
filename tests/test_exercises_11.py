"""The exercises of lesson 11: right answers pass however they are written, and each usual mistake is named."""

import pytest
import torch
from judging import is_told, passes

from difflm_core.classroom.exercises import lesson_11
from difflm_core.classroom.exercises.lesson_11 import accept, answer_loss, ex11_1, ex11_2, ex11_3, ex11_4, own_rule
from difflm_core.data import toy_language
from difflm_core.models.block_attention import training_mask
from difflm_core.objectives import answer_nelbo
from difflm_core.processes import masked
from difflm_core.samplers import entropy_bound, surest, transfer_counts
from difflm_core.samplers.parallel import within_bound
from difflm_core.training.course import course_checkpoint

# 11.1 transfer(n, T)


def one_by_one(n, T):
    filled = [0] * T
    for k in range(n):
        filled[k % T] += 1
    return filled


@pytest.mark.parametrize("right", [one_by_one, lambda n, T: transfer_counts(torch.tensor([n]), T)[0].tolist()])
def test_right_counts(right):
    passes(ex11_1, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda n, T: [n // T] * T, "The remainder is lost"),
        (lambda n, T: [-(-n // T)] * T, "Rounded up"),
        (lambda n, T: [n // T] * (T - 1) + [n - (T - 1) * (n // T)], "falls on the last call"),
        (lambda n, T: [n - (T - 1) * (n // T)] + [n // T] * (T - 1), "falls on the first call"),
        (lambda n, T: one_by_one(n, T)[::-1], "The last calls take one more"),
        (lambda n, T: [n / T] * T, "no whole number"),
        (lambda n, T: [n], "One number for each"),
    ],
)
def test_wrong_counts(wrong, message):
    is_told(ex11_1, wrong, message)


# 11.2 who_may_look(L, size)


def by_two_loops(L, size):
    where = torch.zeros(2 * L, 2 * L, dtype=torch.bool)
    for q in range(2 * L):
        for k in range(2 * L):
            b_q, b_k = q % L // size, k % L // size
            if q < L:
                where[q, k] = b_q == b_k if k < L else b_q > b_k
            else:
                where[q, k] = k >= L and b_q >= b_k
    return where


@pytest.mark.parametrize("right", [training_mask, by_two_loops])
def test_right_masks(right):
    passes(ex11_2, right)


def quarters(noisy_noisy="same", noisy_clean="before", clean_noisy="never", clean_clean="upto"):
    rules = {
        "same": lambda q, k, i, j: q == k,
        "before": lambda q, k, i, j: q > k,
        "upto": lambda q, k, i, j: q >= k,
        "never": lambda q, k, i, j: (q == k) & False,
        "causal": lambda q, k, i, j: i >= j,
    }

    def who(L, size):
        i = torch.arange(L)
        b = i // size
        parts = [
            rules[name](b[:, None], b[None], i[:, None], i[None])
            for name in (noisy_noisy, noisy_clean, clean_noisy, clean_clean)
        ]
        return torch.cat([torch.cat(parts[:2], 1), torch.cat(parts[2:], 1)])

    return who


@pytest.mark.parametrize(
    "wrong, message",
    [
        (quarters(noisy_clean="upto"), "leaks into the question"),
        (quarters(noisy_noisy="upto"), "see the noise of earlier blocks"),
        (quarters(noisy_noisy="upto", noisy_clean="never"), "never the clean copy"),
        (quarters(noisy_clean="never"), "as if it were alone"),
        (quarters(clean_noisy="before"), "Clean tokens look at noisy ones"),
        (quarters(clean_clean="same"), "must also see the clean blocks before"),
        (quarters(clean_clean="causal"), "A finished block is read as a whole"),
        (quarters(noisy_noisy="causal"), "gives up what diffusion is for"),
        (lambda L, size: training_mask(L, size).roll((L, L), (0, 1)), "The clean copy stands first"),
        (lambda L, size: training_mask(L, size).T, "Transposed"),
        (lambda L, size: training_mask(L, size)[:L], "Return booleans shaped"),
        (lambda L, size: training_mask(L, size).float(), "Return booleans shaped"),
    ],
)
def test_wrong_masks(wrong, message):
    is_told(ex11_2, wrong, message)


# 11.3 accept(entropy, masked, bound)


def by_hand(entropy, is_masked, bound):
    where = torch.zeros_like(is_masked)
    for row, (h, m) in enumerate(zip(entropy, is_masked)):
        total = 0.0
        for place in sorted(m.nonzero()[:, 0].tolist(), key=lambda i: float(h[i])):
            if total > bound:
                break
            where[row, place] = True
            total += float(h[place])
    return where


@pytest.mark.parametrize("right", [within_bound, by_hand])
def test_right_acceptance(right):
    passes(ex11_3, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (accept.WHOLE, "lowest entropy is above the bound accepts"),
        (accept.at_least_one, "rescue empty rows by hand"),
        (lambda h, m, bound: m & (h <= bound), "Together they may be far above"),
        (lambda h, m, bound: within_bound(2.5 - h, m, bound), "Sort upwards"),
        (lambda h, m, bound: within_bound(h, torch.ones_like(m), bound), "Visible places are accepted"),
        (lambda h, m, bound: within_bound(h, m, bound).float(), "Return booleans"),
        (accept.strictly, "at bound 0 nothing is accepted"),
        (accept.still_sorted, "still in the sorted order"),
        (accept.sorted_again, "sorts once more"),
        (lambda h, m, bound: m & within_bound(h, torch.ones_like(m), bound), "count in your sums"),
    ],
)
def test_wrong_acceptance(wrong, message):
    is_told(ex11_3, wrong, message)


# 11.4 answer_loss(model, x, answer, t, mask_id, generator)


def by_the_package(model, x, answer, t, mask_id, generator=None):
    return answer_nelbo(masked(mask_id), model, x, answer, t, generator)


def test_right_losses():
    passes(ex11_4, by_the_package)
    passes(ex11_4, answer_loss.reference)


def made_with(
    where=lambda x, answer, t, g: (torch.rand(x.shape, generator=g) < t[:, None]) & answer,
    shown=lambda x, m: x.masked_fill(m, answer_loss.MASK),
    paid=lambda nll, m, t, answer: nll * m / t[:, None],
):
    def loss(model, x, answer, t, mask_id, generator=None):
        m = where(x, answer, t, generator)
        log_p = model(shown(x, m), t).log_softmax(-1)
        return paid(-log_p.gather(-1, x[..., None])[..., 0], m, t, answer)

    return loss


def whole_answers(x, answer, t, g):
    return (torch.rand(len(x), 1, generator=g) < t[:, None]) & answer


@pytest.mark.parametrize(
    "wrong, message",
    [
        (made_with(shown=lambda x, m: x), "it reads the answer"),
        (made_with(paid=lambda nll, m, t, answer: (nll * m / t[:, None]).mean()), "Return the loss of every token"),
        (
            made_with(where=lambda x, answer, t, g: torch.rand(x.shape, generator=g) < t[:, None]),
            "The question is masked as well",
        ),
        (
            made_with(
                where=lambda x, answer, t, g: (
                    (torch.rand(x.shape, generator=g) < t[:, None]) & answer & (x != answer_loss.END)
                )
            ),
            "where to stop",
        ),
        (made_with(paid=lambda nll, m, t, answer: nll * m), "weight 1/t is missing"),
        (made_with(paid=lambda nll, m, t, answer: nll * answer / t[:, None]), "Visible answer tokens are paid for"),
        (made_with(paid=lambda nll, m, t, answer: nll * m * t[:, None]), "You multiply by t"),
        (made_with(paid=lambda nll, m, t, answer: nll * m / m.sum(1, keepdim=True)), "number of masks"),
        (
            made_with(paid=lambda nll, m, t, answer: nll * m * (answer.sum(1) / m.sum(1).clamp_min(1))[:, None]),
            "number of masks",
        ),
        (made_with(paid=lambda nll, m, t, answer: -nll * m / t[:, None]), "The sign"),
        (made_with(paid=lambda nll, m, t, answer: nll * m / t.mean()), "divided by its row's t"),
        (made_with(where=whole_answers), "One coin decides"),
        (lambda *inputs: made_with()(*inputs[:5]), "pass it to torch.rand"),
    ],
)
def test_wrong_losses(wrong, message):
    is_told(ex11_4, wrong, message)


# 11.5 my_rule(masked, log_p)


@pytest.fixture(scope="module")
def ex11_5():
    return lesson_11.ex11_5(course_checkpoint("mdlm-tiny")[0].eval(), toy_language(), sentences=500)


@pytest.mark.slow
def test_the_reference_breaks_few_sentences(ex11_5):
    passes(ex11_5, own_rule.reference)
    assert "nats likelier" in ex11_5.praise


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong, message",
    [
        (entropy_bound(0.1), "at most 6 calls"),
        (surest(4), "Ask for at most 50%"),
        (lambda is_masked, log_p: is_masked, "Ask for at most 50%"),
        (lambda is_masked, log_p: is_masked & False, "would never end"),
        (lambda is_masked, log_p: is_masked.float(), "Return True where"),
    ],
)
def test_wrong_rules(ex11_5, wrong, message):
    is_told(ex11_5, wrong, message)
