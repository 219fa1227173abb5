"""The cross-entropy that overwrites its logits: the library's numbers and gradients, whatever the logits."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from difflm_core.objectives.cross_entropy import spend_on_cross_entropy
from difflm_core.objectives.vocabulary import nll_at


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(2, 40), st.sampled_from([0.01, 1.0, 30.0]))
def test_values_and_gradients_are_the_librarys(seed, N, V, scale):
    torch.manual_seed(seed)
    logits = (scale * torch.randn(N, V, dtype=torch.float64)).requires_grad_()
    target, weight = torch.randint(V, (N,)), torch.rand(N, dtype=torch.float64)
    theirs = F.cross_entropy(logits, target, reduction="none")
    (expected,) = torch.autograd.grad((theirs * weight).sum(), logits)
    ours = spend_on_cross_entropy(logits * 1.0, target)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)


def test_impossible_tokens_and_huge_logits_do_not_overflow():
    logits = torch.tensor([[1000.0, 0.0, -torch.inf], [-1e30, -1e30, 3.0]])
    ours = spend_on_cross_entropy(logits.clone(), torch.tensor([0, 2]))
    torch.testing.assert_close(ours, torch.zeros(2))


def test_a_second_backward_is_refused():
    logits = torch.randn(3, 5, requires_grad=True)
    loss = spend_on_cross_entropy(logits * 1.0, torch.tensor([0, 1, 2])).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError):
        loss.backward()


def test_a_table_of_logits_is_not_overwritten():
    """A denoiser without weights hands out what it holds; without a graph nothing may be spent."""

    class Table:
        V = 4
        held = torch.randn(6, 4)

        def logits(self, h):
            return self.held

    before = Table.held.clone()
    rows = torch.ones(2, 3, dtype=torch.bool)
    nll_at(Table(), torch.zeros(2, 3, 1), rows, torch.zeros(2, 3, dtype=torch.long))
    assert torch.equal(Table.held, before)
