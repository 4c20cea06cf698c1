"""What every kind of image store offers, whatever lies behind it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srsgd_ray.image_lmdb.places import Places

Pixels = npt.NDArray[np.uint8]
StrPath = str | os.PathLike[str]


class Store(ABC):
    """Labelled images, by number.

    A store can be pickled (it is opened again where it arrives), used after a fork, and read by
    several threads at a time. It holds no image, and our own layout nothing else that grows with
    the number of samples.

    Attributes:
        kind: ``folder``, ``tar``, ``original``, ``caffe`` or ``srsgd_ray``.
        path: where it lies.
        classes: names of the classes; a label is an index into them.
        checked: whether what is read was decoded whole when it was stored, and is known by its
            checksum to be the same: damage need not be looked for in what a crop leaves out.
    """

    kind: str
    path: Path
    classes: tuple[str, ...]
    checked = False
    _labels: npt.NDArray[np.int64]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 (N,). Our own layout reads them at each use: keep them in a variable."""
        return self._labels

    def __len__(self) -> int:
        return len(self._labels)

    def label(self, index: int) -> int:
        """The class of a sample.

        Raises:
            DataError: if it cannot be read.
        """
        return int(self._labels[index])

    @abstractmethod
    def read(self, index: int) -> bytes | Pixels:
        """An encoded image file, or the pixels (height, width, 3) of one that is stored decoded.

        Raises:
            DataError: if it cannot be read; the message says which.
        """

    @abstractmethod
    def prefetch(self, indices: Sequence[int]) -> None:
        """Ask the system to read these samples ahead; returns at once, and never raises."""

    @abstractmethod
    def key(self, index: int) -> str:
        """Its name within the store, such as ``n01440764/n01440764_10026.JPEG``."""

    def name(self, index: int) -> str:
        """Where it lies, for messages; never raises."""
        return f"{self.path}: {self.key(index)}"


class KeyedStore(Store):
    """A file of others, with a key a sample.

    Args:
        path: of the database.
        places: all of its values.
    """

    def __init__(self, path: Path, places: Places) -> None:
        self.path, self._places = path, places

    def read(self, index: int) -> bytes | Pixels:
        """The value of a key."""
        return self._places.read(index)

    def prefetch(self, indices: Sequence[int]) -> None:
        """Ask the system for samples ahead."""
        self._places.prefetch(indices)

    def key(self, index: int) -> str:
        """The key."""
        return self._places.keys[index].decode(errors="replace")
