"""Several tokens in one call: the two rules against what they promise, and the sampler that renews its noise against
the exact law of its chain.
"""

import pytest
import torch
from enumerable import (
    TableDenoiser,
    TinyLanguage,
    all_masks,
    all_sequences,
    chi_square_p,
    index_of,
    random_denoiser,
    texts_p,
)

from difflm_core.evaluation import order_nll
from difflm_core.processes import hybrid, masked, uniform
from difflm_core.samplers import (
    at_random,
    entropy_bound,
    sample_entropy_bound,
    sample_in_order,
    sure_enough,
    surest,
)
from difflm_core.samplers.parallel import within_bound

V, L, N = 3, 4, 10_000
LANGUAGE = TinyLanguage(V, L)
TEXTS = all_sequences(V, L)
BOUNDS = [0.0, 0.3, 1.0, 2.0, 10.0]
every_bound = pytest.mark.parametrize("bound", BOUNDS)
WITH_TIME = random_denoiser(V, L, with_time=True)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pages():
    """Every pattern of masks on a few texts, with the exact answers: (z, where masks are, log p)."""
    z = torch.cat([torch.where(mask, V, TEXTS[::9]) for mask in all_masks(L)[1:]])
    masked_now, log_p = z == V, LANGUAGE.denoiser().hidden(z).log_softmax(-1)
    return z, masked_now, log_p.masked_fill(~masked_now[..., None], -torch.inf)


# --- rules ------------------------------------------------------------------------------------------------------------


def greedy(entropies: list[float], open: list[bool], bound: float) -> list[bool]:
    """One position after the other, from the lowest entropy, while those already taken fit into the bound."""
    taken, spent = [False] * len(open), 0.0
    for i in sorted((i for i in range(len(open)) if open[i]), key=entropies.__getitem__):
        if spent > bound:
            break
        taken[i] = True
        spent += entropies[i]
    return taken


@every_bound
def test_within_bound_is_its_definition(bound):
    entropy = torch.rand(200, 7, generator=seeded(), dtype=torch.float64)
    entropy[:50, 2] = entropy[:50, 5]  # ties: the leftmost first
    open = torch.rand(200, 7, generator=seeded(1)) < 0.6
    open[0] = False
    expected = [greedy(e, o, bound) for e, o in zip(entropy.tolist(), open.tolist())]
    assert torch.equal(within_bound(entropy, open, bound), torch.tensor(expected))


def test_within_bound_accepts_what_the_released_sampler_accepts():
    released = pytest.importorskip("transformers.models.diffusion_gemma.generation_diffusion_gemma")
    logits = torch.randn(50, 9, 11, generator=seeded()) * 3
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    for bound in (0.1, 0.5, 2.0):
        sampler = released.EntropyBoundSampler(released.EntropyBoundSamplerConfig(entropy_bound=bound), 9, 11, 48)
        sampler.accept_canvas(torch.zeros(50, 9).long(), torch.ones(50, 9).long(), logits, 1)
        assert torch.equal(within_bound(entropy, torch.ones(50, 9).bool(), bound), sampler.accepted_token_mask)


@every_bound
def test_the_bound_bounds_the_error_of_drawing_at_once(bound):
    """KL(joint || product of the marginals) of what is revealed, for the exact denoiser: at most `bound` nats."""
    z, masked_now, log_p = pages()
    chosen, joint = entropy_bound(bound)(masked_now, log_p), LANGUAGE.given(z)  # (P, V^L)
    worst = 0.0
    for row in range(len(z)):
        columns = chosen[row].nonzero()[:, 0]
        index = index_of(TEXTS[:, columns], V)
        p = torch.zeros(V ** len(columns), dtype=torch.float64).index_add_(0, index, joint[row])
        product = sum(log_p[row, i][all_sequences(V, len(columns))[:, k]] for k, i in enumerate(columns.tolist()))
        worst = max(worst, (torch.special.xlogy(p, p) - p * product).sum().item())
    assert worst <= bound + 1e-12
    assert worst > 0.01 or bound == 0
    alone = (chosen.sum(1) == 1).float().mean().item()
    assert alone == 1 if bound == 0 else alone < 1


def test_tokens_that_are_sure_enough_are_the_likeliest_text():
    """n tokens above 1 - 1/(2n), each by itself, are together the mode. Below that they need not be."""
    sharp = TinyLanguage(V, L, sharpness=4.0)
    z = torch.cat([torch.where(mask, V, TEXTS[::5]) for mask in all_masks(L)[1:]])
    log_p, joint = sharp.denoiser().hidden(z).log_softmax(-1), sharp.given(z)
    mode, marginal_modes = TEXTS[joint.argmax(1)], log_p.argmax(-1)
    n = (z == V).sum(1)
    sure = (log_p.amax(-1).exp() > 1 - 1 / (2 * n[:, None])).all(1)
    agree = (mode == torch.where(z == V, marginal_modes, z)).all(1)
    assert int(sure[n > 1].sum()) > 10 and bool(agree[sure].all()) and not bool(agree.all())


@pytest.mark.parametrize("p", [0.0, 0.4, 0.7, 1.0])
def test_sure_enough_is_its_definition(p):
    _, masked_now, log_p = pages()
    chosen, best = sure_enough(p)(masked_now, log_p), log_p.amax(-1).exp()
    for row in range(len(chosen)):
        expected = {i for i in range(L) if masked_now[row, i] and best[row, i] > p}
        expected |= {max((i for i in range(L) if masked_now[row, i]), key=lambda i: best[row, i])}  # noqa: B023
        assert set(chosen[row].nonzero()[:, 0].tolist()) == expected


def test_at_random_is_even_and_exact_one_at_a_time():
    masked_now = torch.tensor([True, False, True, True]).expand(30_000, -1)
    chosen = at_random(1, seeded())(masked_now, None)
    assert bool((chosen.sum(1) == 1).all())
    third = torch.tensor([1, 0, 1, 1], dtype=torch.float64) / 3
    assert chi_square_p(chosen.long().argmax(1), third) > 1e-3
    assert at_random(9, seeded())(masked_now, None).equal(masked_now)
    out = sample_in_order(LANGUAGE.denoiser(), at_random(1, generator := seeded()), (N, L), generator=generator)
    assert texts_p(out.tokens, V, LANGUAGE.p) > 1e-3


@pytest.mark.parametrize("rule", [entropy_bound(0.7), entropy_bound(3.0), sure_enough(0.5)])
def test_their_texts_have_a_likelihood(rule):
    law = (-order_nll(WITH_TIME, TEXTS, rule).sum(1)).exp()
    assert law.sum().item() == pytest.approx(1, abs=1e-12)
    assert texts_p(sample_in_order(WITH_TIME, rule, (N, L), generator=seeded()).tokens, V, law) > 1e-3


# --- renewed noise ----------------------------------------------------------------------------------------------------


@every_bound
def test_with_masks_it_is_the_rule(bound):
    """Same law, same calls, also of a network that is shown the time; and not the law of one token at a time."""
    law = (-order_nll(WITH_TIME, TEXTS, entropy_bound(bound)).sum(1)).exp()
    out = sample_entropy_bound(masked(V), WITH_TIME, (N, L), bound, steps=L, generator=seeded())
    assert texts_p(out.tokens, V, law) > 1e-3
    twin = sample_in_order(WITH_TIME, entropy_bound(bound), (N, L), generator=seeded(1))
    mean = twin.network_calls.double().mean().item()
    assert out.network_calls.double().mean().item() == pytest.approx(mean, abs=0.05)
    if bound == 10:
        one = (-order_nll(WITH_TIME, TEXTS, surest()).sum(1)).exp()
        assert int(out.network_calls.max()) == 1 and texts_p(out.tokens, V, one) < 1e-6


def chain_law(denoiser: TableDenoiser, bound: float, calls: int, temperature: float) -> torch.Tensor:
    """The law of the text after so many calls of uniform diffusion, over all states: what is accepted follows from the
    canvas alone, and everything else is random. The last call's favourite is the text.
    """
    p = (denoiser.hidden(TEXTS) / temperature).softmax(-1)  # (S, L, V)
    accepted = torch.tensor([greedy(e, [True] * L, bound) for e in torch.special.entr(p).sum(-1).tolist()])
    each = torch.where(accepted[..., None], p, torch.full_like(p, 1 / V))
    jump = torch.ones(len(TEXTS), len(TEXTS), dtype=torch.float64)
    for i in range(L):
        jump *= each[:, i][:, TEXTS[:, i]]
    law = torch.full((len(TEXTS),), 1 / len(TEXTS), dtype=torch.float64)
    for _ in range(calls - 1):
        law = law @ jump
    return torch.zeros_like(law).index_add_(0, index_of(p.argmax(-1), V), law)


def clean_table(seed: int = 3) -> TableDenoiser:
    """An arbitrary denoiser on canvases of clean tokens; its table is addressed in V symbols."""
    logits = 2 * torch.randn(V**L, L, V, generator=seeded(seed), dtype=torch.float64)
    table = TableDenoiser(V, L, logits)
    table.hidden = lambda z, t=None: logits[index_of(z, V)]
    return table


@pytest.mark.parametrize("calls", [1, 2, 4])
@pytest.mark.parametrize("bound", [0.0, 0.5, 10.0])
def test_with_random_tokens_it_is_its_chain(bound, calls):
    denoiser, settings = clean_table(), {"steps": calls, "temperatures": (0.7, 0.7)}
    out = sample_entropy_bound(uniform(V), denoiser, (N, L), bound, generator=seeded(), **settings)
    assert texts_p(out.tokens, V, chain_law(denoiser, bound, calls, 0.7)) > 1e-3
    assert bool((out.network_calls == calls).all())  # no early stop unless asked for
    if calls > 1:
        assert texts_p(out.tokens, V, chain_law(denoiser, bound, 1, 0.7)) < 1e-6


def test_a_canvas_that_has_settled_stops():
    """A network that always says the same: the second call repeats the first one's favourite, and no third is made."""
    logits = torch.randn(L, V, generator=seeded(), dtype=torch.float64) * 3
    same = TableDenoiser(V, L, logits.expand((V + 1) ** L, L, V))
    entropy = torch.special.entr(logits.softmax(-1)).sum(-1).mean().item()
    for confident, calls in ((entropy * 1.01, 2), (entropy * 0.99, 20), (0.0, 20)):
        out = sample_entropy_bound(uniform(V), same, (50, L), 0.1, 20, generator=seeded(), confident=confident)
        assert out.network_calls.tolist() == [calls] * 50
        assert torch.equal(out.tokens, logits.argmax(-1).expand(50, L))


def test_rows_stop_by_themselves_and_keep_their_text():
    denoiser = clean_table()
    out = sample_entropy_bound(uniform(V), denoiser, (200, L), 0.5, 30, generator=seeded(), confident=0.6, record=True)
    calls = out.network_calls
    assert 1 < int(calls.min()) < int(calls.max())
    for row in range(0, 200, 20):
        frames = out.trajectory[int(calls[row]) :]
        assert all(torch.equal(frame.tokens[row], frames[0].tokens[row]) for frame in frames)
        last_seen = out.trajectory[int(calls[row]) - 1].tokens[row : row + 1]
        assert torch.equal(out.tokens[row], denoiser.hidden(last_seen)[0].argmax(-1))


def test_cooling_down():
    """The temperature of call k of n is last + (first - last) (n - k + 1) / n, seen in the recorded probabilities."""
    logits = torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64)
    same = TableDenoiser(V, 1, logits.expand(V + 1, 1, V))
    out = sample_entropy_bound(uniform(V), same, (1, 1), 9.0, 4, None, seeded(), (0.8, 0.4), record=True)
    for k, frame in enumerate(out.trajectory[1:]):
        p = (logits / (0.4 + 0.4 * (4 - k) / 4)).softmax(-1)
        assert frame.entropy.item() == pytest.approx(torch.special.entr(p).sum().item(), abs=1e-6)


@pytest.mark.parametrize("process", [masked(V), uniform(V), hybrid(V, 0.3)], ids=["masks", "random", "both"])
def test_prompts_stay_and_texts_are_whole(process):
    prompt = torch.tensor([[2, V, V, 0], [V, 1, V, V], [0, 1, 2, 0]])
    for steps in (1, 2, 10):
        out = sample_entropy_bound(process, WITH_TIME, (3, L), 0.2, steps, prompt, seeded())
        assert torch.equal(out.tokens[prompt < V], prompt[prompt < V]) and int(out.tokens.max()) < V
        assert out.network_calls[2] == 0 and int(out.network_calls.max()) <= steps


def test_the_time_shown_is_the_share_of_noise():
    sample_entropy_bound(masked(V), denoiser := random_denoiser(V, L, with_time=True), (1, L), 0.0, generator=seeded())
    shown = torch.cat(denoiser.times_shown)
    torch.testing.assert_close(shown, torch.tensor([1.0, 0.75, 0.5, 0.25]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("call, message", [
    (lambda: entropy_bound(-0.1), "nats, at least 0"),
    (lambda: sure_enough(1.1), r"probability in \[0, 1\]"),
    (lambda: at_random(0), "at least one position"),
    (lambda: sample_entropy_bound(masked(V), WITH_TIME, (1, L), bound=-1), "nats, at least 0"),
    (lambda: sample_entropy_bound(masked(V), WITH_TIME, (1, L), steps=0), "at least one step"),
    (lambda: sample_entropy_bound(masked(V + 1), WITH_TIME, (1, L)), "must agree"),
    (lambda: sample_entropy_bound(masked(V), WITH_TIME, (1, L), temperatures=(1.0, 0.0)), "must be above 0"),
    (lambda: sample_entropy_bound(masked(V), WITH_TIME, (1, L), confident=-1.0), "confident at least 0"),
])  # fmt: skip
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
