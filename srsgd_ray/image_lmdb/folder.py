"""Image files in one folder a class, as torchvision's ImageFolder reads them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.places import Keys
from srsgd_ray.image_lmdb.store import Store, StrPath

# Torchvision's; images of other kinds are left out there too.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
PARTS = ("train", "val", "validation", "test")


def image_files(folder: Path) -> list[str]:
    """Names of the image files of a folder and its subfolders, in torchvision's order.

    Hidden files and folders, and files of other kinds, are left out.

    Raises:
        OSError: if a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise error

    found = []
    for where, _, files in sorted(os.walk(folder, onerror=refuse, followlinks=True)):
        inside = os.path.relpath(where, folder)
        if any(part[0] == "." for part in inside.split("/")) and inside != ".":
            continue
        found += [
            file if inside == "." else f"{inside}/{file}"
            for file in sorted(files)
            if file.lower().endswith(SUFFIXES) and file[0] != "."
        ]
    return found


class FolderStore(Store):
    """Files in one folder a class, as in ``train/n01440764/n01440764_10026.JPEG``, or below it.

    Hidden files and folders, and files of other kinds, are left out.

    Raises:
        DataError: if there is no such folder, it cannot be listed, or a class has no image.
    """

    kind = "folder"

    def __init__(self, path: StrPath) -> None:
        self.path = path = Path(path)
        try:
            self._list()
        except OSError as error:
            raise DataError(
                f"{error.filename or path} must be readable, but: {error.strerror}. Correct its "
                f"permissions, or the path."
            ) from error

    def _list(self) -> None:
        path = self.path
        self.classes = tuple(
            sorted(p.name for p in path.iterdir() if p.is_dir() and p.name[0] != ".")
            if path.is_dir()
            else ()
        )
        labels: list[int] = []
        names: list[bytes] = []
        for label, name in enumerate(self.classes):
            files = image_files(path / name)
            if name in PARTS and all("/" in file for file in files):
                raise DataError(
                    f"{path} must hold one folder a class, but holds {name}, which is a part of a "
                    f"data set. Name {path / name} instead."
                )
            if not files:
                raise DataError(
                    f"every class needs images ({', '.join(SUFFIXES)}), but {path / name} has "
                    f"none. Fill or remove it."
                )
            names += map(os.fsencode, files)
            labels += [label] * len(files)
        if not labels:
            loose = f" and {len(image_files(path))} image files" if path.is_dir() else ""
            raise DataError(
                f"{path} must hold one folder a class with its images, but holds no folder{loose}. "
                f"Sort the images into folders, or correct the path."
            )
        self._labels = np.array(labels, dtype=np.int64)
        self._names = Keys.of(names)

    def read(self, index: int) -> bytes:
        """The bytes of a file."""
        try:
            return Path(self.name(index)).read_bytes()
        except OSError as error:
            raise DataError(
                f"{self.name(index)} must be readable, but: {error.strerror}. Restore it, or start "
                f"again without it."
            ) from error

    def prefetch(self, indices: Sequence[int]) -> None:
        """Ask for files ahead."""
        for index in indices:
            try:
                descriptor = os.open(self.name(index), os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue  # whoever reads it will say so
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
            os.close(descriptor)

    def key(self, index: int) -> str:
        """The class and the file."""
        return f"{self.classes[self.labels[index]]}/{os.fsdecode(self._names[index])}"

    def name(self, index: int) -> str:
        """Its path."""
        return f"{self.path}/{self.key(index)}"
