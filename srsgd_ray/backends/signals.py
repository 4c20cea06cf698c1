"""Ctrl-C and SIGTERM (a batch system's limit, a spot notice), which end a run in order."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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
        act(came)

    here = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if here else ()
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield here
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def interrupt() -> None:
    """Send this process what Ctrl-C sends, from any thread."""
    os.kill(os.getpid(), signal.SIGINT)
