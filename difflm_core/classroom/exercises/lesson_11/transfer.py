"""Exercise 11.1: how many of n masks each of T calls fills."""

from difflm_core.classroom.checks import Check

CASES = [(12, 4), (13, 5), (7, 7), (3, 8), (0, 3), (11, 1), (20, 6)]


def right(n: int, T: int) -> list[int]:
    return [n // T + (k < n % T) for k in range(T)]


def test(transfer):
    for n, T in CASES:
        found = list(transfer(n, T))
        assert len(found) == T, f"One number for each of the {T} calls, got {len(found)}."
        assert all(float(c) == int(c) and c >= 0 for c in found), "Whole numbers, 0 or more."
        found = [int(c) for c in found]
        assert sum(found) == n, f"{n} masks in {T} calls: your numbers sum to {sum(found)}."
        assert max(found) - min(found) <= 1, f"{n} masks in {T} calls: equal shares differ by 1 at most, got {found}."
        assert found == right(n, T), f"The first calls take one more each: {right(n, T)}, got {found}."


def like(wrong):
    """A probe: the answer is what `wrong` gives in every case."""
    return lambda transfer: all(list(map(float, transfer(n, T))) == list(map(float, wrong(n, T))) for n, T in CASES)


MISTAKES = [
    (
        like(lambda n, T: [n // T] * T),
        "The remainder is lost: with 13 masks in 5 calls three of them are never filled. n % T calls take one more.",
    ),
    (like(lambda n, T: [-(-n // T)] * T), "Rounded up in every call: you fill more masks than there are."),
    (
        like(lambda n, T: [n // T] * (T - 1) + [n - n // T * (T - 1)]),
        "The whole remainder falls on the last call: up to T - 1 words more are drawn blindly at once. Spread it.",
    ),
    (
        like(lambda n, T: [n // T + n % T] + [n // T] * (T - 1)),
        "The whole remainder falls on the first call, which sees least. Spread it, one for each of n % T calls.",
    ),
    (
        like(lambda n, T: right(n, T)[::-1]),
        "The last calls take one more. LLaDA gives the remainder to the first ones.",
    ),
    (like(lambda n, T: [n / T] * T), "n / T is no whole number of words: // and % are what you need."),
]

ex11_1 = Check(
    "11.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Every call fills n // T words. How many are left over?",
        "n % T are left over, fewer than T: so many calls fill one more, the first ones.",
        "[n // T + (k < n % T) for k in range(T)]",
    ],
    reference=right,
    praise="Every mask is filled exactly once.",
)
