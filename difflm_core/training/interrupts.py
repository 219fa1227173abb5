"""Ctrl-C and SIGTERM between steps: the first one lets the step in progress end, so that what is saved is a whole
state; the second one acts at once.
"""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

RESUME = 75  # EX_TEMPFAIL of sysexits.h: the exit status of a run that was told to end, has saved, and can go on


def end_if(asked: Sequence[int]) -> None:
    """End here if a signal was noted: SystemExit with status 75 after SIGTERM, KeyboardInterrupt after Ctrl-C."""
    if signal.SIGTERM in asked:
        raise SystemExit(RESUME)
    if asked:
        raise KeyboardInterrupt


@contextmanager
def signals_wait() -> Iterator[list[int]]:
    """Inside, the first Ctrl-C (SIGINT) and the first SIGTERM are only noted in the yielded list; from the second on
    they act as before.

    Nothing changes outside the main thread (Python delivers signals to that one), where a signal is ignored, and where
    somebody else already handles SIGTERM.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if before[signal.SIGINT] in (signal.SIG_IGN, None):
        del before[signal.SIGINT]
    if before[signal.SIGTERM] is not signal.SIG_DFL:
        del before[signal.SIGTERM]

    def first(number, frame):
        asked.append(number)
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, first)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
