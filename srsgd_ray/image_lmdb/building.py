"""From what people have, a folder tree, a tar or a database, to databases in our layout."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
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

__all__ = ["Built", "build", "convert"]

PARTS = ("train", "val")
PART = 20  # images that a process is given at a time
TOLD_EVERY = 20  # images
Progress = Callable[[str, int, int, int], None]


@dataclass(frozen=True)
class Built:
    """A finished database.

    Attributes:
        path: of the file.
        samples: in it.
        skipped: names of the images that could not be decoded, as they are in the source.
        bytes: of the file.
        kept: whether it was there already, and stayed as it was.
    """

    path: Path
    samples: int
    skipped: tuple[str, ...]
    bytes: int
    kept: bool = False


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


def _make(
    jobs: dict[Path, Store],
    options: Options,
    workers: int,
    force: bool,
    progress: Progress | None,
) -> list[Built]:
    if workers < 0:
        raise ValueError(f"0 <= workers must hold, but got workers={workers}. Correct it.")
    for path in jobs:
        tidy(path)
    # Of a pair one may be finished, and stays: the other is resumed.
    kept = {
        path: _kept(path, store, options)
        for path, store in jobs.items()
        if len(jobs) > 1 and path.exists() and not force
    }
    if len(kept) == len(jobs):
        raise ValueError(f"{', '.join(map(str, jobs))} are there already. Add --force to replace.")
    folder = next(iter(jobs)).parent
    with ExitStack() as stack:
        if len(jobs) > 1:
            stack.enter_context(_folder(folder))
        rest = {path: store for path, store in jobs.items() if path not in kept}
        for path, store in rest.items():
            check_place(store, path)
        rooms = {path: room_of(store, options) for path, store in rest.items()}
        writers = {
            path: stack.enter_context(
                Writer(
                    path, plan_of(store, options), map_size(len(store), rooms[path][1]),
                    force=force, may_skip=options.on_corrupt == "skip",
                )
            )
            for path, store in rest.items()
        }  # fmt: skip
        left = {path: len(rest[path]) - writer.done for path, writer in writers.items()}
        check_room(folder, sum(left[path] * rooms[path][0] for path in rest))
        for path, writer in writers.items():

            def tell(writer: Writer = writer, count: int = len(rest[path])) -> None:
                if progress is not None:
                    progress(writer.path.name, writer.done, count, writer.size)

            tell()
            if not writer.whole:
                part = max(1, min(PART, int(MOST / 16 / rooms[path][0])))
                cores = workers or len(os.sched_getaffinity(0))
                _fill(writer, rest[path], options, cores, part, tell)
        return [kept.get(path) or _publish(writers[path], store) for path, store in jobs.items()]


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


def _kept(path: Path, store: Store, options: Options) -> Built:
    """A finished part of a pair.

    Raises:
        ValueError: if it was built otherwise than its other part is going to be.
        DataError: if it is no database of ours.
    """
    there = ImageLmdb(path)
    differ = [
        f"{name}={getattr(there.header, name)!r} (now {new!r})"
        for name, new in stated(store, options).items()
        if getattr(there.header, name) != new
    ]
    if there.classes != store.classes:
        differ.append("other classes")
    if differ:
        raise ValueError(
            f"{path} is there already, built with {', '.join(differ)}. Replace both parts with "
            f"--force, or choose another folder."
        )
    return Built(path, len(there), (), path.stat().st_size, kept=True)


def _fill(
    writer: Writer,
    store: Store,
    options: Options,
    workers: int,
    part: int,
    tell: Callable[[], None],
) -> None:
    """Prepare and store all images that are missing, and what makes the database whole."""
    labels, count = store.labels, len(store)
    parts = [range(n, min(n + part, count)) for n in range(writer.done, count, part)]
    with closing(in_processes(prepare_part, (store, options), parts, workers)) as made:
        for sample in chain.from_iterable(made):
            stored = writer.add(sample, int(labels[writer.done]))
            if (stored or writer.done % TOLD_EVERY == 0) and writer.done < count:
                tell()
    writer.flush()
    tell()
    kept = np.flatnonzero(writer.entries["offset"])
    empty = sorted(set(labels.tolist()) - set(labels[kept].tolist()))
    if empty:
        raise DataError(
            f"every class needs an image that can be decoded, but {len(empty)} have none: "
            f"{', '.join(store.classes[label] for label in empty[:5])}. Get their images anew and "
            f"remove {writer.partial}, or leave the classes out of {store.path}."
        )
    names = [store.key(n).encode(errors="surrogateescape") for n in kept.tolist()]
    if sum(map(len, names)) >= 2**32:
        raise DataError(f"names must take less than 4 GiB, but those of {store.path} do not.")
    writer.finish(names, store.classes, stated(store, options))


def _publish(writer: Writer, store: Store) -> Built:
    """Give a whole database its name, and list what was skipped."""
    path = writer.path
    skipped = [store.key(n) for n in np.flatnonzero(writer.entries["offset"] == 0).tolist()]
    listed = path.with_name(path.name + ".skipped.txt")
    if skipped:
        listed.write_bytes("".join(f"{n}\n" for n in skipped).encode(errors="surrogateescape"))
    else:
        listed.unlink(missing_ok=True)  # of a database that is replaced
    writer.publish()
    samples = len(writer.entries) - len(skipped)
    return Built(path, samples, tuple(skipped), path.stat().st_size)
