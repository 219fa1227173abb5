"""Exercise 5.2: the d that leaves as much to be read with vectors of another width."""

from collections.abc import Callable

from difflm_core.classroom.checks import Check

CASES = ((9.0, 768, 96), (9.0, 768, 768), (3.0, 96, 384), (1.0, 16, 64))


def reference(d, D, new_D):
    return d * (new_D / D) ** 0.5


def like(wrong: Callable) -> Callable:
    return lambda attempt: all(abs(float(attempt(*case)) - wrong(*case)) < 1e-4 * wrong(*case) for case in CASES)


def test(attempt):
    for d, D, new_D in CASES:
        value, right = float(attempt(d, D, new_D)), reference(d, D, new_D)
        assert abs(value - right) < 1e-3 * right, (
            f"With d = {d:g} at D = {D}, D SNR is {D / d**2:.3g} times that of the cosine with one number. At D ="
            f" {new_D} your d = {value:.3g} makes it {new_D / value**2 if value else float('inf'):.3g}."
        )


ex5_2 = Check(
    "5.2",
    test=test,
    mistakes=[
        (
            like(lambda d, D, new: d * new / D),
            "d enters the SNR as 1 / d^2, so it grows with the root of the width.",
        ),
        (like(lambda d, D, new: d * (D / new) ** 0.5), "Upside down: wider vectors need more noise."),
        (like(lambda d, D, new: d * D / new), "Upside down, and the root is missing: D / d^2 must stay the same."),
        (like(lambda d, D, new: d), "Does the width not matter? Look at D SNR: it must stay the same at every t."),
    ],
    hints=[
        "How well a word can be read depends on D SNR(t), and tan-d has SNR(t) = SNR_cos(t) / d^2.",
        "D / d^2 = new_D / new_d^2. Solve for new_d.",
    ],
    reference=reference,
    praise="9 at 768 numbers is 3.2 at 96: a rule for where to begin the sweep, not for where it ends.",
)  # fmt: skip
