"""Where a trial's checkpoint lies: a folder or a URI that every node of the cluster sees."""

from __future__ import annotations

import errno
import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pyarrow.fs as pafs

from srsgd_ray.backends.limit import within
from srsgd_ray.results.place import UNREACHED, put_in_place

FILE_NAME = "checkpoint.pt"
PROBE_LIMIT = 20.0  # seconds within which a storage must take a small file


def is_uri(location: str) -> bool:
    """Whether a location is a URI, such as s3://..., and no path; decided here alone."""
    return "://" in location


def absolute(location: str) -> str:
    """A path from the root of the file system; a URI as it is."""
    return location if is_uri(location) else str(Path(location).resolve())


def join(root: str, *parts: str) -> str:
    """A path below ``root``; the query of a URI stays at its end."""
    base, mark, query = root.partition("?") if is_uri(root) else (root, "", "")
    if is_uri(root):
        parts = tuple(quote(part) for part in parts)
    return "/".join([base.rstrip("/"), *parts]) + mark + query


def trial_folder(trial: str) -> str:
    """A name for a folder that stands for a trial, whatever its arm is called."""
    if all((c.isalnum() and c.isascii()) or c in "-_." for c in trial):
        return trial
    plain = "".join(c if c.isalnum() and c.isascii() else "_" for c in trial)
    return f"{plain}-{hashlib.sha256(trial.encode()).hexdigest()[:8]}"


class CheckpointStore:
    """The checkpoint of one trial at ``location``, a local path or a URI such as s3://..."""

    def __init__(self, location: str) -> None:
        self.location = location
        self._remote: pafs.FileSystem | None = None
        if is_uri(location):
            self._remote, self._path = pafs.FileSystem.from_uri(location)
            if isinstance(self._remote, pafs.LocalFileSystem):
                self.location, self._remote = self._path, None

    def keep(self, save: Callable[[Path], object]) -> None:
        """Have ``save`` write the checkpoint, in place of the one before."""
        self.copy(save)()

    def copy(self, save: Callable[[Path], object]) -> Callable[[], None]:
        """Have ``save`` write a checkpoint aside, at once.

        Returns:
            What puts it in place of the one before, from any thread: a reader sees one of the two.
        """
        if self._remote is None:
            aside = Path(self.location, f".{uuid.uuid4().hex[:12]}")
        else:
            with self._at_fault():
                aside = Path(tempfile.mkdtemp())
        try:
            save(aside)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        return partial(self._put, aside)

    def _put(self, aside: Path) -> None:
        try:
            if self._remote is None:
                put_in_place(aside, Path(self.location))
            else:
                with self._at_fault():
                    self._remote.create_dir(self._path, recursive=True)
                    # Object stores replace a file as a whole.
                    pafs.copy_files(str(aside), self._path, destination_filesystem=self._remote)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    @contextmanager
    def fetch(self) -> Iterator[Path | None]:
        """A local folder that holds the checkpoint, or None if there is none."""
        if self._remote is None:
            folder = Path(self.location)
            yield folder if (folder / FILE_NAME).is_file() else None
            return
        file = f"{self._path}/{FILE_NAME}"
        with self._at_fault():
            there = self._remote.get_file_info(file).type == pafs.FileType.File
            made: AbstractContextManager[str | None] = (
                tempfile.TemporaryDirectory() if there else nullcontext()
            )
        with made as local:
            if local is not None:
                with self._at_fault():
                    pafs.copy_files(self._path, local, source_filesystem=self._remote)
            yield None if local is None else Path(local)

    @contextmanager
    def _at_fault(self) -> Iterator[None]:
        """An error within is the place's, and no trial's."""
        try:
            yield
        except OSError as error:
            said = f"{UNREACHED} {self.location}: {error}"
            raise OSError(errno.EREMOTEIO, said) from error

    def remove(self) -> None:
        """Delete the folder, if it is there."""
        if self._remote is None:
            if Path(self.location).is_dir():
                shutil.rmtree(self.location)
        elif self._remote.get_file_info(self._path).type != pafs.FileType.NotFound:
            self._remote.delete_dir(self._path)


def check_storage(location: str) -> None:
    """Write a small file below ``location``, find it there, and delete it again.

    Raises:
        ValueError: if that cannot be done; nothing is left then.
    """
    made: list[Path] = []
    if not is_uri(location):
        folder = Path(location)
        made = [p for p in (folder, *folder.parents) if not p.exists()]
    try:
        within(PROBE_LIMIT, _try, join(location, f".srsgd-ray-probe-{uuid.uuid4().hex[:8]}"))
    except Exception as error:
        raise ValueError(
            f"--storage must be a folder or URI that can be written, but {location} is not: "
            f"{str(error).strip().splitlines()[0] if str(error).strip() else error!r}. "
            f"Choose another, or make it first."
        ) from error
    finally:
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _try(location: str) -> None:
    store = CheckpointStore(location)
    store.keep(_probe)
    with store.fetch() as found:
        if found is None:
            raise OSError("what was written is not there")
    store.remove()


def _probe(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE_NAME).write_bytes(b"")
