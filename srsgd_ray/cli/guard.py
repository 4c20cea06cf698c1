"""The one place where a command's errors end: one message, an exit status, how to resume."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM asked this process to end."""


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM raises, as SIGINT does, so that workers are ended and nothing is left half-done."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def guarded(
    prog: str,
    work: Callable[[], int | None],
    interrupted: Callable[[], object] | None = None,
) -> int:
    """Run the work of a command; what goes wrong becomes one message and an exit status.

    Args:
        prog: the command, as messages call it.
        work: returns the exit status; None is 0.
        interrupted: called after Ctrl-C or SIGTERM, to print how to resume; None: nothing resumes.

    Returns:
        The status of ``work``; 2 after a message about bad input, or about a file that cannot be
        read or written; 130 after Ctrl-C, 143 after SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name may hold what the terminal's encoding has not; no message may fail for that.
            stream.reconfigure(errors="backslashreplace")
    try:
        with _sigterm_raises():
            status = work() or 0
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # the reader, such as head, has seen enough
        _say_no_more()
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        print(
            f"{prog}: {place}{error.strerror or error}. Make room, or correct the place.",
            file=sys.stderr,
        )
        _say_no_more()
        return 2
    except ValueError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Terminated) as end:
        print(f"\n{prog}: interrupted.", file=sys.stderr)
        if interrupted is not None:
            interrupted()
        return 143 if isinstance(end, Terminated) else 130


def _say_no_more() -> None:
    """Leave out what could not be printed, if so, or Python would complain once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
