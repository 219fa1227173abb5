"""Exercise 0.2: replace words by random ones, each with the probability t of its row."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

B, L, V = 600, 12, 50
TIMES = torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0]).repeat(B // 5)
X = torch.randint(V // 2, (B, L), generator=seeded(0))  # no even text: new words must not be taken from it


def noisy(random_noise, seed: int = 1) -> Int[Tensor, "B L"]:
    z = random_noise(X.clone(), TIMES.clone(), V, seeded(seed))
    assert isinstance(z, Tensor) and z.shape == X.shape, f"Return ids shaped like x, {tuple(X.shape)}."
    assert not z.is_floating_point(), f"Return ids, which are whole numbers; yours are {z.dtype}."
    return z


def changed(z, t: float) -> float:
    return float((z != X)[t == TIMES].double().mean())


def spoils_x(random_noise) -> bool:
    given = X.clone()
    random_noise(given, TIMES.clone(), V, seeded(1))
    return not torch.equal(given, X)


def one_coin(z) -> bool:
    """Whole rows, or whole columns of the rows of one t, are changed together."""
    at_half = (z != X)[TIMES == 0.5].double()
    return float(at_half.mean(1).var()) > 0.1 or float(at_half.mean(0).var()) > 0.05


def same_number(z) -> bool:
    """Each row of one t loses (nearly) the same number of words: far less scatter than coins would have."""
    return float((z != X)[TIMES == 0.5].sum(1).double().var()) < 1


def t_along_the_row(random_noise) -> bool:
    """On a square batch: the noise follows t by the place, not by the row."""
    t = torch.tensor([0.0, 1.0]).repeat_interleave(L // 2)
    changes = (random_noise(X[:L].clone(), t, V, seeded(1)) != X[:L]).double()
    return bool(changes[:, t == 0].sum() == 0 and changes[:, t == 1].mean() > 0.8)


def one_word(z) -> bool:
    """The replacements of a row, or of a column, or all of them, are the same word."""
    last = z[TIMES == 1.0]
    return float((last == last[:, :1]).double().mean()) > 0.9 or float((last == last[:1]).double().mean()) > 0.9


def used(z) -> Float[Tensor, "V"]:
    """How often each word stands in the rows in which all words are random."""
    return torch.bincount(z[TIMES == 1.0].flatten(), minlength=V).double()


def test(random_noise):
    z = noisy(random_noise)
    assert not spoils_x(random_noise), "x must stay as it was."
    assert bool(((z >= 0) & (z < V)).all()), f"Ids must lie in 0..{V - 1}."
    for t in (0.0, 0.2, 0.5, 0.8, 1.0):
        share = t * (1 - 1 / V)
        assert abs(changed(z, t) - share) < 0.04, (
            f"At t = {t} a share of {share:.2f} of the words should differ (some random words are the old ones); yours:"
            f" {changed(z, t):.2f}."
        )
    assert changed(z, 1.0) < 1, "By luck a random word is sometimes the old one: draw from all V words."
    assert not one_coin(z) and not same_number(z), "Every word needs a coin of its own."
    times_used = used(z)
    assert not one_word(z) and float(times_used.min()) > 0 and float(times_used.max() / times_used.mean()) < 2, (
        "The new words must be drawn evenly from all V words, one draw for each place."
    )
    assert torch.equal(z, noisy(random_noise)), "Same generator, same noise."


def sees(fact):
    """A probe: fact(z) holds for the attempt's noise."""
    return lambda random_noise: bool(fact(noisy(random_noise)))


MISTAKES = [
    (
        spoils_x,
        "Your function writes into x, the caller's clean text. Make a new tensor, for example with torch.where.",
    ),
    (sees(lambda z: (z == V).any()), "There is a V in your text, which is the mask's number: words are 0 to V - 1."),
    (
        t_along_the_row,
        "t has one entry for each row. Beside coins shaped (B, L) it must be a column: t[:, None], shaped (B, 1).",
    ),
    (sees(one_coin), "One coin decides for a whole row or column. Every word needs its own: torch.rand(x.shape)."),
    (
        sees(one_word),
        "All places of a row (or all rows) get the same new word: draw with torch.randint(V, x.shape, ...).",
    ),
    (
        sees(lambda z: changed(z, 0.0) > 0.9 and changed(z, 1.0) < 0.1),
        "Upside down: at t = 0 everything is replaced and at t = 1 nothing. Replace where the coin is *below* t.",
    ),
    (
        sees(lambda z: changed(z, 0.0) > 0.3 and abs(changed(z, 0.0) - changed(z, 1.0)) < 0.1),
        "Your noise does not depend on the row's t. Compare the coins with t[:, None], a column (B, 1).",
    ),
    (
        sees(lambda z: changed(z, 1.0) > 0.999),
        "A replaced word never stays what it was. Draw evenly from *all* V words: by luck it may be the old one.",
    ),
    (
        sees(same_number),
        "Every row of one t loses the same number of words. Each word needs a coin of its own, so that the number"
        " varies.",
    ),
    (
        sees(lambda z: used(z)[-1] == 0 and used(z)[:-1].min() > 0),
        "Word V - 1 is never drawn. torch.randint leaves its upper end out: torch.randint(V, ...) gives 0 to V - 1.",
    ),
    (
        sees(lambda z: used(z)[0] == 0 and used(z)[1:].min() > 0),
        "Word 0 is never drawn: words are 0 to V - 1, as torch.randint(V, ...) gives them.",
    ),
    (
        lambda random_noise: not torch.equal(noisy(random_noise), noisy(random_noise)),
        "Two runs with the same generator differ. Pass generator=generator to every draw.",
    ),
]


def reference(x, t, V, generator=None):
    replaced = torch.rand(x.shape, generator=generator) < t[:, None]
    return torch.where(replaced, torch.randint(V, x.shape, generator=generator), x)


ex0_2 = Check(
    "0.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "`random_words` of section 3 does it for one t. What must change so that every row has its own?",
        "torch.rand(x.shape, generator=generator) < t[:, None]: t[:, None] is a column (B, 1).",
        "Then torch.where(replaced, torch.randint(V, x.shape, generator=generator), x).",
    ],
    reference=reference,
    praise="That is the noise of lessons 07 and 09: it lies, where a mask only hides.",
)
