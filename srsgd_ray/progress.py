"""Progress: bars on a terminal, elsewhere a line now and then; and a file for other output."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

import rich.progress as rich
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

__all__ = [
    "Overview",
    "Pace",
    "Piece",
    "Progress",
    "State",
    "all_output_to",
    "duration",
    "waiting",
    "watched",
]

PLAIN_EVERY, PLAIN_AT_LEAST = 15.0, 300.0  # seconds between lines where the output is no terminal
SHOW_EVERY, SHOW_SHARE = 0.5, 50.0  # seconds between two looks; and how often the time of one
BAR = 16  # columns
State = tuple[str, int, int]  # a text, how much is done, and of how much


def duration(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def waiting(since: Mapping[str, float], need: str, now: float) -> str:
    """How many wait, for what and for how long, as in "2 wait for X, 0:31 so far"; "" for none."""
    if not since:
        return ""
    said = f"{len(since)} wait{'s' * (len(since) == 1)} for {need}"
    return f"{said}, {duration(now - min(since.values()))} so far"


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


class _Seldom:
    """When a line is due where there is no terminal: every 15 s, and less and less often."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time for the next one."""
        now = time.monotonic()
        if now - self._last <= min(PLAIN_AT_LEAST, max(PLAIN_EVERY, (now - self._began) / 10)):
            return False
        self._last = now
        return True


class Progress:
    """Shows how far pieces of work are: a bar each on a terminal, elsewhere a line now and then."""

    def __init__(self, screen: TextIO) -> None:
        self._screen, self._seldom = screen, _Seldom()
        self._tasks: dict[str, rich.TaskID] = {}
        self._bars = rich.Progress(
            rich.SpinnerColumn(),
            rich.BarColumn(bar_width=24),
            rich.TextColumn("{task.description}", markup=False),
            console=Console(file=screen),
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
        elif last or self._seldom.due():
            print(text, file=self._screen, flush=True)


@dataclass(frozen=True)
class Piece:
    """A piece of work that goes on: what it is, and how far. Each item stays in one line."""

    what: Sequence[str]
    done: int
    total: int
    far: Sequence[str]


@dataclass(frozen=True)
class Overview:
    """Work that goes on in several pieces.

    Attributes:
        whole: how far all of it is: the line where there is no terminal.
        pieces: what goes on now.
        short: what is said of the pieces where a terminal is too low for all.
    """

    whole: Sequence[str]
    pieces: Sequence[Piece] = ()
    short: str = ""


@contextmanager
def watched(screen: TextIO, overview: Callable[[], Overview]) -> Iterator[TextIO]:
    """Show ``overview()`` from a thread of its own while the body runs, twice a second.

    Yields:
        Where to print what is to stand above it.
    """
    console, seldom, ended = Console(file=screen), _Seldom(), threading.Event()
    terminal = screen.isatty() and not console.is_dumb_terminal
    live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def show(last: bool) -> None:
        found = overview()
        if terminal:
            # Of the screen itself: standard output leads elsewhere by now.
            try:
                width, height = os.get_terminal_size(screen.fileno())
            except OSError:  # it was closed
                width, height = 80, 25
            console.size = ConsoleDimensions(width or 80, height or 25)
            live.update(_drawn(console, found), refresh=True)
        elif last or seldom.due():
            print(" | ".join(found.whole), file=screen, flush=True)

    def watch() -> None:
        wait = SHOW_EVERY
        while not ended.wait(wait):
            began = time.monotonic()
            show(last=False)
            wait = max(SHOW_EVERY, SHOW_SHARE * (time.monotonic() - began))
        show(last=True)

    thread = threading.Thread(target=watch, daemon=True, name="display")
    with live if terminal else nullcontext():
        thread.start()
        try:
            yield cast("TextIO", FileProxy(console, screen)) if terminal else screen
        finally:
            ended.set()
            thread.join()


def _drawn(console: Console, found: Overview) -> Group:
    """The whole, and two lines or more a piece; or the whole alone where they do not all fit."""
    whole = _packed(found.whole, " | ", console.width)
    lines = list(whole)
    for piece in found.pieces:
        lines += _packed(piece.what, "  ", console.width)
        bar = ProgressBar(total=max(1, piece.total), completed=piece.done, width=BAR)
        first, *more = _packed(piece.far, ", ", console.width - BAR - 3)
        grid = Table.grid(padding=(0, 1))
        grid.add_row("", bar, first)
        lines += [grid, *(Padding(line, (0, 0, 0, BAR + 3)) for line in more)]
    if len(console.render_lines(Group(*lines), pad=False)) >= console.height and found.pieces:
        return Group(*whole, *_packed([found.short], "", console.width))
    return Group(*lines)


def _packed(items: Sequence[str], between: str, width: int) -> list[RenderableType]:
    """Lines of items, as many in each as fit; an item that is too long alone is folded."""
    lines: list[str] = []
    for item in items:
        if lines and cell_len(longer := f"{lines[-1]}{between}{item}") <= width:
            lines[-1] = longer
        else:
            lines.append(item)
    return [Text(line, overflow="fold") for line in lines]


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
            for fd, was, stream in zip((1, 2), kept, (sys.stdout, sys.stderr), strict=True):
                try:
                    stream.flush()
                except OSError:  # the file's disk is full: what is left is for nobody
                    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
                    stream.flush()
                os.dup2(was, fd)
                os.close(was)
