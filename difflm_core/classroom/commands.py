"""What the commands that write lessons' files have in common: an error is a sentence on stderr, and status 1."""

import sys
from collections.abc import Callable

from difflm_core.classroom.build import BuildError
from difflm_core.classroom.notebooks import SourceError


def status_of(work: Callable[[], None]) -> int:
    """0, or 1 after saying why: a lesson that is not there or not built, a wrong argument, a folder not writable."""
    try:
        work()
    except ImportError as error:
        print(f"{error.name} is not installed; install requirements.txt.", file=sys.stderr)
    except (BuildError, SourceError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"Cannot write {error.filename}: {error.strerror}. Name another folder with --out.", file=sys.stderr)
    else:
        return 0
    return 1
