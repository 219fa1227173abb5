"""Exercise 11.4: the loss of instruction tuning: only the answer is masked and paid for, end tokens included."""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import Spy, seeded

V, B, L, P = 5, 600, 8, 3
END, MASK = 4, V
X = torch.randint(0, 4, (B, L), generator=seeded(1))
X[:, 6:] = END  # two end tokens, part of the answer
ANSWER = torch.arange(L).expand(B, L) >= P
TIMES = torch.linspace(0.1, 0.9, B)
LOGITS = torch.randn(L, V, generator=seeded(2))
NLL = -LOGITS.log_softmax(-1)[torch.arange(L), X]  # (B, L): the answer of the spy does not depend on what it reads


def spied(answer_loss, seed: int = 0) -> tuple[Tensor, Spy]:
    spy = Spy(lambda z: LOGITS.expand(len(z), L, V), V, L)
    return answer_loss(spy, X.clone(), ANSWER.clone(), TIMES.clone(), MASK, seeded(seed)), spy


def hidden(spy: Spy) -> Tensor:
    return spy.asked[0].z == MASK


def test(answer_loss):
    loss, spy = spied(answer_loss)
    assert len(spy.asked) == 1, f"One call of the network, yours makes {len(spy.asked)}."
    z, masked = spy.asked[0].z, hidden(spy)
    assert loss.shape == (B, L), f"Return nats for every token, shaped {(B, L)}, zero where nothing is paid."
    assert not bool(masked[~ANSWER].any()), "Words of the question are masked: they must stay as they are."
    assert torch.equal(z[~masked], X[~masked]), "Tokens that are not masked must be shown as they are."
    share = masked[:, P:].double().mean(1)
    assert abs(float(share.mean()) - 0.5) < 0.04 and bool(masked.any()), "Mask each answer token with probability t."
    early, late = share[: B // 3].mean(), share[-B // 3 :].mean()
    assert abs(float(early) - 0.233) < 0.06 and abs(float(late) - 0.767) < 0.06, "Each row has its own t."
    assert bool(masked[:, 6:].any()), "The end tokens are never masked. They belong to the answer."
    assert not shares_coins(masked), "Every token tosses a coin of its own."
    assert torch.allclose(loss.double(), (NLL / TIMES[:, None] * masked).double(), rtol=1e-4, atol=1e-5), (
        "The masks are right, the nats are not: -log p of the true token where it is masked, divided by its row's t,"
        " and zero elsewhere."
    )
    again = spied(answer_loss)[0]
    assert torch.equal(loss, again), "Same generator, same masks."


def shares_coins(masked: Tensor) -> bool:
    inside = masked[:, P:].double()
    return bool(((inside.mean(1) == 0) | (inside.mean(1) == 1)).double().mean() > 0.9)


def pays(amount):
    """A probe: the loss is amount(masked) whatever is masked; 0 / 0 counts as 0."""

    def probe(answer_loss):
        loss, spy = spied(answer_loss)
        return bool(torch.allclose(loss.double().nan_to_num(), amount(hidden(spy)).double(), rtol=1e-4, atol=1e-5))

    return probe


def by_masks(m: Tensor) -> Tensor:
    return NLL * m / m.sum(1, keepdim=True).clamp_min(1)


def by_number(f) -> bool:
    """Divided by the number of masks, alone or as in the estimator that draws this number."""
    return pays(by_masks)(f) or pays(lambda m: by_masks(m) * (L - P))(f)


MISTAKES = [
    (
        lambda f: torch.equal(spied(f)[1].asked[0].z, X),
        "The network is shown the clean x: it reads the answer. Show it the masked copy.",
    ),
    (lambda f: spied(f)[0].ndim < 2, "Return the loss of every token, (B, L); whoever trains takes the mean."),
    (
        lambda f: bool(hidden(spied(f)[1])[~ANSWER].any()),
        "The question is masked as well: that is pre-training. Mask where `answer` is True, nowhere else.",
    ),
    (
        lambda f: not bool(hidden(spied(f)[1])[:, 6:].any()),
        "The end tokens are never masked, so nothing teaches the network where to stop. `answer` includes them.",
    ),
    (
        pays(lambda m: NLL * m),
        "The weight 1/t is missing. Without it the sum is no bound on -log p(answer | question), and long masks count"
        " too much.",
    ),
    (pays(lambda m: NLL / TIMES[:, None] * ANSWER), "Visible answer tokens are paid for: only masked ones count."),
    (pays(lambda m: NLL * TIMES[:, None] * m), "You multiply by t. The weight is 1/t."),
    (
        by_number,
        "You divide by the number of masks. Here each token tosses a coin with probability t, and the weight is 1/t;"
        " the number belongs to the estimator that draws it first (section 3).",
    ),
    (pays(lambda m: -NLL / TIMES[:, None] * m), "The sign: nats are -log p, 0 or more."),
    (
        lambda f: shares_coins(hidden(spied(f)[1])),
        "One coin decides for a whole answer. Every token needs its own: torch.rand(x.shape).",
    ),
    (
        lambda f: not torch.equal(hidden(spied(f)[1]), hidden(spied(f)[1])),
        "Two runs with the same generator differ: pass it to torch.rand.",
    ),
]


def reference(model, x, answer, t, mask_id, generator=None):
    is_masked = (torch.rand(x.shape, generator=generator) < t[:, None]) & answer
    log_p = model(x.masked_fill(is_masked, mask_id), t).log_softmax(-1)
    return -log_p.gather(-1, x[..., None])[..., 0] * is_masked / t[:, None]


ex11_4 = Check(
    "11.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "The loss of lesson 08, with one condition more on where a token is masked.",
        "is_masked = (torch.rand(x.shape, generator=generator) < t[:, None]) & answer; the network reads the masked"
        " copy.",
        "-log p of the true token, times is_masked, divided by t[:, None]. End tokens are part of `answer`.",
    ],
    reference=reference,
    praise="A bound on -log p(answer | question), end tokens included.",
)
