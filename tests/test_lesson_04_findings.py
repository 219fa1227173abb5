"""What lesson 04 says of its stored study follows from the rows, and only what all seeds agree on counts."""

import pytest
import torch

from difflm_core.classroom.pictures import lesson_04, lesson_04_findings
from difflm_core.classroom.pictures.lesson_04_findings import way

USUAL = {"N": 4, "beta": 0.01, "share": 0.1}


def row(seed, beta, bleu, kl, kept=0.5):
    return {
        "what": "codes", "seed": seed, **USUAL, "beta": beta, "kl": [kl / 4] * 4, "active": 0.5,
        "own": {"bleu": bleu, "exact": bleu / 2}, "another's": {"bleu": 0.1}, "aubleu_over_1_minus_alpha": bleu / 2,
        "between": {"kept": kept, "by_chance": 0.2},
    }  # fmt: skip


def study(last_kl=0.2):
    rows = [row(0, 0.0, 0.9, 80.0), row(1, 0.0, 0.8, 90.0), row(0, 0.01, 0.5, 30.0), row(1, 0.01, 0.6, 20.0, kept=0.4)]
    rows += [row(0, 1 / 12, 0.1, last_kl), row(1, 1 / 12, 0.2, 0.1)]
    settings = {"betas": [0.0, 0.01, 1 / 12], "codes": [4], "swapped_shares": [0.1], "usual": USUAL}
    return {"study": "planner", "settings": settings, "runs": rows}


def test_a_direction_counts_if_all_seeds_agree():
    a = torch.tensor([1.0, 2.0])
    assert (way(a, a + 1), way(a, a - 1), way(a, a), way(a, torch.tensor([2.0, 1.0]))) == (
        "rises", "falls", "open", "open"
    )  # fmt: skip


def test_the_price_of_kl():
    lines = lesson_04_findings.of_price(study()).splitlines()
    assert (
        "beta 0 -> 0.01:" in lines[1]
        and "KL falls, BLEU falls, AuBLEU falls, AuBLEU / BLEU open, words kept at midpoints open" in lines[1]
    )
    assert "beta 0.01 -> 1/12:" in lines[2]
    assert "1/12 the codes carry nothing: KL 0.15 (0.10–0.20) nats, 50 (50–50) %" in lines[-1]
    assert "still carry something" in lesson_04_findings.at_the_bound(study(last_kl=3.0))


def test_rows_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="no row of 'codes'"):
        lesson_04.rows_of(study(), "codes", beta=0.5)


def test_words_kept_at_midpoints_are_counted_above_chance():
    assert lesson_04.kept_above_chance(row(0, 0.0, 1.0, 1.0, kept=0.2)) == 0
    assert lesson_04.kept_above_chance(row(0, 0.0, 1.0, 1.0, kept=1.0)) == 1


def test_a_beta_is_called_by_its_name():
    assert [lesson_04.beta_name(beta) for beta in (0.0, 1e-3, 1 / 12)] == ["0", "0.001", "1/12"]


def test_settled_means_for_good():
    t = [1.0, 0.75, 0.5, 0.25, 0.0]
    assert lesson_04.settled_at(t, torch.tensor([0.9, 0.5, 0.85, 0.9, 1.0])) == 0.5
    assert lesson_04.settled_at(t, torch.tensor([0.9, 0.8, 0.85, 0.9, 1.0])) == 1.0
