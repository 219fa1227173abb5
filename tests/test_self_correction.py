"""Self-correction: it repairs, keeps prompts, counts its calls, stops, and reports what it did."""

import pytest
import torch

from difflm_core.data import toy_language
from difflm_core.models import LeaveOneOut, Transformer, TransformerConfig
from difflm_core.processes import hybrid
from difflm_core.samplers import sample_discrete, self_correct

V, L = 6, 8


class Opinion:
    """A denoiser that wants one particular text, by logits that do not depend on what it reads."""

    def __init__(self, text, certainty):
        self.V, self.seen_times, self.rows = V, [], []
        self.table = certainty[:, None] * torch.nn.functional.one_hot(text, V)

    def hidden(self, z_t, t):
        self.seen_times.append(t[0].item())
        self.rows.append(len(z_t))
        return self.table.expand(*z_t.shape, V)

    def logits(self, h):
        return h


WANTED = torch.tensor([1, 2, 3, 4, 5, 0, 1, 2])
CERTAINTY = torch.tensor([9.0, 16, 10, 15, 11, 14, 12, 13])


def test_it_writes_the_surest_difference_first_and_stops_when_none_is_left():
    text = WANTED.clone()[None]
    text[0, [0, 1, 4]] = torch.tensor([0, 0, 0])  # certainty 9, 16, 11
    sample = self_correct(Opinion(WANTED, CERTAINTY), text, record=True, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sample.tokens[0], WANTED)
    assert [frame.written[0].nonzero().flatten().tolist() for frame in sample.trajectory[1:4]] == [[1], [4], [0]]
    assert sample.self_accuracy[:, 0].tolist() == [5 / 8, 6 / 8, 7 / 8, 1]
    assert sample.network_calls.tolist() == [4] and sample.changes.tolist() == [3]  # the last call finds nothing to do
    surest = sample.trajectory[1].probability[0, 1].item()
    assert surest == pytest.approx(torch.tensor([16.0, 0, 0, 0, 0, 0]).softmax(0)[0].item())
    assert sample.trajectory[1].probability[0, 2:].isnan().all()


def test_several_tokens_per_call_and_rows_that_end_apart():
    texts = WANTED.repeat(3, 1)
    texts[1, 0], texts[2, :5] = 0, torch.tensor([5, 5, 5, 5, 0])
    opinion = Opinion(WANTED, CERTAINTY)
    sample = self_correct(opinion, texts, tokens_per_step=2, temperature=0.0, t0=0.02)
    assert torch.equal(sample.tokens, WANTED.repeat(3, 1))
    assert sample.network_calls.tolist() == [1, 2, 4] and sample.changes.tolist() == [0, 1, 5]
    assert opinion.rows == [3, 2, 1, 1]  # finished rows leave the batch
    assert opinion.seen_times == pytest.approx([0.02] * 4)
    assert sample.self_accuracy[-1].tolist() == [1, 1, 1] and sample.self_accuracy[0].tolist() == [1, 7 / 8, 3 / 8]


def test_the_prompt_is_kept():
    prompt = torch.full((1, L), V)
    prompt[0, :3] = torch.tensor([0, 0, 0])
    text = torch.where(prompt == V, WANTED.flip(0), prompt)
    sample = self_correct(Opinion(WANTED, CERTAINTY), text, prompt=prompt, generator=torch.Generator().manual_seed(0))
    assert sample.tokens[0].tolist() == [0, 0, 0, 4, 5, 0, 1, 2]
    assert sample.self_accuracy[-1].item() == 1  # of the free tokens
    everything = self_correct(Opinion(WANTED, CERTAINTY), text, prompt=text)
    assert torch.equal(everything.tokens, text) and everything.network_calls.tolist() == [0]


def test_it_gives_up_after_patience_calls_without_progress():
    """A denoiser without an opinion: everything is a proposal, nothing gets better, and the loop must end."""
    undecided = Opinion(WANTED, torch.zeros(L))
    text = torch.zeros(1, L, dtype=torch.long)  # argmax of equal logits is 0: self-accuracy starts at its best
    sample = self_correct(undecided, text, patience=5, temperature=1.0, generator=torch.Generator().manual_seed(0))
    assert sample.network_calls.tolist() == [6] and sample.changes.tolist() == [5]
    limited = self_correct(undecided, text, iterations=3, temperature=1.0, generator=torch.Generator().manual_seed(0))
    assert limited.network_calls.tolist() == [4] and limited.changes.tolist() == [3]
    assert self_correct(undecided, text, iterations=0).changes.tolist() == [0]


def test_the_same_generator_gives_the_same_text_and_the_input_stays():
    model = Transformer(TransformerConfig(V=V, length=L, width=16, layers=1, heads=2, time_conditioning=True))
    text = torch.randint(V, (3, L), generator=torch.Generator().manual_seed(0))
    before = text.clone()
    first, again = (self_correct(model, text, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.tokens, again.tokens) and torch.equal(text, before)
    assert first.self_accuracy.shape == (int(first.network_calls.max()), 3)


def test_entropy_tells_a_text_that_repeats_itself():
    same = Opinion(torch.full((L,), 3), torch.full((L,), 20.0))
    sample = self_correct(same, WANTED[None], generator=torch.Generator().manual_seed(0))
    assert sample.entropy_before.item() > 1.5 and sample.entropy_after.item() == 0
    assert sample.self_accuracy[-1].item() == 1  # self-accuracy alone would have called this a success


@pytest.fixture(scope="module")
def drafts():
    """Four-step drafts of the toy language by its perfect hybrid denoiser: about half break its grammar."""
    language = toy_language()
    process = hybrid(language.V, 0.2)
    posterior = language.denoiser(process)
    generator = torch.Generator().manual_seed(0)
    sample = sample_discrete(process, LeaveOneOut(posterior, process), 4, (64, language.length), generator=generator)
    return language, process, posterior, sample.tokens


def test_perfect_denoisers_correct_in_two_ways(drafts):
    """What the others say of a token rewrites half the text and pulls it to its commonest form; the posterior, which
    also trusts the token itself, changes few tokens and keeps the entropy.
    """
    language, process, posterior, tokens = drafts
    before = language.grammatical(tokens).double().mean().item()
    results = {}
    for name, denoiser in {"others": LeaveOneOut(posterior, process), "posterior": posterior}.items():
        sample = self_correct(denoiser, tokens, generator=torch.Generator().manual_seed(0))
        results[name] = sample
        assert language.grammatical(sample.tokens).double().mean().item() > 0.85
        assert bool((sample.self_accuracy[-1] >= sample.self_accuracy[0]).all())
    assert 0.3 < before < 0.8
    changes = {name: sample.changes.double().mean().item() for name, sample in results.items()}
    lost = {name: (s.entropy_before - s.entropy_after).mean().item() for name, s in results.items()}
    assert changes["posterior"] < 1.5 < 4 < changes["others"]
    assert lost["posterior"] < 0.08 < lost["others"]


def test_a_masked_denoiser_has_nothing_to_say_about_visible_words(drafts):
    """Under pure masking a visible word is certain: a perfect denoiser proposes no change to a grammatical text."""
    language = drafts[0]
    text = language.sample(8, generator=torch.Generator().manual_seed(0))
    sample = self_correct(language.denoiser(hybrid(language.V, 0.0)), text, temperature=1.0)
    assert torch.equal(sample.tokens, text) and sample.changes.sum() == 0


def test_bad_input_is_refused_in_one_sentence():
    opinion, text = Opinion(WANTED, CERTAINTY), WANTED[None]
    unfinished = text.clone()
    unfinished[0, 0] = V
    with pytest.raises(ValueError, match="finish sampling first"):
        self_correct(opinion, unfinished)
    with pytest.raises(ValueError, match="does not contain the prompt"):
        self_correct(opinion, text, prompt=text.flip(1))
    with pytest.raises(ValueError, match="whole canvas"):
        self_correct(opinion, text, prompt=text[:, :3])
    with pytest.raises(ValueError, match="batch, length"):
        self_correct(opinion, WANTED)
    with pytest.raises(ValueError, match="t0 must lie"):
        self_correct(opinion, text, t0=1.5)
    with pytest.raises(ValueError, match="tokens_per_step >= 1"):
        self_correct(opinion, text, tokens_per_step=0)
    with pytest.raises(ValueError, match="temperature"):
        self_correct(opinion, text, temperature=-1.0)
