"""The one place where a command's errors end: one message, an exit status, how to resume."""

from __future__ import annotations

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
    refused: tuple[type[Exception], ...] = (ValueError,),
) -> int:
    """Run the work of a command; what goes wrong becomes one message and an exit status.

    Args:
        prog: the command, as messages call it.
        work: returns the exit status; None is 0.
        interrupted: called after Ctrl-C or SIGTERM, to print how to resume; None: nothing resumes.
        refused: the errors that are messages about bad input.

    Returns:
        The status of ``work``; 2 after such a message, 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        with _sigterm_raises():
            return work() or 0
    except BrokenPipeError:
        # The reader, such as head, has seen enough. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except refused as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Terminated) as end:
        print(f"\n{prog}: interrupted.", file=sys.stderr)
        if interrupted is not None:
            interrupted()
        return 143 if isinstance(end, Terminated) else 130
