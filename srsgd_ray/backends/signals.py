"""Signals that end a run in order: Ctrl-C, SIGTERM (a batch system, a spot notice), SIGHUP."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TERMINALS = ("/dev/pts/", "/dev/tty", "/dev/console")


@contextmanager
def on_interrupt(act: Callable[[int], None]) -> Iterator[bool]:
    """Call ``act`` with how many such signals came so far, at each of them.

    Yields:
        Whether signals arrive here: they do in the main thread only.
    """
    came = 0

    def handler(number: int, frame: Any) -> None:
        nonlocal came
        came += 1
        if number == signal.SIGHUP:
            leave_terminal()
        act(came)

    with handled(dict.fromkeys((signal.SIGINT, signal.SIGTERM, *hangup()), handler)) as here:
        yield here


@contextmanager
def handled(handlers: Mapping[signal.Signals, Any]) -> Iterator[bool]:
    """Have signals handled so; False, and nothing is done, if this is not the main thread."""
    here = threading.current_thread() is threading.main_thread()
    before = {n: signal.signal(n, act) for n, act in handlers.items()} if here else {}
    try:
        yield here
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def hangup() -> tuple[signal.Signals, ...]:
    """SIGHUP, unless it is ignored, as after ``nohup``: then a closed terminal ends nothing."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return () if ignored else (signal.SIGHUP,)


def leave_terminal() -> None:
    """Send to nowhere what would go to a terminal that is closed: each word would be an error."""
    null = os.open(os.devnull, os.O_RDWR)
    for entry in list(Path("/proc/self/fd").iterdir()):
        if entry.is_symlink() and str(entry.readlink()).startswith(TERMINALS):
            os.dup2(null, int(entry.name))
    os.close(null)


def interrupt() -> None:
    """Send this process what Ctrl-C sends, from any thread."""
    os.kill(os.getpid(), signal.SIGINT)


def main_interrupted() -> bool:
    """Whether Ctrl-C has ended the main thread, which alone hears it: work in others is to end."""
    over = not threading.main_thread().is_alive()
    return over and getattr(sys, "last_type", None) is KeyboardInterrupt
