"""A file that is read by offset.

Nothing is mapped into memory, written or locked: a value comes in one read, which can be asked for
ahead, and a file that was cut short or damaged is an error with a message, not a signal that ends
the process.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from pathlib import Path

from srsgd_ray.image_lmdb.errors import DataError

BEGIN = struct.pack("<IH", 0xBEEFC0DE, 1)  # LMDB's mark and the version of its format
METAS = 8192  # bytes of the two pages that say which tree is the newest


class DataFile:
    """An open file.

    An instance may be used by several threads, after a fork, and can be pickled: the file is opened
    again where it arrives.

    Args:
        path: of the file.

    Attributes:
        path: of the file.
        size: bytes of the file.

    Raises:
        DataError: if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._descriptor = path, -1
        self._open()

    def _open(self) -> None:
        try:
            # O_NONBLOCK: the opening of a named pipe would wait for a writer.
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self._descriptor)
        except OSError as error:
            raise DataError(f"{self.path} must be readable, but: {error.strerror}.") from error
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{self.path} must be a file, but is a device or a pipe. Correct it.")
        self.size = status.st_size
        self._begin = zlib.crc32(self.read(0, min(METAS, self.size)))

    def __getstate__(self) -> dict[str, object]:
        """Without the open file, which belongs to its process."""
        return {**self.__dict__, "_descriptor": -1}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        known = self.size, self._begin
        self._open()
        if (self.size, self._begin) != known:
            raise self.changed()

    def changed(self) -> DataError:
        """What to raise if the file is not the one that was opened first."""
        return DataError(
            f"{self.path} must stay as it is while it is in use, but was changed or replaced. "
            f"Start again."
        )

    def damaged(self, what: str) -> DataError:
        """What to raise for damage."""
        return DataError(f"{self.path} is damaged: {what}. Copy or build it anew.")

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def fileno(self) -> int:
        """The open file's descriptor."""
        return self._descriptor

    def read(self, offset: int, length: int) -> bytes:
        """The bytes at an offset.

        Raises:
            DataError: if the file ends before, or cannot be read.
        """
        try:
            data = os.pread(self._descriptor, length, offset)
            while len(data) < length:  # pread may give less, and never gives over 2 GiB
                more = os.pread(self._descriptor, length - len(data), offset + len(data))
                if not more:
                    raise DataError(
                        f"{self.path} must hold {length} bytes at {offset}, but ends before: it "
                        f"was cut short. Copy it anew."
                    )
                data += more
        except OSError as error:
            raise DataError(f"{self.path} cannot be read at {offset}: {error.strerror}.") from error
        return data

    def prefetch(self, offset: int, length: int) -> None:
        """Ask the system to read bytes ahead; returns at once."""
        os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_WILLNEED)


class LmdbFile(DataFile):
    """The file of an LMDB database.

    Args:
        path: the file, or a folder with ``data.mdb``.

    Raises:
        DataError: if it does not begin as LMDB's files do.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = Path(path)
        if path.is_dir() and not (path / "data.mdb").is_file():
            raise DataError(f"{path} must hold data.mdb, but does not. Build or copy it anew.")
        super().__init__(path / "data.mdb" if path.is_dir() else path)
        if self.size < 22 or self.read(16, 6) != BEGIN:
            raise DataError(
                f"{self.path} must be an LMDB database (0.9, 64-bit), but does not begin as one "
                f"does. Build or copy it anew."
            )
        if self.size < METAS:
            raise self.damaged("it is cut short within its first two pages")
