"""The one live display of a running study, and the log file that takes all the rest."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from srsgd_ray.study.controller import Controller, Counts

__all__ = ["Display", "all_output_to", "duration"]

PLAIN_EVERY = 15.0  # seconds between two lines where the output is no terminal


@contextmanager
def all_output_to(log: Path) -> Iterator[TextIO]:
    """Send standard output and error to ``log``, also those of libraries and child processes.

    Yields:
        The standard output as it was, for what the user is to see.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(fd) for fd in (1, 2)]
    with log.open("ab") as file, os.fdopen(os.dup(1), "w", buffering=1) as screen:
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


def duration(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Display:
    """Trials done, best so far, time left; a bar on a terminal, a line now and then elsewhere.

    It reads the controller from a thread of its own, so that it lives while Ray starts, too.
    """

    def __init__(self, controller: Controller, screen: TextIO) -> None:
        self._controller = controller
        # A pipe has no width of its own; 80 columns would cut lines in a log.
        self._console = Console(file=screen, width=None if screen.isatty() else 120)
        self._live = self._console.is_terminal
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="display")
        self._began = time.monotonic()
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> Display:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        if not self._live:
            while not self._stop.wait(PLAIN_EVERY):
                self._console.print(self._line(), highlight=False)
            self._console.print(self._line(), highlight=False)
            return
        columns = (SpinnerColumn(), BarColumn(bar_width=24), TextColumn("{task.description}"))
        # What others print goes to the log, not through this console.
        with Progress(
            *columns, console=self._console, redirect_stdout=False, redirect_stderr=False
        ) as bar:
            task = bar.add_task(self._line())
            ended = False
            while not ended:
                ended = self._stop.wait(0.5)
                counts = self._controller.counts()
                bar.update(
                    task,
                    description=self._line(),
                    completed=counts.epochs_done,
                    total=counts.epochs,
                )

    def _line(self) -> str:
        counts = self._controller.counts()
        best = ", ".join(
            f"{arm} {value:.4g}" for arm, value in self._controller.best_so_far().items()
        )
        study = self._controller.study
        found = "no trial is complete yet"
        if best:
            word = "lowest" if study.mode == "min" else "highest"
            found = f"{word} {study.metric}: {best}"
        parts = [
            f"{counts.trials_done}/{counts.trials} trials",
            found if study.trials else f"{counts.epochs_done}/{counts.epochs} epochs",
            f"{duration(time.monotonic() - self._began)} gone",
            self._left(counts),
        ]
        return " | ".join(part for part in parts if part)

    def _left(self, counts: Counts) -> str:
        """Time left at the pace since the first epoch of this session; "" before there is one."""
        now = time.monotonic()
        if self._first is None:
            if counts.epochs_done:
                self._first = (now, counts.epochs_done)
            return "starting workers" if not counts.epochs_done else ""
        since, at = self._first
        if counts.epochs_done <= at:
            return ""
        pace = (now - since) / (counts.epochs_done - at)
        return f"{duration(pace * (counts.epochs - counts.epochs_done))} left"
