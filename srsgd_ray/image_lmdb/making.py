"""From what people have, a folder tree, a tar or a database, to databases in our layout."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from srsgd_ray.image_lmdb.build_checks import (
    check_outside,
    check_place,
    give_leave,
    journal_of,
    plan_of,
    room_of,
    stated,
    tidy,
)
from srsgd_ray.image_lmdb.building import Built, build_store
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.folder import FolderStore
from srsgd_ray.image_lmdb.journal import may_replace
from srsgd_ray.image_lmdb.opening import PAIRS, check_classes, open_pair, open_store
from srsgd_ray.image_lmdb.own import ImageLmdb
from srsgd_ray.image_lmdb.prepare import Options
from srsgd_ray.image_lmdb.store import Store, StrPath
from srsgd_ray.image_lmdb.tars import TarStore

__all__ = ["build", "convert"]

PARTS = ("train", "val")
Progress = Callable[[str, int, int, int], None]


def build(
    source: StrPath,
    destination: StrPath,
    options: Options | None = None,
    *,
    workers: int = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Built]:
    """Databases of image files; see :func:`srsgd_ray.image_lmdb.building.build_store`.

    Args:
        source: a folder with a folder a class; a folder with two such, ``train`` and ``val``; or a
            tar file of a tar or folder a class.
        destination: the database; of ``train`` and ``val``, the folder for both.
        options: how images are stored.
        workers: processes that prepare images; 0: one for each CPU.
        force: whether to replace finished databases, and to forget half-built ones.
        progress: called with (name, images done, of how many, bytes written).

    Raises:
        ValueError: for a source, place or options that cannot be, before anything is written.
        DataError: see :func:`srsgd_ray.image_lmdb.building.build_store`.
    """
    (options := options or Options()).check()
    source, destination = Path(source), Path(destination)
    if source.is_file():
        return _make({destination: TarStore(source)}, options, workers, force, progress)
    if not source.is_dir():
        raise DataError(f"{source} must be a folder or a tar file, but is not there. Correct it.")
    if any((source / name).exists() for name in ("data.mdb", *PAIRS[0], *PAIRS[1])):
        raise DataError(
            f"{source} must be a folder of image files, but is of databases. Use `srsgd-ray lmdb "
            f"convert`."
        )
    if not all((source / part).is_dir() for part in PARTS):
        return _make({destination: FolderStore(source)}, options, workers, force, progress)
    train, val = (FolderStore(source / part) for part in PARTS)
    check_classes(train, val)
    check_outside(source, destination)
    return _make(_pair(destination, train, val), options, workers, force, progress)


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
    workers = workers or len(os.sched_getaffinity(0))
    for path, store in jobs.items():
        tidy(store, path, options)
    # Of a pair one may be finished, and stays: the other goes on.
    kept = {
        path: _kept(path, store, options)
        for path, store in jobs.items()
        if len(jobs) > 1
        and path.exists()
        and not (force or may_replace(journal_of(path), plan_of(store, options)))
    }
    if len(kept) == len(jobs):
        raise ValueError(f"{', '.join(map(str, jobs))} are there already. Add --force to replace.")
    folder = next(iter(jobs)).parent
    new = len(jobs) > 1 and not folder.exists()
    if new:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise DataError(
                f"{folder} must be a folder that can be made, but: {error.strerror}. Choose "
                f"another place."
            ) from error
    if len(jobs) > 1 and force:
        for path, store in jobs.items():
            check_place(store, path, force)
        for path, store in jobs.items():
            if path.is_file():
                give_leave(store, path, options)
    made = []
    later = {path: room_of(store, options) for path, store in jobs.items() if path not in kept}
    for path, store in jobs.items():
        later.pop(path, None)

        def tell(done: int, count: int, size: int, name: str = path.name) -> None:
            if progress is not None:
                progress(name, done, count, size)

        if path in kept:
            made.append(kept[path])
            continue
        try:
            made.append(
                build_store(
                    store,
                    path,
                    options,
                    workers=workers,
                    force=force,
                    progress=tell,
                    beside=sum(later.values()),
                )
            )
        except ValueError:
            if new:
                with suppress(OSError):  # it holds something
                    folder.rmdir()
            raise
    return made


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
