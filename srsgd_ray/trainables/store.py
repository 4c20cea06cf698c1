"""Where a trial's checkpoint lies: a folder or a URI that every node of the cluster sees."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs as pafs

from srsgd_ray.training.checkpoint import FILE_NAME

__all__ = ["CheckpointStore"]


class CheckpointStore:
    """The checkpoint of one trial at ``location``, a local path or a URI such as s3://..."""

    def __init__(self, location: str) -> None:
        self.location = location
        self._remote: pafs.FileSystem | None = None
        if "://" in location:
            self._remote, self._path = pafs.FileSystem.from_uri(location)
            if isinstance(self._remote, pafs.LocalFileSystem):
                self.location, self._remote = self._path, None

    def keep(self, save: Callable[[Path], Path]) -> None:
        """Have ``save`` write the checkpoint, in place of the one before."""
        if self._remote is None:
            save(Path(self.location))
            return
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder))
            self._remote.create_dir(self._path, recursive=True)
            # Object stores replace a file as a whole: a reader sees the old one or the new one.
            pafs.copy_files(folder, self._path, destination_filesystem=self._remote)

    @contextmanager
    def fetch(self) -> Iterator[Path | None]:
        """A local folder that holds the checkpoint, or None if there is none."""
        if self._remote is None:
            folder = Path(self.location)
            yield folder if (folder / FILE_NAME).is_file() else None
            return
        file = f"{self._path}/{FILE_NAME}"
        if self._remote.get_file_info(file).type != pafs.FileType.File:
            yield None
            return
        with tempfile.TemporaryDirectory() as local:
            pafs.copy_files(self._path, local, source_filesystem=self._remote)
            yield Path(local)

    def remove(self) -> None:
        """Delete the folder, if it is there."""
        if self._remote is None:
            if Path(self.location).is_dir():
                shutil.rmtree(self.location)
        elif self._remote.get_file_info(self._path).type != pafs.FileType.NotFound:
            self._remote.delete_dir(self._path)
