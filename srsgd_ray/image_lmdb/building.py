"""From what people have, a folder tree, a tar or a database, to databases in our layout."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from srsgd_ray.image_lmdb.build_checks import (
    check_outside,
    check_place,
    check_room,
    map_size,
    plan_of,
    room_of,
    stated,
    tidy,
)  # fmt: skip
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.folder import FolderStore
from srsgd_ray.image_lmdb.opening import PAIRS, check_classes, open_pair, open_store
from srsgd_ray.image_lmdb.own import ImageLmdb
from srsgd_ray.image_lmdb.pool import in_processes
from srsgd_ray.image_lmdb.prepare import Options, prepare_part
from srsgd_ray.image_lmdb.store import Store, StrPath
from srsgd_ray.image_lmdb.tars import TarStore
from srsgd_ray.image_lmdb.writer import MOST, Writer

PARTS = ("train", "val")
PART = 20  # images that a process is given at a time
REPORTED_EVERY = 20  # images
Progress = Callable[[str, int, int, int], None]


@dataclass(frozen=True)
class Built:
    """A finished database: its file, how many samples that holds and how many bytes it takes.

    ``skipped`` are the images that could not be decoded, by their names in the source; ``kept``
    says that it was there already, and stayed as it was. ``lost`` counts the images prepared now of
    which something is not read, by its kind in :data:`srsgd_ray.image_lmdb.losses.LOSSES`.
    """

    path: Path
    samples: int
    skipped: tuple[str, ...]
    bytes: int
    kept: bool = False
    lost: Mapping[str, int] = field(default_factory=dict)


def build(
    source: StrPath,
    destination: StrPath,
    options: Options | None = None,
    *,
    workers: int = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Built]:
    """Databases of image files.

    Each grows under the name ``PATH.partial`` and is renamed when it is whole and on the disk, of a
    pair when both are. Interrupted at any moment and called again with the same images and options,
    it is resumed, and the file has the same bytes in the end.

    Args:
        source: a folder with a folder a class; a folder with two such, ``train`` and ``val``; or a
            tar file of a tar or folder a class.
        destination: the database; of ``train`` and ``val``, the folder for both.
        options: how images are stored.
        workers: processes that prepare images; 0: one for each CPU.
        force: whether to replace finished databases, and half-built ones that cannot be resumed.
        progress: called with (name, images done, of how many, bytes written).

    Raises:
        ValueError: for a source, place or options that cannot be, before anything is written.
        DataError: for an image that cannot be decoded, unless such are skipped; too little room.
    """
    (options := options or Options()).check()
    source, destination = Path(source), Path(destination)
    jobs: dict[Path, Store]
    if source.is_file():
        jobs = {destination: TarStore(source)}
    elif not source.is_dir():
        raise DataError(f"{source} must be a folder or a tar file, but is not there. Correct it.")
    elif any((source / name).exists() for name in ("data.mdb", *PAIRS[0], *PAIRS[1])):
        raise DataError(
            f"{source} must be a folder of image files, but is of databases. Use `srsgd-ray lmdb "
            f"convert`."
        )
    elif all((source / part).is_dir() for part in PARTS):
        train, val = (FolderStore(source / part) for part in PARTS)
        check_classes(train, val)
        check_outside(source, destination)
        jobs = _pair(destination, train, val)
    else:
        jobs = {destination: FolderStore(source)}
    return _make(jobs, options, workers, force, progress)


def convert(
    source: StrPath,
    destination: StrPath,
    options: Options | None = None,
    *,
    workers: int = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Built]:
    """Databases of databases: ``source`` is one of any layout, or a folder with a pair of them.

    Other arguments and errors are those of :func:`build`.
    """
    (options := options or Options()).check()
    source, destination = Path(source), Path(destination)
    pair = any(all((source / name).exists() for name in names) for names in PAIRS)
    if pair and not (source / "data.mdb").exists():
        jobs = _pair(destination, *open_pair(source))
    else:
        jobs = {destination: open_store(source)}
    return _make(jobs, options, workers, force, progress)


def _pair(destination: Path, train: Store, val: Store) -> dict[Path, Store]:
    if destination.is_file() or destination.suffix == ".lmdb":
        raise ValueError(
            f"train and val are made into a folder, but {destination} is the name of a file. Name "
            f"a folder."
        )
    return {destination / "train.lmdb": train, destination / "val.lmdb": val}


class _Job:
    """One database, made of one store."""

    room: tuple[float, int]  # see room_of
    writer: Writer

    def __init__(self, path: Path, store: Store, options: Options) -> None:
        self.path, self.store, self.options = path, store, options
        self.lost: Counter[str] = Counter()

    def kept(self) -> Built:
        """The finished part of a pair that is there already, if the other is built like it."""
        there, now = ImageLmdb(self.path), stated(self.store, self.options)
        was = {name: getattr(there.header, name) for name in now}
        differ = [f"{n}={was[n]!r} (now {now[n]!r})" for n in now if was[n] != now[n]]
        if there.classes != self.store.classes:
            differ.append("other classes")
        if differ:
            raise ValueError(
                f"{self.path} is there already, built with {', '.join(differ)}. Replace both parts "
                f"with --force, or choose another folder."
            )
        return Built(self.path, len(there), (), self.path.stat().st_size, kept=True)

    def begin(self, force: bool) -> Writer:
        """The database as far as it has grown."""
        self.writer = Writer(
            self.path,
            plan_of(self.store, self.options),
            map_size(len(self.store), self.room[1]),
            force=force,
            may_skip=self.options.on_corrupt == "skip",
        )
        return self.writer

    def fill(self, workers: int, progress: Progress) -> None:
        """Prepare and store all images that are missing, and what makes the database whole."""
        store, writer, count = self.store, self.writer, len(self.store)

        def report() -> None:
            progress(writer.path.name, writer.done, count, writer.size)

        report()
        if writer.whole:
            return
        labels = store.labels
        size = max(1, min(PART, int(MOST / 16 / self.room[0])))
        parts = [range(n, min(n + size, count)) for n in range(writer.done, count, size)]
        with closing(in_processes(prepare_part, (store, self.options), parts, workers)) as made:
            for sample in chain.from_iterable(made):
                self.lost.update(sample.lost if sample is not None else ())
                stored = writer.add(sample, int(labels[writer.done]))
                if (stored or writer.done % REPORTED_EVERY == 0) and writer.done < count:
                    report()
        writer.flush()
        report()
        kept = np.flatnonzero(writer.entries["offset"])
        empty = sorted(set(labels.tolist()) - set(labels[kept].tolist()))
        if empty:
            raise DataError(
                f"every class needs an image that can be decoded, but {len(empty)} have none: "
                f"{', '.join(store.classes[label] for label in empty[:5])}. Get their images anew "
                f"and remove {writer.partial}, or leave the classes out of {store.path}."
            )
        names = [store.key(n).encode(errors="surrogateescape") for n in kept.tolist()]
        if sum(map(len, names)) >= 2**32:
            raise DataError(f"names must take less than 4 GiB, but those of {store.path} do not.")
        writer.finish(names, store.classes, stated(store, self.options))

    def publish(self) -> Built:
        """Give the whole database its name, and list what was skipped."""
        path, entries = self.path, self.writer.entries
        skipped = [self.store.key(n) for n in np.flatnonzero(entries["offset"] == 0).tolist()]
        listed = path.with_name(path.name + ".skipped.txt")
        if skipped:
            listed.write_bytes("".join(f"{n}\n" for n in skipped).encode(errors="surrogateescape"))
        else:
            listed.unlink(missing_ok=True)  # of a database that is replaced
        self.writer.publish()
        size = path.stat().st_size
        return Built(path, len(entries) - len(skipped), tuple(skipped), size, lost=self.lost)


def _make(
    stores: dict[Path, Store],
    options: Options,
    workers: int,
    force: bool,
    progress: Progress | None,
) -> list[Built]:
    if workers < 0:
        raise ValueError(f"0 <= workers must hold, but got workers={workers}. Correct it.")
    jobs = [_Job(path, store, options) for path, store in stores.items()]
    for job in jobs:
        tidy(job.path)
    pair, folder = len(jobs) > 1, jobs[0].path.parent
    # Of a pair one may be finished, and stays: the other is resumed.
    kept = {job: job.kept() for job in jobs if pair and job.path.exists() and not force}
    if len(kept) == len(jobs):
        raise ValueError(
            f"{', '.join(map(str, stores))} are there already. Add --force to replace."
        )
    rest = [job for job in jobs if job not in kept]
    with ExitStack() as stack:
        if pair:
            stack.enter_context(_folder(folder))
        for job in rest:
            check_place(job.store, job.path)
        for job in rest:
            job.room = room_of(job.store, options)
        for job in rest:
            stack.enter_context(job.begin(force))
        check_room(folder, sum((len(job.store) - job.writer.done) * job.room[0] for job in rest))
        for job in rest:
            job.fill(workers or len(os.sched_getaffinity(0)), progress or (lambda *_: None))
        return [kept.get(job) or job.publish() for job in jobs]


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """A folder, which goes again if it was made for nothing."""
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder} must be a folder that can be made, but: {error.strerror}. Choose another "
            f"place."
        ) from error
    try:
        yield
    except ValueError:
        if new:
            with suppress(OSError):  # it holds something
                folder.rmdir()
        raise
