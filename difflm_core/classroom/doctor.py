"""Is this machine ready for the course? `python -m difflm_core.classroom.doctor`, or `doctor()` in lesson 00.

Looks at Python, packages, device, memory, disk, course files and the package index, trains for some seconds to predict
the minutes of each lesson, and prints one report that can be pasted into a question. It changes nothing and ends
without a network too. Exit status: 0 ready, 1 with at least one problem.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from difflm_core.classroom import machine, speed
from difflm_core.classroom.course_map import Entry, course_map
from difflm_core.classroom.lesson import lessons_folder
from difflm_core.classroom.machine import BAD, GOOD, Finding, without_home

SIGNS = {machine.GOOD: "✓", machine.NOTE: "·", machine.BAD: "✗"}


@dataclass
class Report:
    """Findings under their headings, the benchmark (training steps per second; None: not run), and the lessons."""

    findings: dict[str, list[Finding]]
    speed: float | None = None
    lessons: list[Entry] = field(default_factory=list)

    @property
    def problems(self) -> list[Finding]:
        return [finding for group in self.findings.values() for finding in group if finding.state == BAD]

    def text(self) -> str:
        """The report as plain text, without the name of the home folder."""
        lines = ["difflm doctor"]
        for heading, group in self.findings.items():
            for finding in group:
                lines.append(f"{SIGNS[finding.state]} {heading:10s}{finding.what}")
                lines += [f"  {'':10s}-> {finding.advice}"] if finding.advice and finding.state != GOOD else []
        if self.speed is not None:
            lines += [f"{SIGNS[GOOD]} {'speed':10s}{self.speed:.1f} training steps per second, {self.compared()}"]
        lines += ["", *self.map_lines()] if self.lessons else []
        verdict = f"{len(self.problems)} problem(s), marked ✗." if self.problems else "Ready."
        return without_home("\n".join([*lines, "", verdict]))

    def compared(self) -> str:
        return f"{self.speed / speed.REFERENCE:.1f} times the machine on which the lessons' minutes were measured"

    def map_lines(self) -> list[str]:
        lines = [f"{'lesson':27s}{'minutes to read':>16s}{'to compute here':>17s}   question"]
        for lesson in self.lessons:
            here = None if self.speed is None else speed.minutes_here(lesson, self.speed)
            reading = "not written yet" if not lesson.here else "?" if lesson.reading is None else str(lesson.reading)
            computing = "" if here is None else f"{here:.0f}" if here >= 1 else "under 1"
            lines.append(f"{lesson.name:27s}{reading:>16s}{computing:>17s}   {lesson.question}")
        return lines


def attempt(check: Callable[[], list[Finding]]) -> list[Finding]:
    """The check's findings; if the check itself fails, that is one."""
    try:
        return check()
    except Exception as error:  # a report with a hole is better than none
        return [
            Finding(BAD, f"could not be examined ({type(error).__name__}: {error})", "Paste this report when you ask.")
        ]


def examine(seconds: float = 20.0, network: bool = True) -> Report:
    """Everything that `doctor` says, without saying it. `seconds` of benchmark (0: none); `network`: ask the index."""
    checks = {
        "python": machine.python_version,
        "packages": machine.packages,
        "device": machine.device,
        "memory": machine.memory,
        "disk": machine.disk,
        "files": lambda: machine.course_files(lessons_folder()),
        "archives": machine.archives if network else lambda: machine.archives(lambda _: "the index was not asked"),
    }
    report = Report({heading: attempt(check) for heading, check in checks.items()})
    try:
        report.lessons = course_map(lessons_folder())
    except FileNotFoundError:
        pass  # "files" has said so
    if seconds > 0:
        try:
            report.speed = speed.steps_per_second(seconds)
        except Exception as error:
            report.findings["speed"] = [
                Finding(BAD, f"training failed ({type(error).__name__}: {error})", "Run `make lab` again.")
            ]
    return report


def doctor(seconds: float = 20.0, network: bool = True) -> Report:
    """Examine this machine and print the report. Raises nothing for a bad one; look at `.problems`."""
    report = examine(seconds, network)
    print(report.text())
    return report


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m difflm_core.classroom.doctor", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the benchmark; 0 leaves it out")
    parser.add_argument("--offline", action="store_true", help="do not ask the package index")
    options = parser.parse_args(arguments)
    return 1 if doctor(options.seconds, not options.offline).problems else 0


if __name__ == "__main__":
    sys.exit(main())
