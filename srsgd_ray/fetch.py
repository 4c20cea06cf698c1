"""Brings data sets to this machine's disk: once, checked, and never half of a file."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow.fs as pafs

SUMS = "SHA256SUMS"  # as sha256sum writes it
# As torchvision publishes them; a test compares.
CIFAR = {
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
}
PIECE = 8 << 20  # bytes
Shown = Callable[[str, int, int], None]  # name of a file, bytes there, of how many


@dataclass(frozen=True)
class _File:
    """A file of the source, ``kind`` the name of its checksum."""

    name: str
    size: int
    kind: str
    sum: str


@dataclass(frozen=True)
class Fetched:
    """What became of a file: ``kept`` if it was there already."""

    path: Path
    size: int
    kept: bool


def fetch(
    source: str,
    folder: Path,
    shown: Shown = lambda name, done, size: None,
    waits: Callable[[], object] = lambda: None,
) -> list[Fetched]:
    """Copy what ``source`` lists in its SHA256SUMS, or its CIFAR archives, into ``folder``.

    A second process waits for the first. A file is there under its name only when its checksum was
    right; what was copied of it before a crash is used by the next call.

    Args:
        source: a folder, or the URI of one, with the options of pyarrow's file systems.
        folder: made if it is missing.
        shown: told how far each file is.
        waits: called if another process is at it.

    Raises:
        ValueError: if a file is missing or has another checksum, or nothing has one.
        OSError: if the disk is full or cannot be written.
    """
    import pyarrow.fs as pafs

    if "://" in source:
        there, root = pafs.FileSystem.from_uri(source)
    else:
        there, root = pafs.LocalFileSystem(), str(Path(source).expanduser().resolve())
    try:
        files = _listed(there, root.rstrip("/"), source)
    except OSError as error:
        raise ValueError(f"{source} must be readable, but is not: {error}.") from error
    folder = folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, waits):
        missing = [file for file in files if not _is_there(folder, file, shown)]
        _check_room(folder, missing)
        for file in missing:
            with _blamed(source, file):
                _copy(there, f"{root.rstrip('/')}/{file.name}", folder, file, shown)
    return [Fetched(folder / f.name, f.size, f not in missing) for f in files]


def _listed(there: pafs.FileSystem, root: str, source: str) -> list[_File]:
    """The files that have a checksum."""
    import pyarrow.fs as pafs

    sums = {name: ("md5", md5) for name, md5 in CIFAR.items()}
    (info,) = there.get_file_info([f"{root}/{SUMS}"])
    asked = list(sums)
    if info.type == pafs.FileType.File:
        with there.open_input_stream(info.path) as stream:
            text = stream.readall().decode()
        own = {name: ("sha256", value) for value, name in _lines(text, f"{source}/{SUMS}")}
        sums, asked = own, list(own)
    found = []
    for name, info in zip(
        asked, there.get_file_info([f"{root}/{name}" for name in asked]), strict=True
    ):
        if info.type == pafs.FileType.File:
            found.append(_File(name, info.size, *sums[name]))
        elif sums[name][0] == "sha256":
            raise ValueError(f"{SUMS} of {source} lists {name}, but it is not there. Copy it, too.")
    if not found:
        raise ValueError(
            f"a source of data must hold {SUMS}, or {' or '.join(CIFAR)}, but {source} has none "
            f"of them. Make it there: sha256sum FILES > {SUMS}"
        )
    return found


def _lines(text: str, where: str) -> Iterator[tuple[str, str]]:
    """Checksum and name of each line."""
    for number, line in enumerate(text.splitlines(), 1):
        found = re.fullmatch(r"([0-9a-f]{64}) [ *](?:\./)?(.+)", line)
        if found is None or ".." in Path(found[2]).parts or Path(found[2]).is_absolute():
            raise ValueError(
                f"a line of {where} must be a SHA-256 and a name below its folder, as sha256sum "
                f"writes them, but line {number} is {line[:100]!r}. Make it anew."
            )
        yield found[1], found[2]


@contextmanager
def _alone(folder: Path, waits: Callable[[], object]) -> Iterator[None]:
    """Hold the folder's lock, which the system frees when this process ends."""
    with (folder / ".fetching").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_there(folder: Path, file: _File, shown: Shown) -> bool:
    """Whether the file is there; read only if it was not since it was last checked.

    Raises:
        ValueError: if it is there and another one: nothing that we do not know is replaced.
    """
    path, note = folder / file.name, _note(folder, file)
    if not path.is_file():
        return False
    said = _noted(path, file)
    if note.is_file() and note.read_text(encoding="utf-8") == said:
        return True
    if (found := _digest(path, file, shown).hexdigest()) != file.sum:
        raise ValueError(
            f"{path} is there already and must have the source's {file.kind} {file.sum}, but has "
            f"{found}. Delete it, or give another folder."
        )
    note.write_text(said, encoding="utf-8")
    return True


def _noted(path: Path, file: _File) -> str:
    """What is noted of a file that was checked."""
    return json.dumps([file.sum, path.stat().st_size, path.stat().st_mtime_ns])


def _note(folder: Path, file: _File) -> Path:
    return (folder / file.name).parent / f".{Path(file.name).name}.checked"


def _partial(folder: Path, file: _File) -> Path:
    return (folder / file.name).parent / f".{Path(file.name).name}.{file.sum[:8]}.part"


def _check_room(folder: Path, files: list[_File]) -> None:
    """Raise OSError if what is missing does not fit the disk."""
    parts = [_partial(folder, file) for file in files]
    there = sum(part.stat().st_size for part in parts if part.is_file())
    need, free = sum(file.size for file in files) - there, shutil.disk_usage(folder).free
    if need > free:
        said = f"{need / 1e9:.3g} GB are still to come, and {free / 1e9:.3g} GB are free"
        raise OSError(errno.ENOSPC, said, str(folder))


def _copy(there: pafs.FileSystem, path: str, folder: Path, file: _File, shown: Shown) -> None:
    """Copy a file from where an earlier call stopped; give it its name when it is whole."""
    target, part = folder / file.name, _partial(folder, file)
    target.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    before = part.stat().st_size
    digest = _digest(part, file, shown)
    with there.open_input_file(path) as stream, part.open("ab") as out:
        stream.seek(done := out.tell())
        while piece := stream.read(PIECE):
            out.write(piece)
            digest.update(piece)
            shown(file.name, done := done + len(piece), file.size)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != file.sum:
        part.unlink()
        if before:  # what an earlier call left may be what is damaged
            _copy(there, path, folder, file, shown)
            return
        raise ValueError(
            f"its {file.kind} must be {file.sum}, but is {digest.hexdigest()}. Copy it there anew"
        )
    part.replace(target)
    _note(folder, file).write_text(_noted(target, file), encoding="utf-8")


@contextmanager
def _blamed(source: str, file: _File) -> Iterator[None]:
    """Say of which file of which source an error is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{file.name} of {source} is damaged: {error}.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ValueError(f"{file.name} of {source} could not be copied: {error}.") from error


def _digest(path: Path, file: _File, shown: Shown) -> Any:
    """The checksum of what is there of a file."""
    digest, done = hashlib.new(file.kind, usedforsecurity=False), 0
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            digest.update(piece)
            shown(file.name, done := done + len(piece), file.size)
    return digest
