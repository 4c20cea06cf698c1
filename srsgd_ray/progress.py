"""Progress: bars on a terminal, elsewhere a line now and then; and a file for other output."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import rich.progress as rich
from rich.console import Console

__all__ = ["Pace", "Progress", "State", "all_output_to", "duration", "watched"]

PLAIN_EVERY = 15.0  # seconds between two lines where the output is no terminal
State = tuple[str, int, int]  # a text, how much is done, and of how much


def duration(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Pace:
    """How fast work is done, since the first call: what was done before that has no time."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> tuple[float, float | None]:
        """Units a second, and the seconds left; 0 and None as long as nothing was done."""
        now = time.monotonic()
        since, at = self._first = self._first or (now, done)
        rate = (done - at) / (now - since) if now > since else 0.0
        return rate, (total - done) / rate if rate else None


class Progress:
    """Shows how far pieces of work are: a bar each on a terminal, elsewhere a line now and then."""

    def __init__(self, screen: TextIO) -> None:
        self._screen, self._shown = screen, time.monotonic()
        self._tasks: dict[str, rich.TaskID] = {}
        console = Console(file=screen)
        # What others print is not for this console: a study's log takes it.
        self._bars = rich.Progress(
            rich.SpinnerColumn(),
            rich.BarColumn(bar_width=24),
            rich.TextColumn("{task.description}", markup=False),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not screen.isatty(),
        )

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def show(self, state: State, name: str = "", last: bool = False) -> None:
        """Show a state of the work ``name``; ``last``: as a line, too, whenever the one before."""
        text, done, total = state
        if not self._bars.disable:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(text)
            self._bars.update(self._tasks[name], description=text, completed=done, total=total)
        elif last or time.monotonic() - self._shown > PLAIN_EVERY:
            self._shown = time.monotonic()
            print(text, file=self._screen, flush=True)


@contextmanager
def watched(screen: TextIO, state: Callable[[], State]) -> Iterator[None]:
    """Show ``state()`` twice a second, from a thread of its own, while the body runs."""
    ended = threading.Event()

    def watch() -> None:
        with Progress(screen) as progress:
            while not ended.wait(0.5):
                progress.show(state())
            progress.show(state(), last=True)

    thread = threading.Thread(target=watch, daemon=True, name="display")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def all_output_to(path: Path) -> Iterator[TextIO]:
    """Send standard output and error to a file, also those of libraries and child processes.

    Yields:
        The standard output as it was, for what the user is to see.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(fd) for fd in (1, 2)]
    like: Any = {"encoding": getattr(sys.stdout, "encoding", None), "errors": "backslashreplace"}
    with path.open("ab") as file, os.fdopen(os.dup(1), "w", buffering=1, **like) as screen:
        try:
            for fd in (1, 2):
                os.dup2(file.fileno(), fd)
            yield screen
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for fd, was in zip((1, 2), kept, strict=True):
                os.dup2(was, fd)
                os.close(was)
