"""What the tests of exercises say about a check: an answer passes, or its mistake is named."""

from difflm_core.classroom.checks import CORRECT, CRASHED, WRONG, Attempt, Check


def passes(check: Check, attempt: Attempt) -> None:
    outcome = check.judge(attempt)
    assert outcome.status == CORRECT, outcome.message


def is_told(check: Check, attempt: Attempt, message: str) -> None:
    """The attempt is wrong, and of all that the check can say about mistakes exactly this is said."""
    outcome = check.judge(attempt)
    assert outcome.status in (WRONG, CRASHED), outcome.message
    assert message in outcome.message, outcome.message
    assert len({said for _, said in check.mistakes if said in outcome.message}) <= 1, outcome.message
