"""Writing errors by their definitions, with Levenshtein's distance computed here, and the study that uses them."""

import pytest
import torch

from difflm_core.objectives.edits import edit_nll
from difflm_core.processes.edits import (
    DELETE,
    INSERT,
    SUBSTITUTE,
    deleted,
    edit_budget,
    edited,
    inserted,
    substituted,
    text_sizes,
)
from difflm_core.studies import edit_stage

V, L, FILLER = 7, 10, 6


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def padded(sizes: list[int], seed: int = 0) -> torch.Tensor:
    x = torch.randint(FILLER, (len(sizes), L), generator=seeded(seed))
    return torch.where(torch.arange(L) < torch.tensor(sizes)[:, None], x, FILLER)


def distance(a: list[int], b: list[int]) -> int:
    """Levenshtein's, by the table."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def words(row: torch.Tensor) -> list[int]:
    return row[: int(text_sizes(row[None], FILLER))].tolist()


def test_substitutions_are_exactly_the_budget():
    x, budget = torch.randint(V, (60, L), generator=seeded()), torch.arange(60) % 13
    z = substituted(x, budget, V, seeded(1))
    assert torch.equal((z != x).sum(1), budget.clamp_max(L)) and 0 <= int(z.min()) <= int(z.max()) < V


def test_places_and_new_words_are_even():
    n = 20_000
    x = torch.full((n, 4), 2)
    z = substituted(x, torch.ones(n, dtype=torch.long), V, seeded())
    place, word = (z != x).nonzero()[:, 1].bincount(minlength=4), z[z != x].bincount(minlength=V)
    assert word[2] == 0 and (place - n / 4).abs().max() < 5 * (n / 4) ** 0.5
    assert (word[[0, 1, 3, 4, 5, 6]] - n / 6).abs().max() < 5 * (n / 6) ** 0.5


def test_one_word_in_and_one_word_out():
    x = torch.tensor([[0, 1, 2, 3]] * 4)
    place = torch.arange(4)
    assert inserted(x, place, torch.full((4,), 9)).tolist() == [
        [9, 0, 1, 2], [0, 9, 1, 2], [0, 1, 9, 2], [0, 1, 2, 9]]  # fmt: skip
    assert deleted(x, place, 8).tolist() == [[1, 2, 3, 8], [0, 2, 3, 8], [0, 1, 3, 8], [0, 1, 2, 8]]
    back = deleted(inserted(x, place, torch.full((4,), 9)), place, 8)
    assert torch.equal(back[:, :3], x[:, :3])  # only the word that fell off the end is lost


@pytest.mark.parametrize("kinds", [(SUBSTITUTE,), (INSERT,), (DELETE,), (INSERT, DELETE), (SUBSTITUTE, INSERT, DELETE)])
def test_the_budget_bounds_levenshteins_distance(kinds):
    """With room on the canvas for all that may be put in, nothing falls off."""
    sizes = [3, 4, 5, 6] * 50
    x, budget = padded(sizes), torch.arange(200) % 5
    z = edited(x, budget, V, FILLER, seeded(1), kinds)
    found = [distance(words(a), words(b)) for a, b in zip(x, z)]
    assert all(d <= b for d, b in zip(found, budget.tolist())) and sum(found) > 0.5 * int(budget.sum())
    grown = text_sizes(z, FILLER) - text_sizes(x, FILLER)
    if kinds == (INSERT,):
        assert bool((grown <= budget).all()) and int(grown.sum()) > 0
    if kinds == (DELETE,):
        assert bool((grown <= 0).all()) and torch.equal(-grown, torch.minimum(budget, torch.tensor(sizes)))


def test_on_a_full_canvas_a_lost_word_counts_too():
    x, budget = padded([L] * 100), torch.full((100,), 3)
    z = edited(x, budget, V, FILLER, seeded(1))
    assert max(distance(a.tolist(), b.tolist()) for a, b in zip(x, z)) <= 2 * 3 and z.shape == x.shape


def test_no_budget_changes_nothing_and_empty_texts_survive():
    x = padded([5, 0, 10])
    assert torch.equal(edited(x, torch.zeros(3, dtype=torch.long), V, FILLER, seeded()), x)
    assert torch.equal(substituted(x, torch.zeros(3, dtype=torch.long), V, seeded()), x)
    empty = padded([0, 0])
    assert torch.equal(edited(empty, torch.full((2,), 4), V, FILLER, seeded(), (DELETE, SUBSTITUTE)), empty)


def test_the_budget_follows_the_time():
    t = torch.tensor([0.0, 0.5, 1.0])
    assert edit_budget(t, 20, 0.25).tolist() == [0, 2, 5] and edit_budget(t, 20, 0.0).tolist() == [0, 0, 0]


def test_the_loss_asks_for_every_position():
    class Table:
        V = 7

        def hidden(self, z, t):
            return torch.nn.functional.one_hot(z, 7).double()

        def logits(self, h):
            return 2 * h

    x = torch.randint(7, (3, 5), generator=seeded())
    z = substituted(x, torch.tensor([0, 1, 5]), 7, seeded())
    whole = torch.tensor([2.0] + [0.0] * 6, dtype=torch.float64).logsumexp(0)
    torch.testing.assert_close(edit_nll(Table(), x, z), whole - 2 * (x == z).double())


@pytest.mark.parametrize("call, message", [
    (lambda x: edit_budget(torch.tensor([0.5]), 4, 1.5), "most is the largest share"),
    (lambda x: edit_budget(torch.tensor([1.5]), 4), r"\[0, 1\]"),
    (lambda x: substituted(x, torch.tensor([1]), 7), "for each row"),
    (lambda x: substituted(x, torch.tensor([1, -1]), 7), "0 or more"),
    (lambda x: substituted(x, torch.tensor([1, 1]), 1), "V >= 2"),
    (lambda x: edited(x, torch.tensor([1, 1]), 7, 7), "filler is a token"),
    (lambda x: edited(x, torch.tensor([1, 1]), 7, 6, kinds=()), "kinds are of"),
    (lambda x: edit_nll(None, x, x[:, 1:]), "one shape"),
])  # fmt: skip
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(padded([3, 4]))


def test_the_study_runs(monkeypatch):
    few = {"steps": 2, "more": 2, "batch_size": 8, "width": 16, "layers": 1, "samples": 8, "iterations": 2}
    monkeypatch.setattr(edit_stage, "SETTINGS", edit_stage.SETTINGS | few | {"held_out": 16})
    rows = list(edit_stage.run(0))
    assert [row["stage"] for row in rows[::3]] == list(edit_stage.STAGES) and len(rows) == 12
    assert all(map(edit_stage.told, rows)) and all(0 <= row["after"] <= 1 for row in rows)
    assert {row["texts"] for row in rows if "restored" in row} == {"two replaced", "one too many or few"}
