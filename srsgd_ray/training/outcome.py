"""What a training run reports, and how it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from srsgd_ray.data import DataError
from srsgd_ray.training.distributed import minimum

NEVER = torch.iinfo(torch.int64).max
Row = dict[str, Any]
Save = Callable[[Path], Path]
Report = Callable[[Row, Save | None], None]
Keep = Callable[[Save], None]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: ``complete``, ``diverged`` or ``stopped`` (the report function asked for it).
        reason: why, unless complete.
        diverged_step: 0-based step of the first non-finite loss, or None.
        parameters: number of trainable parameters of the network.
        epochs_done: finished epochs.
    """

    state: str
    reason: str | None
    diverged_step: int | None
    parameters: int
    epochs_done: int


class Sums:
    """Losses, errors, images and skipped images of an epoch so far, on this rank, as ``values``.

    What a step found stays on the device as it is until :meth:`settle`: a call costs the host as
    much as a layer of a small network does.
    """

    def __init__(self, values: Sequence[float] = (0.0, 0.0, 0.0, 0.0)) -> None:
        self.values = list(values)
        self._losses: list[torch.Tensor] = []
        self._wrong: list[torch.Tensor] = []

    def add(self, loss: torch.Tensor, wrong: torch.Tensor) -> None:
        """Note the sum of the losses of a step, and which of its answers are wrong."""
        self._losses.append(loss)
        self._wrong.append(wrong)

    def settle(self, step: int) -> int | None:
        """Add up what was noted; the first step whose loss is not finite on any rank, or None.

        Every rank must call it, after equally many steps; it waits for the device.

        Args:
            step: the number of steps done.
        """
        wrong = torch.cat(self._wrong).sum(dtype=self._losses[0].dtype)
        *losses, errors = torch.stack([*self._losses, wrong]).tolist()
        for loss in losses:  # in turn, so that the sum does not depend on when it is taken
            self.values[0] += loss
        self.values[1] += errors
        first = step - len(losses)
        broken = (first + n for n, loss in enumerate(losses) if not math.isfinite(loss))
        found = minimum(next(broken, NEVER), wrong.device)
        self._losses.clear()
        self._wrong.clear()
        return None if found == NEVER else found


def means(sums: torch.Tensor) -> tuple[float, float, float]:
    """Mean loss, error in percent, and count from (sum of losses, errors, count, ...)."""
    loss, wrong, count = sums[:3].tolist()
    if count == 0:
        raise DataError(
            "a mean needs an image, but all were unreadable and left out. Find them with "
            "`srsgd-ray lmdb verify`, or see whether the disk is there."
        )
    return loss / count, 100.0 * wrong / count, count
