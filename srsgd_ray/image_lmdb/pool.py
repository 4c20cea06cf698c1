"""Several processes that work on parts, whose results come in order.

Each process has a pipe of its own whose other end nobody else holds. So a process that is ended
from outside, in the middle of a message too, is noticed; ``ProcessPoolExecutor``, whose processes
share one queue, waits for ever for the rest of that message.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

from srsgd_ray.image_lmdb.errors import DataError

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
    """Ctrl-C waits: a parent that is interrupted in the middle of a start has its child complain.

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
    """A process and its pipe; called with a part, it gives what the process made of it."""

    def __init__(self, work: Callable[[Any, range], Any], context: Any) -> None:
        # spawn: a fork of a process with threads may hang, and would hold other processes' pipes.
        spawn = get_context("spawn")
        self._pipe, other = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(other, work, context), daemon=True)
        with _held():
            self._process.start()
        other.close()

    def __call__(self, part: range) -> Any:
        try:
            self._pipe.send(part)
            right, made = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise DataError(
                "a worker process ended unasked (killed for memory? or imported by it, a script of "
                "yours without `if __name__ == '__main__':`?). What was written stays: run the "
                "same again, perhaps with fewer workers."
            ) from error
        if not right:
            raise made
        return made

    def end(self) -> None:
        """Close the pipe, and wait until the process has gone."""
        self._pipe.close()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


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
        yield from (work(context, part) for part in parts)
        return
    idle: SimpleQueue[_Process] = SimpleQueue()

    def done(part: range) -> T:
        process = idle.get()
        try:
            made: T = process(part)
            return made
        finally:
            idle.put(process)

    with ExitStack() as stack:
        for _ in range(min(workers, len(parts))):
            idle.put(process := _Process(work, context))
            stack.callback(process.end)
        threads = ThreadPoolExecutor(workers)
        stack.callback(threads.shutdown, cancel_futures=True)
        coming: deque[Future[T]] = deque()
        for part in parts:
            coming.append(threads.submit(done, part))
            if len(coming) > AHEAD * workers:  # what is made waits in memory
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
