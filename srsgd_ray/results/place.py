"""Whether files can be written where they are to go, and whether one is held: asked in one way."""

from __future__ import annotations

import tempfile
from pathlib import Path


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
    made: list[Path] = []
    try:
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RecordError(
            f"{what} must go into a folder that can be written, but {folder} cannot: "
            f"{error.strerror}. Choose another with {option}."
        ) from error
    finally:
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


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
