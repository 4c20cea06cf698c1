"""Rates of several ways of doing the same, taken in turn, and what a disk was asked for."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rows import quartiles, ratios

from srsgd_ray.image_lmdb.store import Store

__all__ = ["Rate", "bytes_read", "drop_cache", "rates", "read_ahead", "table"]


@dataclass(frozen=True)
class Rate:
    """How fast one way is.

    Attributes:
        values: images a second, one a round.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Over the rounds."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Over the rounds, interpolated."""
        low, _, high = quartiles(self.values)
        return low, high

    def over(self, other: Rate) -> Rate:
        """Ratios, round by round."""
        return Rate(tuple(ratios(self.values, other.values)))


def rates(
    ways: Mapping[str, Callable[[int], int]],
    rounds: int,
    *,
    warm_up: bool = True,
    before: Mapping[str, Callable[[], None]] | None = None,
) -> dict[str, Rate]:
    """Take each way once a round, in turn, so that a busy machine slows all of them.

    Args:
        ways: each called with the number of the round; returns how many images it handled.
        rounds: that are counted.
        warm_up: whether one more comes before.
        before: what is done before a way is taken, outside of its time.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-1 if warm_up else 0, rounds):
        for name, way in ways.items():
            if before is not None and name in before:
                before[name]()
            began = time.perf_counter()
            count = way(max(turn, 0))
            if turn >= 0:
                found[name].append(count / (time.perf_counter() - began))
    return {name: Rate(tuple(values)) for name, values in found.items()}


def table(found: Mapping[str, Rate], against: str, *, width: int = 44) -> str:
    """Lines of name, images/s and ratio to one of them, each with quartiles."""
    lines = [f"{'':{width}}{'images/s':>10}  {'[quartiles]':>18}{'ratio':>8}  [quartiles]"]
    for name, rate in found.items():
        ratio = rate.over(found[against])
        low, high = rate.quartiles
        at, to = ratio.quartiles
        spread = f"[{low:,.0f}, {high:,.0f}]"
        lines.append(
            f"{name:{width}}{rate.median:>10,.0f}  {spread:>18}{ratio.median:>8.2f}"
            f"  [{at:.2f}, {to:.2f}]"
        )
    return "\n".join(lines)


def drop_cache(path: Path) -> None:
    """Have the system forget what it holds of a file, or of all files in a folder."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def bytes_read() -> int | None:
    """Bytes that this process has had a disk read so far; None where the system does not say."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return None
    return int(dict(line.split(": ") for line in lines)["read_bytes"])


def read_ahead(store: Store, order: Sequence[int], *, window: int = 64) -> int:
    """Read samples in an order, the next ``window`` of them asked for before; their bytes."""
    total = 0
    store.prefetch(order[:window])
    for n, index in enumerate(order):
        store.prefetch(order[n + window : n + window + 1])
        data = store.read(index)
        total += len(data) if isinstance(data, bytes) else data.nbytes
    return total
