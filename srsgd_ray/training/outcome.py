"""What a training run reports, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
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


def first_broken(losses: list[torch.Tensor], step: int) -> int | None:
    """The first of the steps before ``step`` whose loss is not finite on any rank; None: none.

    Every rank must call it, with one loss a step; it waits for the device.
    """
    finite = torch.stack(losses).isfinite()
    steps = torch.arange(step - len(losses), step, device=finite.device)
    found = int(minimum(steps.masked_fill(finite, NEVER).min()).item())
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
