"""Checkpoints of a trial, written beside its training, as often as a share of its time allows."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from srsgd_ray.backends.store import CheckpointStore

logger = logging.getLogger(__name__)

EVERY = 5.0  # seconds between two checkpoints of epochs, at least: a new process takes as long
SHARE = 20.0  # and this many times as long as the last one kept the trial waiting


class Beside:
    """Writes checkpoints of one trial, one at a time.

    What a checkpoint holds is written aside at the call, for the work may change anything after
    it. A thread puts it on the disk or the network, and in place of the one before. An epoch whose
    checkpoint was left out, or was not yet in place when the process died, is trained once more:
    its row, known already, comes again, bit for bit.
    """

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._due = -math.inf  # the first says at once whether there is room

    def offer(self, save: Callable[[Path], object]) -> None:
        """An epoch is over: keep what ``save`` writes, unless that was done a moment ago.

        Raises:
            OSError: of this checkpoint, or of the one before it.
        """
        if self._writing is not None and not self._writing.done():
            return
        self._check()
        if time.monotonic() >= self._due:
            self.keep(save)

    def keep(self, save: Callable[[Path], object]) -> None:
        """Keep what ``save`` writes; raises as :meth:`offer` does."""
        began = time.monotonic()
        self._check()
        self._writing = self._thread.submit(self._store.copy(save))
        now = time.monotonic()
        self._due = now + max(EVERY, SHARE * (now - began))

    def _check(self) -> None:
        """Wait for the last one, and raise its error, once."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Wait for the last one; its error is told, but the trial has ended without it."""
        self._thread.shutdown()
        try:
            self._check()
        except Exception as error:
            logger.warning("the last checkpoint of %s is missing: %s", self._store.location, error)
