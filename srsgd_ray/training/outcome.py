"""What a training run tells, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srsgd_ray.trainable import RankError, StopTraining

__all__ = ["Keep", "Outcome", "Progress", "RankError", "Report", "Row", "Save", "StopTraining"]

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
