"""The one place where a command's errors end: one message, an exit status, how to resume."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from srsgd_ray.backends.signals import handled, hangup, leave_terminal

CURES = {
    errno.ENOENT: "Is it still mounted? Put it back",
    errno.EROFS: "Make it writable again",
    errno.EACCES: "Make it writable",
    errno.EREMOTEIO: "Resume when it answers again",
}


class Terminated(BaseException):
    """SIGTERM, or a terminal that closed, asked this process to end."""


@contextmanager
def _signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP raise, as SIGINT does, so that nothing is left half-done."""

    def end(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        raise Terminated(number)

    with handled(dict.fromkeys((signal.SIGTERM, *hangup()), end)):
        yield


@contextmanager
def last_words() -> Iterator[None]:
    """No signal cuts off what is said last, such as a second Ctrl-C would."""
    with handled(dict.fromkeys((signal.SIGINT, signal.SIGTERM, *hangup()), signal.SIG_IGN)):
        yield


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
        read or written; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name may hold what the terminal's encoding has not; no message may fail for that.
            stream.reconfigure(errors="backslashreplace")
    try:
        with _signals_raise():
            status = work() or 0
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # the reader, such as head, has seen enough
        _say_no_more()
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        cure = CURES.get(error.errno or 0, "Make room, or correct the place")
        print(f"{prog}: {place}{str(error.strerror or error).rstrip('.')}. {cure}.",
              file=sys.stderr)  # fmt: skip
        _say_no_more()
        return 2
    except ValueError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Terminated) as end:
        with last_words():
            print(f"\n{prog}: interrupted.", file=sys.stderr)
            if interrupted is not None:
                interrupted()
        return 128 + end.args[0] if isinstance(end, Terminated) else 130


def _say_no_more() -> None:
    """Leave out what could not be printed, if so, or Python would complain once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
