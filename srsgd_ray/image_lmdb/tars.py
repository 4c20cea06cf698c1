"""ImageNet as it is handed out: a tar of one tar a class, read without unpacking."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.folder import SUFFIXES
from srsgd_ray.image_lmdb.store import StrPath

__all__ = ["TarStore"]


class TarStore:
    """The images of a tar file: ``n01440764.tar`` with its JPEG files, or ``n01440764/x.JPEG``.

    Opening reads the headers of all members, one pass over the file's table, not its contents.
    Images are in the order of class and name.

    Raises:
        DataError: if it is no uncompressed tar file, holds no images, or is cut short.
    """

    kind = "tar"
    checked = False

    def __init__(self, path: StrPath) -> None:
        self.path = path = Path(path)
        loose: list[str] = []
        try:
            with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as outer:
                members = sorted(_members(outer, file, loose))
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(
                f"{path} must be an uncompressed tar file of images, but: {error}. "
                f"Get it anew, or unpack it into one folder a class."
            ) from error
        if not members and loose:
            raise DataError(
                f"{path} must hold one tar or folder a class, but its {len(loose)} images, such as "
                f"{loose[0]}, lie in none (as in ImageNet's own ILSVRC2012_img_val.tar). Unpack it "
                f"and sort them into one folder a class."
            )
        if not members:
            raise DataError(
                f"{path} must hold one tar or folder a class with images ({', '.join(SUFFIXES)}), "
                f"but holds none. Correct the path."
            )
        size = path.stat().st_size
        self.classes = tuple(sorted({name for name, *_ in members}))
        place = {name: label for label, name in enumerate(self.classes)}
        self.labels = np.array([place[name] for name, *_ in members], dtype=np.int64)
        self._files = [file for _, file, _, _ in members]
        self._offsets = np.array([offset for *_, offset, _ in members], dtype=np.int64)
        self._lengths = np.array([length for *_, length in members], dtype=np.int64)
        if (self._offsets + self._lengths).max() > size:
            raise DataError(f"{path} is cut short: an image lies beyond its end. Get it anew.")

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, index: int) -> int:
        """The class of a sample."""
        return int(self.labels[index])

    def read(self, index: int) -> bytes:
        """The bytes of a file."""
        length = int(self._lengths[index])
        try:
            with self.path.open("rb") as file:
                file.seek(int(self._offsets[index]))
                data = file.read(length)
        except OSError as error:
            raise DataError(f"{self.path} must be readable, but: {error.strerror}.") from error
        if len(data) < length:
            raise DataError(f"{self.name(index)} is cut short. Get the file anew.")
        return data

    def prefetch(self, indices: Sequence[int]) -> None:
        """Nothing: it is read in order but once."""

    def key(self, index: int) -> str:
        """The class and the file."""
        return f"{self.classes[self.labels[index]]}/{self._files[index]}"

    def name(self, index: int) -> str:
        """The tar file and the member."""
        return f"{self.path}: {self.key(index)}"


class _Slice(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: Any, begin: int, length: int) -> None:
        self._file, self._begin, self._length, self._at = file, begin, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._length)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._length - self._at))
        data = os.pread(self._file.fileno(), count, self._begin + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _members(
    outer: tarfile.TarFile, file: Any, loose: list[str]
) -> Iterator[tuple[str, str, int, int]]:
    """(class, file, offset in the outer file, length) of each image; ``loose`` gets the others."""
    for path, offset, size in _files(outer):
        if path.suffix.lower() == ".tar":
            part = _Slice(file, offset, size)
            with tarfile.open(fileobj=part, mode="r:") as inner:
                images = [image for image in _files(inner) if _is_image(image[0])]
            if not images:
                raise DataError(f"every class needs images, but {path} has none. Get it anew.")
            for image, inside, length in images:
                yield path.stem, image.name, offset + inside, length
        elif _is_image(path) and path.parent.name:
            yield path.parent.name, path.name, offset, size
        elif _is_image(path):
            loose.append(str(path))


def _files(tar: tarfile.TarFile) -> Iterator[tuple[Path, int, int]]:
    """(name, offset, length) of each file; of a hard link, those of the file it is linked to.

    Raises:
        DataError: for an image that is a symbolic link, or linked to what is not there.
    """
    known: dict[str, tuple[int, int]] = {}
    for member in tar:
        path = Path(member.name)
        if member.isfile():
            known[member.name] = member.offset_data, member.size
            yield path, *known[member.name]
        elif member.islnk() and member.linkname in known:
            yield path, *known[member.linkname]
        elif (member.issym() or member.islnk()) and _is_image(path):
            raise DataError(
                f"a tar must hold its images, but {path} in it is a link to {member.linkname}. "
                f"Make it with `tar --dereference`."
            )


def _is_image(path: Path) -> bool:
    return path.name[:1] != "." and path.name.lower().endswith(SUFFIXES)
