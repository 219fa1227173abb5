"""The framework of self-checking exercises: every verdict it can give, and that right answers pass in any form."""

import pytest
import torch

from difflm_core.classroom import checks
from difflm_core.classroom.checks import CORRECT, CRASHED, NOT_ATTEMPTED, WRONG, Check, behaves_like

NATS = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
MASKED = torch.tensor([[True, False, True, False]])


def property_test(mean_nats):
    assert mean_nats(NATS, torch.zeros_like(MASKED)) == 0, "without a masked token the answer is 0."
    torch.testing.assert_close(mean_nats(NATS, MASKED), torch.tensor(1.0))


def exercise(**changes):
    settings = {
        "test": property_test,
        "mistakes": [
            (lambda f: f(NATS, MASKED) < 0, "You forgot the minus sign."),
            (
                behaves_like(lambda nats, masked: nats[masked].mean(), NATS, MASKED),
                "You averaged over masked tokens only.",
            ),
            (behaves_like(lambda nats, masked: nats.mean(), NATS, MASKED), "Clean tokens are counted too."),
        ],
        "hints": ["Multiply by the mask.", "Then average over all tokens."],
        "reference": lambda nats, masked: (nats * masked).mean(),
        "praise": "All L tokens are in the denominator.",
    }
    return Check("8.1", **{**settings, **changes})


def unfilled(nats, masked):
    """Exercise 8.1"""
    raise NotImplementedError("Exercise 8.1")


def by_loop(nats, masked):
    total = sum(float(n) for n, m in zip(nats.flatten(), masked.flatten()) if m)
    return torch.tensor(total / nats.numel())


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv("DIFFLM_STRICT", raising=False)
    monkeypatch.setattr(checks, "RESULTS", {})


def test_not_attempted_gives_the_first_hint_and_the_name_of_more(capsys):
    exercise().run(unfilled)
    said = capsys.readouterr().out
    assert "Exercise 8.1: not attempted yet." in said
    assert "Hint 1 of 2: Multiply by the mask." in said
    assert "ex8_1.hint()" in said
    assert "Then average" not in said


@pytest.mark.parametrize("empty", [None, ...])
def test_an_open_value_counts_as_not_attempted(empty):
    assert exercise().judge(empty).status == NOT_ATTEMPTED


@pytest.mark.parametrize("right", [lambda nats, masked: torch.where(masked, nats, 0.0).sum() / masked.numel(), by_loop])
def test_different_right_answers_pass(right, capsys):
    exercise().run(right)
    assert capsys.readouterr().out == "Exercise 8.1: correct. All L tokens are in the denominator.\n"


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda nats, masked: -(nats * masked).mean(), "You forgot the minus sign."),
        (lambda nats, masked: nats[masked].mean() if masked.any() else torch.tensor(0.0), "masked tokens only."),
        (lambda nats, masked: nats.mean(), "Clean tokens are counted too."),
        (lambda nats, masked: nats.mean() if masked.any() else 0, "Clean tokens are counted too."),
    ],
)
def test_each_mistake_is_named_with_its_own_message(wrong, message):
    outcome = exercise().judge(wrong)
    assert outcome.status == WRONG and message in outcome.message
    assert sum(said in outcome.message for _, said in exercise().mistakes) == 1


def test_an_unknown_mistake_gets_the_failed_property():
    assert "without a masked token the answer is 0." in exercise().judge(lambda nats, masked: torch.tensor(7.0)).message


def test_torch_comparison_is_reported_in_short():
    message = exercise().judge(lambda nats, masked: masked.any() * 7.0).message
    assert "not right yet." in message and len(message.splitlines()) == 1


def crashing(nats, masked):
    first = nats[0]
    return first[99]


def test_a_crash_is_explained_at_the_students_own_line():
    outcome = exercise().judge(crashing)
    assert outcome.status == CRASHED
    assert "IndexError: index 99" in outcome.message and "return first[99]" in outcome.message
    assert str(crashing.__code__.co_firstlineno + 2) in outcome.message and __file__ not in outcome.message


def test_a_forgotten_return_is_named():
    check = exercise(test=eval(compile("lambda f: f(1, 2).sum()", "the check's own file", "eval")), mistakes=[])
    assert check.judge(lambda nats, masked: None).message.endswith("gave None back. Does it end with `return`?")
    assert "return`" not in check.judge(lambda nats, masked: "text").message


def test_a_recognised_mistake_explains_a_crash_better_than_its_traceback():
    check = exercise(mistakes=[(lambda f: f is crashing, "Positions run from 0 to L - 1.")])
    assert check.judge(crashing).message == "Exercise 8.1: not right yet. Positions run from 0 to L - 1."


def test_a_missing_operator_is_a_crash_and_not_an_open_exercise():
    def not_on_this_device(nats, masked):
        raise NotImplementedError("Could not run 'aten::x'")

    assert exercise().judge(not_on_this_device).status == CRASHED


def test_strict_mode_raises_unless_right(monkeypatch):
    monkeypatch.setenv("DIFFLM_STRICT", "1")
    for attempt in (unfilled, crashing, lambda nats, masked: nats.mean()):
        with pytest.raises(AssertionError, match="Exercise 8.1"):
            exercise().run(attempt)
    exercise().run(by_loop)


def test_hints_come_one_by_one_and_end(capsys):
    check = exercise()
    for said in ("Hint 1 of 2", "Hint 2 of 2", "There are 2 hints"):
        check.hint()
        assert said in capsys.readouterr().out
    check.hint(1)
    assert "Hint 1 of 2" in capsys.readouterr().out


def test_answer_or_reference(capsys):
    check = exercise()
    assert check.answer_or_reference(by_loop) is by_loop and capsys.readouterr().out == ""
    assert check.answer_or_reference(unfilled) is check.reference
    assert "Exercise 8.1 is not solved yet: the cells below use the course's own answer." in capsys.readouterr().out
    assert check.answer_or_reference(crashing) is check.reference
    assert "not right yet" in capsys.readouterr().out


def test_judging_leaves_the_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    exercise(test=lambda f: torch.rand(5)).judge(by_loop)
    assert torch.equal(torch.rand(2), expected)


def test_summary_counts_tries_and_orders_by_number(capsys):
    checks.summary()
    exercise().run(unfilled)
    exercise().run(by_loop)
    Check("8.10", test=property_test).run(by_loop)
    Check("8.2", test=property_test).run(crashing)
    capsys.readouterr()
    checks.summary()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["8.1", "8.2", "8.10"]
    assert lines[1].split() == ["8.1", CORRECT, "2"] and lines[-1] == "2 of 3 correct"
