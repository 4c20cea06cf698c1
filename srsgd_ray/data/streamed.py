"""Batches of images that lie in a store: decoded as they are needed, by threads, a few ahead."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from srsgd_ray.data.batches import Normaliser
from srsgd_ray.data.crops import CropDraws, Cutter, crop_draws
from srsgd_ray.data.dataset import BatchFormat
from srsgd_ray.data.epochs import Epochs, Evaluations, Share, epoch_order, narrow
from srsgd_ray.data.subset import ImageSubset
from srsgd_ray.image_lmdb import DataError

# ImageNet's usual ones, of each channel, where 255 counts as 1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
AHEAD = 3  # batches that are made before they are asked for
TOGETHER = 8  # images that a thread makes without asking for more


@dataclass(eq=False)
class Batch:
    """A batch on the CPU, neither mirrored nor normalised: as it is wanted, then as it is made.

    Attributes:
        indices: numbers of its images in the store.
        make: cuts one into what it is given: its place in the batch, its number in the store, the
            pixels to fill.
        flip: which are to be mirrored left to right, bool (B,); None: none.
        share: of one image's loss in the mean over the global batch, times the world size: world
            size / images in the global batch. Images that were left out have their part's others
            stand in for them, so that the weights of a batch still sum to one.
        pixels: uint8 (B, size, size, 3); used for a later batch once the next one is asked for.
        labels: int64 (B,).
    """

    indices: list[int]
    make: Callable[[int, int, Tensor], None]
    flip: Tensor | None = None
    share: float = 1.0
    pixels: Tensor = field(init=False)
    labels: Tensor = field(init=False)

    def leave_out(self, missing: list[int]) -> None:
        """Drop the images at those places; the other images count for them too."""
        count = len(self.labels)
        if len(missing) == count:
            raise DataError(
                f"a batch needs a readable image, but none of its {count} is. Find them with "
                f"`srsgd-ray lmdb verify`, or see whether the disk is there."
            )
        places = torch.tensor([n for n in range(count) if n not in missing])
        self.pixels, self.labels = self.pixels[places], self.labels[places]
        self.flip = None if self.flip is None else self.flip[places]
        self.share = self.share * count / len(places)


class _Streamed:
    """Images made by threads; what is made depends on no thread's timing."""

    def __init__(self, subset: ImageSubset, layout: BatchFormat) -> None:
        self._source, self._size, self._threads = subset.source, subset.size, subset.threads
        self._skipped, self._holding = subset.skipped, subset.holding
        self._indices = narrow(
            torch.arange(len(subset.source)) if subset.indices is None else subset.indices
        )
        self.count = len(self._indices)
        self._layout, self._device = layout, layout.device
        self._finish = Normaliser(3, MEAN, STD, layout.device, torch.float32, layout.channels_last)
        self._cutter = Cutter(subset.size, checked=subset.source.checked)

    @property
    def by_pillow(self) -> int:
        """Images that Pillow decoded so far, because they are no usual JPEG (it is slower)."""
        return self._cutter.by_pillow

    def _central(self, place: int, index: int, out: Tensor) -> None:
        self._cutter.central(self._source.read(index), partial(self._source.name, index), out)

    def _stream(
        self, batches: Iterator[Batch], *, may_be_empty: bool = False
    ) -> Generator[Batch, None, None]:
        """The batches in turn, a few of them made ahead.

        ``may_be_empty`` says that a batch without a readable image is passed over; else it is an
        error.
        """
        pool = ThreadPoolExecutor(_threads(self._threads), thread_name_prefix="decode")
        reader = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        rooms = _Rooms(self._size, pinned=self._device.type == "cuda")
        pending: deque[tuple[Batch, list[Future[list[int]]]]] = deque()
        try:
            while True:
                for batch in islice(batches, AHEAD - len(pending)):
                    reader.submit(self._source.prefetch, batch.indices)
                    batch.pixels = rooms.take(len(batch.indices))
                    pending.append((batch, self._begin(pool, batch)))
                if not pending:
                    return
                batch, jobs = pending.popleft()
                room = batch.pixels
                batch.labels = torch.tensor([self._source.label(index) for index in batch.indices])
                missing = [place for job in jobs for place in job.result()]
                if self._skipped is not None:
                    self._skipped.count += len(missing)
                if not may_be_empty or len(missing) < len(batch.indices):
                    if missing:
                        batch.leave_out(missing)
                    yield batch
                rooms.give(room)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            reader.shutdown(wait=True, cancel_futures=True)

    def _begin(self, pool: ThreadPoolExecutor, batch: Batch) -> list[Future[list[int]]]:
        """The jobs that fill a batch; each gives the places that it had to leave empty."""
        indices, pixels = batch.indices, batch.pixels

        def fill(places: range) -> list[int]:
            missing = []
            for place in places:
                try:
                    batch.make(place, indices[place], pixels[place])
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

    def _finished(self, made: Batch) -> tuple[Tensor, Tensor]:
        """float32 (B, 3, size, size), mirrored and normalised, and labels, on the device."""
        moved = made.pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        if not self._layout.channels_last:
            moved = moved.contiguous()  # a quarter of the bytes that floats would have
        if made.flip is not None:
            there = made.flip.to(self._device, non_blocking=True)[:, None, None, None]
            moved = torch.where(there, moved.flip(3), moved)
        return self._finish(moved), made.labels.to(self._device, non_blocking=True)


class StreamedTrain(_Streamed, Epochs):
    """Shuffled, augmented, normalised batches: ``RandomResizedCrop`` and a flip half of the time.

    As in :class:`srsgd_ray.data.TrainBatches`, order and augmentation are drawn from (seed, epoch)
    alone, and a global batch is divided by rank: the images of all ranks together are bit for
    bit those of a single one, for any number of threads. Crops are distributed as torchvision's;
    their pixels differ from those of Pillow's antialiased scaling by 0.03/255 in the mean. Images
    stay uint8 until they are on the device; flip and normalisation are of whole batches.

    Where an unreadable image is skipped, the batch is shorter and its share larger: the other
    images of this rank count for it, so that the step is still along a mean of gradients. Where
    none is skipped, an unreadable image raises DataError.

    Memory besides the batches: 4 bytes an image for an epoch's order and 4 for the subset, 10 MB
    for ImageNet; our own store (:class:`srsgd_ray.image_lmdb.ImageLmdb`) adds none.

    Args:
        subset: the images.
        layout: device and memory format of the batches.
        augment: False only shuffles, in the same order: each image's central crop, not mirrored.
    """

    def __init__(self, subset: ImageSubset, layout: BatchFormat, *, augment: bool = True) -> None:
        super().__init__(subset, layout)
        self._augment = augment

    def order(self, seed: int, epoch: int) -> Tensor:
        """Which of the images is at each position of an epoch, int64 (N,)."""
        return epoch_order(self.count, seed, epoch)

    def _batches(
        self, seed: int, epoch: int, shares: Iterator[Share]
    ) -> Iterator[tuple[Tensor, Tensor, float]]:
        made = self.pixels(seed, epoch, shares)
        return ((*self._finished(batch), batch.share) for batch in made)

    def pixels(
        self, seed: int, epoch: int, shares: Iterable[Share]
    ) -> Generator[Batch, None, None]:
        """What :meth:`epoch` gives, as it is before it goes to the device."""
        order = narrow(self.order(seed, epoch))

        def wanted() -> Iterator[Batch]:
            for own, weight in shares:
                indices = self._indices[order[own]].tolist()
                if not self._augment:
                    yield Batch(indices, self._central, share=weight)
                    continue
                draws = crop_draws(seed, epoch, own.start, own.stop, own.step)
                flip = torch.from_numpy(draws.flip)
                yield Batch(indices, partial(self._random, draws), flip, weight)

        return self._stream(wanted())

    def _random(self, draws: CropDraws, place: int, index: int, out: Tensor) -> None:
        image, name = self._source.read(index), partial(self._source.name, index)
        self._cutter.random(image, name, draws.tries[place], draws.place[place], out)


class StreamedEval(_Streamed, Evaluations):
    """Normalised central crops of a set in its own order.

    As torchvision's ``Resize`` and ``CenterCrop``; the pixels differ from those of Pillow's
    antialiased scaling by 0.03/255 in the mean. A batch in which no image is readable is left out,
    where such are skipped; else an unreadable image raises DataError.

    Args:
        subset: the images.
        layout: device and memory format of the batches.
    """

    usual = 100

    def _parts(self, parts: list[range]) -> Iterator[tuple[Tensor, Tensor]]:
        own = (self._indices[part.start : part.stop : part.step].tolist() for part in parts)
        wanted = (Batch(indices, self._central) for indices in own)
        return (self._finished(batch) for batch in self._stream(wanted, may_be_empty=True))


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
