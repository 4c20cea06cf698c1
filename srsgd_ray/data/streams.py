"""Images that are decoded as they are needed, by threads, a few batches ahead."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srsgd_ray.data.batches import Normaliser
from srsgd_ray.data.dataset import BatchFormat, DataError
from srsgd_ray.data.pictures import Cutter
from srsgd_ray.data.sampler import narrow
from srsgd_ray.image_lmdb.store import Store

__all__ = ["ImageSubset", "Made", "Make", "Skipped", "Streamed", "Wanted"]

# ImageNet's usual ones, of each channel, where 255 counts as 1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
LOG = logging.getLogger("srsgd_ray.data")
AHEAD = 3  # batches that are made before they are asked for
TOGETHER = 8  # images that a thread makes without asking for more


class Skipped:
    """Images that could not be read or decoded, and were left out.

    Attributes:
        count: how often one was left out of a batch that this process was given. Batches that were
            made ahead and never asked for do not count.
        names: of which images, each once.
    """

    def __init__(self) -> None:
        self.count = 0
        self.names: set[str] = set()
        self._lock = threading.Lock()

    def note(self, name: str, error: DataError) -> None:
        """Log an image the first time."""
        with self._lock:
            if name in self.names:
                return
            self.names.add(name)
        LOG.warning("an image is left out: %s", error)

    def __getstate__(self) -> dict[str, object]:
        """Without the lock."""
        return {"count": self.count, "names": self.names}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


@dataclass(frozen=True)
class ImageSubset:
    """Some images of a store.

    Attributes:
        source: the store.
        indices: which of its images, integers (N,); None: all.
        size: pixels a side of what is made of them.
        threads: that decode; 0: this process's share of the CPUs.
        skipped: where unreadable images are noted, which are then left out of their batch; None:
            the first one is an error.
        holding: what must live as long as the images are read.
    """

    source: Store
    indices: Tensor | None = None
    size: int = 224
    threads: int = 0
    skipped: Skipped | None = None
    holding: object = field(default=None, repr=False)


Make = Callable[[int, int, Tensor], None]


class Wanted(NamedTuple):
    """A batch to be made.

    Attributes:
        numbers: of its images in the subset, integers (B,).
        make: makes one: given its place in the batch, its number in the store, what to fill.
        flip: which are to be mirrored left to right, bool (B,); None: none.
        share: see :class:`Made`.
    """

    numbers: npt.NDArray[np.integer[Any]]
    make: Make
    flip: Tensor | None = None
    share: float = 1.0


class Made(NamedTuple):
    """A batch on the CPU, neither mirrored nor normalised yet.

    Attributes:
        pixels: uint8 (B, size, size, 3); used for a later batch once the next one is asked for.
        labels: int64 (B,).
        flip: which are to be mirrored left to right, bool (B,); None: none.
        share: of one image's loss in the mean over the global batch, times the world size: world
            size / images in the global batch. Images that were left out have their part's others
            stand in for them, so that the weights of a batch still sum to one.
    """

    pixels: Tensor
    labels: Tensor
    flip: Tensor | None
    share: float


class Streamed:
    """Images made by threads; what is made depends on no thread's timing."""

    def __init__(self, subset: ImageSubset, layout: BatchFormat) -> None:
        self._source, self._size, self._threads = subset.source, subset.size, subset.threads
        self._skipped, self._holding = subset.skipped, subset.holding
        self._indices = narrow(
            torch.arange(len(subset.source)) if subset.indices is None else subset.indices
        )
        self._layout, self._device = layout, layout.device
        self._finish = Normaliser(3, MEAN, STD, layout.device, torch.float32, layout.channels_last)
        self._cutter = Cutter(subset.size, checked=subset.source.checked)

    @property
    def by_pillow(self) -> int:
        """Images that Pillow decoded so far, because they are no usual JPEG (it is slower)."""
        return self._cutter.by_pillow

    def _stream(
        self, batches: Iterator[Wanted], *, may_be_empty: bool = False
    ) -> Generator[Made, None, None]:
        """The batches in turn, a few of them made ahead.

        Args:
            batches: what is wanted.
            may_be_empty: whether a batch without a readable image is passed over; else an error.

        Raises:
            DataError: for an unreadable image, unless such are skipped.
        """
        pool = ThreadPoolExecutor(_threads(self._threads), thread_name_prefix="decode")
        reader = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        rooms = _Rooms(self._size, pinned=self._device.type == "cuda")
        pending: deque[tuple[Wanted, list[int], Tensor, list[Future[list[int]]]]] = deque()
        try:
            while True:
                for batch in islice(batches, AHEAD - len(pending)):
                    indices = self._indices[batch.numbers].tolist()
                    reader.submit(self._source.prefetch, indices)
                    pixels = rooms.take(len(indices))
                    jobs = self._begin(pool, indices, batch.make, pixels)
                    pending.append((batch, indices, pixels, jobs))
                if not pending:
                    return
                batch, indices, pixels, jobs = pending.popleft()
                labels = torch.tensor([self._source.label(index) for index in indices])
                made = Made(pixels, labels, batch.flip, batch.share)
                missing = [place for job in jobs for place in job.result()]
                if self._skipped is not None:
                    self._skipped.count += len(missing)
                if not may_be_empty or len(missing) < len(indices):
                    yield _without(made, missing)
                rooms.give(pixels)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            reader.shutdown(wait=True, cancel_futures=True)

    def _begin(
        self, pool: ThreadPoolExecutor, indices: list[int], make: Make, pixels: Tensor
    ) -> list[Future[list[int]]]:
        """The jobs that fill a batch; each gives the places that it had to leave empty."""

        def fill(places: range) -> list[int]:
            missing = []
            for place in places:
                try:
                    make(place, indices[place], pixels[place])
                except DataError as error:
                    if self._skipped is None:
                        raise
                    self._skipped.note(self._source.name(indices[place]), error)
                    missing.append(place)
            return missing

        count = len(indices)
        step = max(1, min(TOGETHER, count // (2 * _threads(self._threads))))
        parts = [range(n, min(n + step, count)) for n in range(0, count, step)]
        return [pool.submit(fill, part) for part in parts]

    def _finished(self, made: Made) -> tuple[Tensor, Tensor]:
        """float32 (B, 3, size, size), mirrored and normalised, and labels, on the device."""
        moved = made.pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        if not self._layout.channels_last:
            moved = moved.contiguous()  # a quarter of the bytes that floats would have
        if made.flip is not None:
            there = made.flip.to(self._device, non_blocking=True)[:, None, None, None]
            moved = torch.where(there, moved.flip(3), moved)
        return self._finish(moved), made.labels.to(self._device, non_blocking=True)


def _without(made: Made, missing: list[int]) -> Made:
    """The batch without those places; the other images count for them too."""
    if not missing:
        return made
    if len(missing) == len(made.labels):
        raise DataError(
            f"a batch needs a readable image, but none of its {len(missing)} is. Find them with "
            f"`srsgd-ray lmdb verify`, or see whether the disk is there."
        )
    places = torch.tensor([n for n in range(len(made.labels)) if n not in missing])
    flip = None if made.flip is None else made.flip[places]
    share = made.share * len(made.labels) / len(places)
    return Made(made.pixels[places], made.labels[places], flip, share)


class _Rooms:
    """Memory of batches. On a CPU it is used again: new memory costs a fault every 4 kB."""

    def __init__(self, size: int, *, pinned: bool) -> None:
        self._size, self._pinned = size, pinned
        self._free: list[Tensor] = []

    def take(self, count: int) -> Tensor:
        """uint8 (count, size, size, 3), not filled."""
        for n, room in enumerate(self._free):
            if len(room) == count:
                return self._free.pop(n)
        shape = (count, self._size, self._size, 3)
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self._pinned)

    def give(self, room: Tensor) -> None:
        """Memory that is no longer read. A pinned one may be: torch itself knows until when."""
        if not self._pinned and len(self._free) <= AHEAD:
            self._free.append(room)


def _threads(wanted: int) -> int:
    """Threads that decode: as many as wanted, or this process's share of the CPUs."""
    share = wanted or torch.get_num_threads()
    if share == 1 and not wanted and "TORCHELASTIC_RUN_ID" in os.environ:
        # torchrun allows torch one thread, however many CPUs there are.
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        share = max(1, len(os.sched_getaffinity(0)) // local)
    return share
