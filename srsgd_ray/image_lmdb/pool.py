"""Shares images out to processes, and gives back what they made, in order.

Each process has a pipe of its own whose other end nobody else holds. So whoever is ended from
outside, in the middle of a message too, is noticed; a pool with one common queue waits for ever
for the rest of that message.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from srsgd_ray.image_lmdb.errors import DataError

__all__ = ["in_processes"]

T = TypeVar("T")
AHEAD = 4  # parts for each process that may be done before they are asked for
PATIENCE = 5.0  # seconds that a process has to leave
ENDING = (signal.SIGINT, signal.SIGTERM)


def _serve(pipe: Connection, work: Callable[[Any, range], T], context: Any) -> None:
    """What a process does: parts come and results go, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    with suppress(EOFError, OSError):
        while True:
            part = pipe.recv()
            try:
                answer: tuple[bool, Any] = True, work(context, part)
            except Exception as error:
                answer = False, error
            pipe.send(answer)


@contextmanager
def _held() -> Iterator[None]:
    """Ctrl-C waits: a parent that leaves off in the middle of a start has its child complain.

    A child inherits the blocked signals, and lets them in when it is ready. In this process
    another thread may still be given one: then its handler is called afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    handlers = {number: signal.signal(number, lambda n, _: came.append(n)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for again in came:
            signal.raise_signal(again)


class _Process:
    """A process, its pipe, and the number of the part that it works on."""

    def __init__(self, work: Callable[[Any, range], Any], context: Any) -> None:
        # spawn: a fork of a process with threads may hang, and would hold other processes' pipes.
        spawn = get_context("spawn")
        self.pipe, other = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(other, work, context), daemon=True)
        with _held():
            self._process.start()
        other.close()
        self.number: int | None = None

    def give(self, number: int, part: range) -> None:
        """Have it work on a part."""
        with _ended_from_outside():
            self.pipe.send(part)
        self.number = number

    def take(self) -> tuple[int | None, Any]:
        """The number of the part and what was made of it, or the error that this raises."""
        with _ended_from_outside():
            right, made = self.pipe.recv()
        if not right:
            raise made
        number, self.number = self.number, None
        return number, made

    def end(self) -> None:
        """Wait until it has gone, after its pipe was closed."""
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


@contextmanager
def _ended_from_outside() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise DataError(
            "a worker process ended unasked (killed for memory? or imported by it, a script of "
            "yours without `if __name__ == '__main__':`?). What was written stays: run the same "
            "again, perhaps with fewer workers."
        ) from error


def in_processes(
    work: Callable[[Any, range], T], context: Any, parts: list[range], workers: int
) -> Generator[T, None, None]:
    """``work(context, part)`` for each part, in order, in several processes.

    Args:
        work: a function at the top of its module.
        context: anything that can be pickled; each process gets it once.
        parts: what there is to do.
        workers: processes; with one, all is done in this one.

    Raises:
        DataError: if a process was ended from outside.
    """
    if workers == 1:
        for part in parts:
            yield work(context, part)
        return
    processes: list[_Process] = []
    made: dict[int | None, T] = {}
    given = 0
    try:
        for _ in range(min(workers, len(parts))):
            processes.append(_Process(work, context))
        for number in range(len(parts)):
            while number not in made:
                for process in processes:
                    # No further ahead: what is made waits in memory.
                    if process.number is None and given < min(len(parts), number + AHEAD * workers):
                        process.give(given, parts[given])
                        given += 1
                busy = {p.pipe: p for p in processes if p.number is not None}
                for pipe in connection.wait(list(busy)):
                    done, result = busy[pipe].take()  # type: ignore[index]
                    made[done] = result
            yield made.pop(number)
    finally:
        for process in processes:
            process.pipe.close()
        for process in processes:
            process.end()
