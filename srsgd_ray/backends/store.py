"""Where a trial's checkpoint lies: a folder or a URI that every node of the cluster sees."""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pyarrow.fs as pafs

from srsgd_ray.backends.limit import within
from srsgd_ray.results.place import FULL, UNREACHED, of_place, put_in_place

FILE_NAME = "checkpoint.pt"
STUCK = 600.0  # seconds for a checkpoint's way: a client tries a bucket again and again
AWAY = 60.0  # seconds for deleting one, which the driver waits for
SECRET = (
    r"(?i)\b((?:\w*_)?(?:secret|password|token|sas|sig|signature|access_key|account_key))=[^&]*"
)


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


def check_keys(location: str) -> None:
    """Raise ValueError if a URI holds a password or a key, which records and lists would show."""
    head, mark, query = location.partition("?") if is_uri(location) else ("", "", "")
    hidden = re.sub(r"(://[^/?#@]*:)[^/?#]+@", r"\1***@", head)
    hidden += mark + re.sub(SECRET, r"\1=***", query)
    if head and hidden != location:
        raise ValueError(
            f"a URI must hold no keys, since records, process and job lists show it, but got "
            f"{hidden}. Set them where Ray starts on every node: AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials."
        )


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
            with self._at_fault(FULL):  # of which torch may say something else
                save(aside)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        return partial(self._put, aside)

    def _put(self, aside: Path) -> None:
        try:
            with self._at_fault():
                if self._remote is None:
                    put_in_place(aside, Path(self.location))
                else:
                    within(STUCK, self._send, aside, self._remote)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _send(self, aside: Path, remote: pafs.FileSystem) -> None:
        remote.create_dir(self._path, recursive=True)
        # Object stores replace a file as a whole.
        pafs.copy_files(str(aside), self._path, destination_filesystem=remote)

    @contextmanager
    def fetch(self) -> Iterator[Path | None]:
        """A local folder that holds the checkpoint, or None if there is none."""
        if self._remote is None:
            folder = Path(self.location)
            yield folder if (folder / FILE_NAME).is_file() and self._whole(folder) else None
            return
        file = f"{self._path}/{FILE_NAME}"
        with self._at_fault():
            found = within(AWAY, self._remote.get_file_info, file)
            there = found.type == pafs.FileType.File
            made: AbstractContextManager[str | None] = (
                tempfile.TemporaryDirectory() if there else nullcontext()
            )
        with made as local:
            if local is not None:
                with self._at_fault():
                    within(STUCK, pafs.copy_files, self._path, local, self._remote)
            whole = local is not None and self._whole(Path(local))
            yield Path(local) if local is not None and whole else None

    @contextmanager
    def _at_fault(self, numbers: Container[int | None] | None = None) -> Iterator[None]:
        """An error of the system within, or one of these numbers, is the place's, no trial's."""
        try:
            yield
        except Exception as error:
            cause = of_place(error, Path(self.location))
            if not isinstance(cause, OSError) or (numbers and cause.errno not in numbers):
                raise
            said = f"{UNREACHED} {self.location}: {cause}"
            raise OSError(errno.EREMOTEIO, said) from error

    def _whole(self, folder: Path) -> bool:
        """Whether a checkpoint is as it was written: torch's are archives with checksums."""
        path = folder / FILE_NAME
        with path.open("rb") as file:
            if file.read(2) not in (b"PK", b"P", b""):
                return True  # of a loop that writes something else
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            damaged = str(error)
        if damaged is not None:
            logging.getLogger(__name__).warning(
                "the checkpoint %s is damaged (%s): the trial begins anew.", self.location, damaged
            )
        return damaged is None

    def remove(self) -> None:
        """Delete the folder, if it is there."""
        if self._remote is None:
            if Path(self.location).is_dir():
                shutil.rmtree(self.location)
        else:
            within(AWAY, self._delete, self._remote)

    def _delete(self, remote: pafs.FileSystem) -> None:
        if remote.get_file_info(self._path).type != pafs.FileType.NotFound:
            remote.delete_dir(self._path)


def forgetter(root: str) -> Callable[[str], None]:
    """Deletes the checkpoint of a trial that has ended: none is needed any more."""

    def forget(trial: str) -> None:
        try:
            CheckpointStore(join(root, trial_folder(trial))).remove()
        except OSError:
            logging.getLogger(__name__).exception("could not delete the checkpoint of %s", trial)

    return forget
