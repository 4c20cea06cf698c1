"""Studies: what is compared, at which budget; running, resuming and reporting it.

In: a :class:`Study`, made of arms, and :class:`Options` that say where it runs. Out: a results
folder with the record and its tables, and a :class:`StudyResult` that reads them. ``run`` checks
everything (``check``, ``start``), the ``Controller`` assigns trials to a backend, ``Search`` is
Optuna's part of it, ``extend`` says what a resumed study may change. ``control`` acts on a
study from another terminal through ``requests``, ``rerun`` repeats a trial of it, and ``prior`` is
what other studies know; ``dashboard`` is what Optuna's shows besides the searches. Knows no
trainable by name.
"""

from __future__ import annotations

import importlib
from typing import Any

from srsgd_ray.study.arm import Arm
from srsgd_ray.study.options import Options
from srsgd_ray.study.result import StudyResult
from srsgd_ray.study.run import run
from srsgd_ray.study.spec import Study

__all__ = ["Arm", "Options", "Study", "StudyResult", "run"]


def __getattr__(name: str) -> Any:
    # Study scripts import launch from here, too; it belongs to the command line, one floor up.
    if name == "launch":
        return importlib.import_module("srsgd_ray.cli.launch").launch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
