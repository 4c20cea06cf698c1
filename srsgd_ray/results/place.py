"""Whether files can be written where they are to go, how they get there, and who holds one."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # of a place, and never of what is written there
UNREACHED = "checkpoints can be neither stored nor read at"  # how such an error's text begins


class RecordError(ValueError):
    """A results folder that cannot be used: another study's, damaged, busy or unwritable."""


def check_writable(folder: Path, what: str, option: str) -> None:
    """Make a file in ``folder``, and the folder if it is missing, and delete both again.

    Args:
        folder: where files are to go.
        what: they are, as the message calls them.
        option: that names another folder.

    Raises:
        RecordError: if that cannot be done.
    """
    try:
        with no_new_folders(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise RecordError(
            f"{what} must go into a folder that can be written, but {folder} cannot: "
            f"{error.strerror}. Choose another with {option}."
        ) from error


@contextmanager
def no_new_folders(folder: Path) -> Iterator[None]:
    """Delete the empty folders that were made for ``folder`` meanwhile, and it."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def put_in_place(aside: Path, folder: Path) -> None:
    """Move the files of ``aside`` into ``folder``, each on the disk before it replaces another."""
    for path in sorted(path for path in aside.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        place = folder / path.relative_to(aside)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)


def free_name(path: Path) -> Path:
    """A name beside a file under which it can be set aside; nothing is there yet."""
    number = 1
    while (aside := path.with_name(f"{path.name}.set-aside-{number}")).exists():
        number += 1
    return aside


def at_fault(said: str) -> OSError | None:
    """The error of a full, read-only or silent place that a text tells of, as a trial's reason."""
    found = [number for number in FULL if os.strerror(number) in said]
    if UNREACHED in said:
        return OSError(found[0] if found else errno.EREMOTEIO, said[said.index(UNREACHED) :])
    return OSError(found[0], f"{os.strerror(found[0])}: {said}") if found else None


def of_place(error: Exception, folder: Path) -> Exception:
    """The OSError that an error is or comes from, of a library or of SQLite; else the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and (cause is error or cause.errno in FULL):
            return cause
        if isinstance(cause, sqlite3.OperationalError) and "disk" in str(cause):
            return OSError(errno.EIO, str(cause), str(folder / "optuna.db"))
        cause = cause.__cause__ or cause.__context__
    return at_fault(str(error)) or error


def lock(file: FileIO, path: Path) -> None:
    """Hold a record; raises RecordError, and closes the file, if another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise RecordError(
            f"another process is working on this study: it holds {path}. Wait for it to end, "
            f"or stop it first."
        ) from error


def check_idle(path: Path) -> None:
    """Raise RecordError if another process works on the study with this record."""
    with path.open("rb", buffering=0) as file:
        lock(file, path)


def held(path: Path) -> bool:
    """Whether a process of this machine holds the lock of a file; asked without taking it."""
    try:
        number = path.stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(
        line.split()[1] == "FLOCK" and line.split()[-3].endswith(f":{number}")
        for line in locks.splitlines()
        if len(line.split()) >= 8
    )
