"""ImageNet as it is distributed: a tar of one tar a class, read without unpacking."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from srsgd_ray.image_lmdb.data_file import DataFile
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.folder import SUFFIXES
from srsgd_ray.image_lmdb.places import Keys, Places
from srsgd_ray.image_lmdb.store import KeyedStore, StrPath

Member = tuple[Path, str, int, int]  # class folder or tar, file, offset in the outer file, bytes
COMPRESSED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")


class TarStore(KeyedStore):
    """The images of a tar file: ``n01440764.tar`` with its JPEG files, or ``n01440764/x.JPEG``.

    Opening reads the headers of all members, one pass over the file's table, not its contents.
    Images are in the order of class and name.

    Raises:
        DataError: if it is no uncompressed tar file, holds no images, or is cut short.
    """

    kind = "tar"

    def __init__(self, path: StrPath) -> None:
        path = Path(path)
        try:
            with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as outer:
                found = _found(outer)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(
                f"{path} must be an uncompressed tar file of images, but: {error}. "
                f"Get it anew, or unpack it into one folder a class."
            ) from error
        _check_places(path, *found)
        members = sorted((a.name, name, at, size) for a, name, at, size in found[0])
        self.classes = tuple(sorted({name for name, *_ in members}))
        place = {name: label for label, name in enumerate(self.classes)}
        self._labels = np.array([place[name] for name, *_ in members], dtype=np.int64)
        keys = Keys.of([os.fsencode(f"{name}/{image}") for name, image, _, _ in members])
        offsets = np.array([offset for *_, offset, _ in members], dtype=np.int64)
        lengths = np.array([length for *_, length in members], dtype=np.int64)
        super().__init__(path, Places(DataFile(path), keys, offsets, lengths))
        if (offsets + lengths).max() > self._places.file.size:
            raise DataError(f"{path} is cut short: an image lies beyond its end. Get it anew.")

    def key(self, index: int) -> str:
        """The class and the file."""
        return os.fsdecode(self._places.keys[index])


def _found(outer: tarfile.TarFile) -> tuple[list[Member], list[Path], set[Path]]:
    """The images of a tar, those of them that lie in no folder, and all folders."""
    members: list[Member] = []
    loose = []
    for path, member in _files(outer):
        offset, size = member.offset_data, member.size
        if path.suffix.lower() == ".tar":
            with tarfile.open(fileobj=outer.extractfile(member), mode="r:") as inner:
                images = [image for image in _files(inner) if _is_image(image[0])]
            if not images:
                raise DataError(f"every class needs images, but {path} has none. Get it anew.")
            for image, part in images:
                at = offset + part.offset_data
                members.append((path.with_suffix(""), image.name, at, part.size))
        elif path.name.lower().endswith(COMPRESSED):
            raise DataError(
                f"a tar must hold plain tars or images, but holds {path}. Unpack it into one "
                f"folder a class."
            )
        elif _is_image(path) and path.parent.name:
            members.append((path.parent, path.name, offset, size))
        elif _is_image(path):
            loose.append(path)
    return members, loose, {Path(member.name) for member in outer.getmembers() if member.isdir()}


def _check_places(path: Path, members: list[Member], loose: list[Path], folders: set[Path]) -> None:
    """Raise DataError unless there are classes, side by side, with an image in each."""
    if not members and loose:
        raise DataError(
            f"{path} must hold one tar or folder a class, but its {len(loose)} images, such "
            f"as {loose[0]}, lie in none (as in ImageNet's own ILSVRC2012_img_val.tar). "
            f"Unpack it and sort them into one folder a class."
        )
    if not members:
        raise DataError(
            f"{path} must hold one tar or folder a class with images ({', '.join(SUFFIXES)}), "
            f"but holds none. Correct the path."
        )
    classes = {place for place, *_ in members}
    parents = sorted({str(place.parent) for place in classes})
    if len(parents) > 1:
        raise DataError(
            f"{path} must hold its classes side by side, but has some in {parents[0]} and some in "
            f"{parents[1]}. Make one tar of each part of the data set, or unpack it."
        )
    empty = sorted(
        folder
        for folder in folders - classes
        if str(folder.parent) == parents[0] and folder.name and folder.name[0] != "."
    )
    if empty:
        raise DataError(
            f"every class needs images ({', '.join(SUFFIXES)}), but {empty[0]} in {path} has none. "
            f"Fill or remove it."
        )


def _files(tar: tarfile.TarFile) -> Iterator[tuple[Path, tarfile.TarInfo]]:
    """Name of each file, and the member with its data: of a hard link, the one it is linked to."""
    known: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        path = Path(member.name)
        if member.isfile():
            known[member.name] = member
            yield path, member
        elif member.islnk() and member.linkname in known:
            yield path, known[member.linkname]
        elif (member.issym() or member.islnk()) and _is_image(path):
            raise DataError(
                f"a tar must hold its images, but {path} in it is a link to {member.linkname}. "
                f"Make it with `tar --dereference`."
            )


def _is_image(path: Path) -> bool:
    hidden = any(part[0] == "." for part in path.parts)
    return not hidden and path.name.lower().endswith(SUFFIXES)
