"""Exercise 9.4: one step of self-correction, on logits made so that every usual mistake writes somewhere else."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded
from difflm_core.samplers import draw

L, V = 6, 8
Z = torch.arange(L).repeat(2, 1)  # the text is 0 1 2 3 4 5, twice
OTHER = 7  # the word that the network proposes wherever it wants another one


def chances(*rows: dict[int, float]) -> Tensor:
    """Logits from {word: probability}, the rest spread over the other words."""
    p = torch.stack([
        torch.tensor([row.get(v, (1 - sum(row.values())) / (V - len(row))) for v in range(V)], dtype=torch.float64)
        for row in rows
    ])  # fmt: skip
    return p.log()


# 0: a given word, which the network would surely change. 1: it agrees. 2: the surest change that is allowed. 3: the
# word in the text is the least probable of all, but the network knows no good one. 4: it agrees. 5: a less sure change.
SURE, UNSURE = {OTHER: 0.94, 2: 0.05}, {OTHER: 0.6, 5: 0.3}
ROW = chances({OTHER: 0.99}, {1: 0.98}, SURE, {OTHER: 0.5, 6: 0.4, 3: 1e-6}, {4: 0.6}, UNSURE)
LOGITS = torch.stack([ROW, ROW[torch.tensor([0, 1, 5, 3, 4, 2])]])  # in the second row the places 2 and 5 are swapped
FREE = torch.ones(2, L, dtype=torch.bool)
FREE[:, 0] = False
EXPECTED = Z.clone()
EXPECTED[0, 2] = EXPECTED[1, 5] = OTHER
COLD = 0.1
EVEN = torch.zeros(400, 1, V, dtype=torch.float64)  # one word a text, and the network has no favourite
EVEN[:, 0, 3] = 1.0


def corrected(correct, logits=LOGITS, z=Z, free=FREE, temperature=COLD, seed=0) -> Int[Tensor, "N L"]:
    return correct(logits.clone(), z.clone(), free.clone(), temperature, seeded(seed))


def rewritten(correct, temperature: float) -> Int[Tensor, "400"]:
    """What becomes of 400 texts of one word, word 0."""
    z, free = torch.zeros(400, 1, dtype=torch.long), torch.ones(400, 1, dtype=torch.bool)
    return corrected(correct, EVEN, z, free, temperature)[:, 0]


def shares(correct, temperature: float) -> Tensor:
    """How often each word is written."""
    return torch.bincount(rewritten(correct, temperature), minlength=V).double() / 400


def draws_of_its_own(correct) -> bool:
    return not torch.equal(rewritten(correct, 1.0), rewritten(correct, 1.0))


def agreeing() -> tuple[Tensor, Tensor, Bool[Tensor, "2 L"]]:
    """A text in which only the given word would be changed: nothing is to be done."""
    logits = chances({OTHER: 0.99}, *({i: 0.99} for i in range(1, L)))
    return torch.stack([logits, logits]), Z, FREE


def test(correct):
    z = corrected(correct)
    assert isinstance(z, Tensor) and z.shape == Z.shape and not z.is_floating_point(), (
        f"Return the whole texts as ids, shaped {tuple(Z.shape)}."
    )
    assert torch.equal(z[~FREE], Z[~FREE]), "Given words must stay."
    assert torch.equal(z, EXPECTED), (
        f"From {Z[0].tolist()} the text should become {EXPECTED[0].tolist()}; yours is {z[0].tolist()}. (Second row:"
        f" {EXPECTED[1].tolist()}, yours {z[1].tolist()}.)"
    )
    assert torch.equal(corrected(correct, *agreeing()), Z), (
        "Where the network agrees with every free word, none changes."
    )
    assert not writes_into_z(correct), "z must stay as it was."
    for temperature in (1.0, 0.5):
        expected = (EVEN[0, 0] / temperature).softmax(-1)
        off = float((shares(correct, temperature) - expected).abs().max())
        assert off < 0.09, (
            f"At temperature {temperature} the proposals are not drawn from softmax(logits / temperature)."
        )
    assert not draws_of_its_own(correct), "Same generator, same draws."


def writes_into_z(correct) -> bool:
    z = Z.clone()
    correct(LOGITS.clone(), z, FREE.clone(), COLD, seeded(0))
    return not torch.equal(z, Z)


def changed_at(*places: int):
    """A probe: in the first row exactly these positions have changed."""
    return lambda correct: (corrected(correct) != Z)[0].nonzero()[:, 0].tolist() == list(places)


MISTAKES = [
    (
        lambda correct: corrected(correct).shape != Z.shape,
        "The result has another shape than z. Return the whole texts, with one word of each replaced.",
    ),
    (
        writes_into_z,
        "Your function writes into z, the caller's text. Make a new tensor first: z.clone().",
    ),
    (
        changed_at(0),
        "A given word was overwritten. Set the score to 0 where `free` is False, before the best place is chosen.",
    ),
    (
        changed_at(0, 2, 3, 5),
        "All differing words were replaced at once, given ones too. Proposals made together do not see each other:"
        " write the surest one, and ask the network again.",
    ),
    (
        changed_at(2, 3, 5),
        "All differing words were replaced at once. Proposals made together do not see each other: write only the"
        " surest one, and ask the network again.",
    ),
    (
        changed_at(3),
        "You chose the place by what is least certain there. GIDD takes the place where a *different* word is most"
        " probable: doubt alone gives nothing better to write.",
    ),
    (
        lambda correct: int((corrected(correct) != Z).sum()) == 1,
        "One word is written in the whole batch. Every text has its own best place: argmax(1).",
    ),
    (
        lambda correct: torch.equal(corrected(correct), Z) and shares(correct, 1.0)[0] < 0.5,
        "Nothing changes: the surest proposal is the word that stands there already. Only proposals that differ from z"
        " may compete.",
    ),
    (
        lambda correct: torch.equal(corrected(correct), Z),
        "Nothing is written. If your scores are logarithms (or logits), 0 is no small one: give -inf to places where"
        " nothing may be written.",
    ),
    (
        lambda correct: (
            torch.equal(corrected(correct), EXPECTED) and not torch.equal(corrected(correct, *agreeing()), Z)
        ),
        "Where no free word differs all scores are 0, and their argmax is position 0, a given word. Write only where"
        " the best score is above 0.",
    ),
    (
        lambda correct: (shares(correct, 1.0) > 0).nonzero()[:, 0].tolist() == [0, 3],
        "You write a proposal only if it is more probable than the word that stands there. Here it need only differ:"
        " at a higher temperature a text may also get worse.",
    ),
    (
        lambda correct: int((shares(correct, 1.0) > 0).sum()) == 1,
        "You take the favourite word (argmax). The proposal is drawn from softmax(logits / temperature), or all texts"
        " would become alike.",
    ),
    (
        lambda correct: bool((shares(correct, 0.5) - EVEN[0, 0].softmax(-1)).abs().max() < 0.06),
        "The temperature is not used: draw from softmax(logits / temperature).",
    ),
    (
        draws_of_its_own,
        "Two runs with the same generator differ. Pass the generator to the draw.",
    ),
]


def reference(logits, z, free, temperature, generator=None):
    proposal = draw(logits.flatten(0, 1), generator, temperature).view(z.shape)
    score = logits.softmax(-1).gather(-1, proposal[..., None])[..., 0]
    score = score * ((proposal != z) & free)
    place = torch.nn.functional.one_hot(score.argmax(1), z.shape[1]).bool() & (score > 0)
    return torch.where(place, proposal, z)


ex9_4 = Check(
    "9.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "First a proposal for every position: draw(logits.flatten(0, 1), generator, temperature).view(z.shape).",
        "Its score is its probability, or 0 if it equals z or the position is not free. One place per row: argmax(1).",
        "torch.where(place, proposal, z), where place is one_hot(score.argmax(1), L) and the score there is above 0.",
    ],
    reference=reference,
    praise="One surest change per call. `samplers.self_correct` repeats this until nothing differs.",
)
