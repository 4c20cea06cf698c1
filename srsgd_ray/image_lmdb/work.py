"""Shares images out to processes, and gives back what they made, in order."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.prepare import Options, Sample, prepare
from srsgd_ray.image_lmdb.store import Store

__all__ = ["in_processes", "prepared"]

T = TypeVar("T")
PART = 20  # images that a process is given at a time
_HERE: dict[str, Any] = {}  # of a worker process: what it works with


def _begin(context: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    _HERE["context"] = context


def _call(work: Callable[[Any, range], T], numbers: range) -> T:
    return work(_HERE["context"], numbers)


def in_processes(
    work: Callable[[Any, range], T], context: Any, parts: list[range], workers: int
) -> Iterator[T]:
    """``work(context, part)`` for each part, in order, in several processes.

    Args:
        work: a function at the top of its module.
        context: anything that can be pickled; each process gets it once.
        parts: what there is to do; at most four for each process are under way.
        workers: processes; with one, all is done in this one.

    Raises:
        DataError: if a process was ended from outside.
    """
    if workers == 1:
        for part in parts:
            yield work(context, part)
        return
    # spawn: a fork of a process with threads may hang.
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_begin, initargs=(context,)
    )
    waiting: deque[Future[T]] = deque()
    try:
        todo = iter(parts)
        while True:
            for part in todo:
                waiting.append(pool.submit(_call, work, part))
                if len(waiting) >= 4 * workers:
                    break
            if not waiting:
                return
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process was ended from outside (too little memory?). What was written stays: "
            "run the same again, perhaps with fewer workers."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare(context: tuple[Store, Options], numbers: range) -> list[Sample | None]:
    store, options = context
    made: list[Sample | None] = []
    for index in numbers:
        try:
            made.append(prepare(store.read(index), options, store.name(index)))
        except DataError as error:
            if options.on_corrupt == "stop":
                hint = "Or go on without such images: --on-corrupt skip."
                raise DataError(f"{error} {hint}") from error
            made.append(None)
    return made


def prepared(
    store: Store, options: Options, begin: int, together: int, workers: int
) -> Iterator[tuple[int, list[Sample | None]]]:
    """The images from number ``begin`` on as they are stored, up to ``together`` at a time.

    Each list ends at a multiple of ``together``, wherever it begins. None stands for an image that
    is skipped.

    Raises:
        DataError: for an image that cannot be decoded, unless such are skipped.
    """
    count = len(store)
    parts = []
    for first in range(begin // together * together, count, together):
        low, high = max(first, begin), min(first + together, count)
        parts += [range(n, min(n + PART, high)) for n in range(low, high, PART)]
    samples: list[Sample | None] = []
    for part, made in zip(
        parts, in_processes(_prepare, (store, options), parts, workers), strict=True
    ):
        samples += made
        if part.stop % together == 0 or part.stop == count:
            yield part.stop - len(samples), samples
            samples = []
