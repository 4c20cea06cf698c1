"""Some images of a store, and what becomes of those that cannot be read."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field

from torch import Tensor

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.store import Store

LOG = logging.getLogger("srsgd_ray.data")


class Skipped:
    """Images that could not be read or decoded, and were left out.

    Attributes:
        count: how often one was left out of a batch that this process was given. Batches that were
            made ahead and never asked for do not count.
        names: of which images, each once.
    """

    def __init__(self) -> None:
        self.count = 0
        self.names: set[str] = set()
        self._lock = threading.Lock()

    def note(self, name: str, error: DataError) -> None:
        """Log an image the first time."""
        with self._lock:
            if name in self.names:
                return
            self.names.add(name)
        LOG.warning("an image is left out: %s", error)

    def __getstate__(self) -> dict[str, object]:
        """Without the lock."""
        return {"count": self.count, "names": self.names}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


@dataclass(frozen=True)
class ImageSubset:
    """Some images of a store.

    Attributes:
        source: the store.
        indices: which of its images, integers (N,); None: all.
        size: pixels a side of what is made of them.
        threads: that decode; 0: this process's share of the CPUs.
        skipped: where unreadable images are noted, which are then left out of their batch; None:
            the first one is an error.
        holding: what must live as long as the images are read.
    """

    source: Store
    indices: Tensor | None = None
    size: int = 224
    threads: int = 0
    skipped: Skipped | None = None
    holding: object = field(default=None, repr=False)
