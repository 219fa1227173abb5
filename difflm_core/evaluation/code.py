"""Is written code any good? It parses; it runs; it does what it should: three questions, each harder than the last.

Code of a model is a stranger's code. It runs in a Python process of its own: no site packages, no environment, an empty
folder, limits on time and memory, and a hook that refuses writing, sockets, other programs and native code. That stops
accidents, and is no wall against malice: nothing that a model was fed by an attacker belongs here.
"""

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from difflm_core.data.code_corpus import parses

# Runs in the other process: limits, then the hook, then the code, then each check; one line of JSON at the end.
CHILD = textwrap.dedent("""
    import json, sys
    code, checks, seconds, megabytes = json.load(sys.stdin)
    try:
        import resource
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    except ImportError:  # not on Windows: there the time limit outside has to do
        pass
    import builtins, os
    def refuse(event, arguments):
        family = event.split(".")[0]
        if event == "open":
            mode, flags = arguments[1] or "r", arguments[2] or 0
            if set(str(mode)) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                raise PermissionError("writing is not allowed")
        elif family in ("socket", "subprocess", "ctypes", "shutil", "winreg", "pty", "ensurepip", "urllib", "ftplib"):
            raise PermissionError(event + " is not allowed")
        elif family == "os" and event not in ("os.listdir", "os.scandir"):
            raise PermissionError(event + " is not allowed")
    out, sys.stdout, sys.stderr = sys.stdout, None, None
    sys.addaudithook(refuse)
    space, ran, passed, error = {"__name__": "written"}, False, [], ""
    try:
        exec(compile(code, "written", "exec"), space)
        ran = True
        for check in checks:
            try:
                passed.append(bool(eval(check, space)))
            except Exception as problem:
                passed.append(False)
                error = error or type(problem).__name__ + ": " + str(problem)[:200]
    except BaseException as problem:
        error = type(problem).__name__ + ": " + str(problem)[:200]
    out.write("\\n" + json.dumps([ran, passed, error]))
    out.flush()
""")


@dataclass(frozen=True)
class Outcome:
    """`parses`: it is Python. `ran`: it was executed to its end. `passed`: the checks that came out true, of `checks`.
    `error`: the first problem, "" without one.
    """

    parses: bool
    ran: bool
    passed: int
    checks: int
    error: str = ""

    @property
    def right(self) -> bool:
        """It ran and passed every check."""
        return self.ran and self.passed == self.checks


def run_code(code: str, checks: Sequence[str] = (), seconds: int = 5, megabytes: int = 512) -> Outcome:
    """Execute `code` in a process of its own, then evaluate each of `checks`, expressions that should be true.

    Code that does not parse is not executed. More than `seconds` of time or `megabytes` of memory end it.
    """
    if seconds < 1 or megabytes < 64:
        raise ValueError(f"Give at least 1 second and 64 MB, got {seconds} and {megabytes}.")
    if not parses(code):
        return Outcome(False, False, 0, len(checks), "SyntaxError")
    with tempfile.TemporaryDirectory() as empty:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", CHILD],
                input=json.dumps([code, list(checks), seconds, megabytes]),
                capture_output=True, text=True, timeout=2 * seconds + 5, cwd=empty,
                env={name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ},  # Windows needs it
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Outcome(True, False, 0, len(checks), "it did not end in time")
    try:
        ran, passed, error = json.loads(done.stdout.splitlines()[-1])
        return Outcome(True, bool(ran), sum(map(bool, passed)), len(checks), str(error))
    except (IndexError, ValueError, TypeError):
        return Outcome(True, False, 0, len(checks), f"its process ended with code {done.returncode}")


@dataclass(frozen=True)
class CodeReport:
    """Shares of `texts`: that parse, run to their end, and pass all checks."""

    texts: int
    parse: float
    run: float
    right: float

    def __str__(self) -> str:
        return f"{self.texts} texts: {self.parse:.1%} parse, {self.run:.1%} run, {self.right:.1%} are right"


def code_report(codes: Sequence[str], checks: Sequence[Sequence[str]], seconds: int = 5) -> CodeReport:
    """Run every text with its own checks. A function without checks is right as soon as its definition runs."""
    if not len(codes) or len(codes) != len(checks):
        raise ValueError(f"Each text has its list of checks, got {len(codes)} texts and {len(checks)} lists.")
    outcomes = [run_code(code, check, seconds) for code, check in zip(codes, checks)]
    share = lambda name: sum(getattr(o, name) for o in outcomes) / len(outcomes)  # noqa: E731
    return CodeReport(len(outcomes), share("parses"), share("ran"), share("right"))


# Heads to be completed, with checks: short functions that are in no library, from easy to less easy.
PROBLEMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ('def is_even(n):\n    """True for 0, 2, -4, False for odd numbers."""\n',
     ("is_even(0) is True", "is_even(7) is False", "is_even(-4) is True")),
    ('def largest(numbers):\n    """The largest number of a list that is not empty."""\n',
     ("largest([3]) == 3", "largest([1, 5, 2]) == 5", "largest([-3, -2]) == -2")),
    ('def clamp(x, low, high):\n    """x, but at least low and at most high."""\n',
     ("clamp(5, 0, 3) == 3", "clamp(-1, 0, 3) == 0", "clamp(2, 0, 3) == 2")),
    ('def count_vowels(text):\n    """How many of a, e, i, o, u are in text."""\n',
     ("count_vowels('') == 0", "count_vowels('banana') == 3", "count_vowels('rhythm') == 0")),
    ('def reverse_words(text):\n    """The words of text in reverse order, with single blanks between them."""\n',
     ("reverse_words('a b c') == 'c b a'", "reverse_words('one') == 'one'")),
    ('def gcd(a, b):\n    """The greatest common divisor of two positive numbers."""\n',
     ("gcd(12, 18) == 6", "gcd(7, 5) == 1", "gcd(4, 4) == 4")),
)  # fmt: skip
