"""Hyperparameter studies of Scheduled Restart SGD (SRSGD), distributed with Ray.

The names below are loaded when they are first used: importing this package imports neither torch
nor Ray nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srsgd_ray import restarts
    from srsgd_ray.cli.launch import launch
    from srsgd_ray.knobs import knob
    from srsgd_ray.optim import SRSGD
    from srsgd_ray.results import read_epochs, read_trials
    from srsgd_ray.search_spaces import SearchSpace, When
    from srsgd_ray.study import Arm, Study, StudyResult
    from srsgd_ray.study.run import run
    from srsgd_ray.trainable import Budget, Diverged, Metric, Run, Trainable, as_trainable

__version__ = "0.1.0"

# Where each name stands.
_PLACES = {
    "srsgd_ray.knobs": ("knob",),
    "srsgd_ray.optim": ("SRSGD",),
    "srsgd_ray.results": ("read_epochs", "read_trials"),
    "srsgd_ray.search_spaces": ("SearchSpace", "When"),
    "srsgd_ray.study": ("Arm", "Study", "StudyResult"),
    "srsgd_ray.cli.launch": ("launch",),
    "srsgd_ray.study.run": ("run",),
    "srsgd_ray.trainable": ("Budget", "Diverged", "Metric", "Run", "Trainable", "as_trainable"),
}
_LAZY = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "SRSGD",
    "Arm",
    "Budget",
    "Diverged",
    "Metric",
    "Run",
    "SearchSpace",
    "Study",
    "StudyResult",
    "Trainable",
    "When",
    "as_trainable",
    "knob",
    "launch",
    "read_epochs",
    "read_trials",
    "restarts",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "restarts":
        return importlib.import_module("srsgd_ray.restarts")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
