"""The seam between the engine and what it studies. Knows no torch, no Ray, no pandas.

A *trainable* is what a trial runs. The engine searches, confirms, records and resumes any of them,
and knows nothing of it but what stands here. An *epoch* is one unit of a trial's budget, whatever
that is: one report, one row, one checkpoint.
"""

from srsgd_ray.trainable.named import (
    BUILT_IN,
    FunctionTrainable,
    as_trainable,
    find,
    names,
    path_of,
)
from srsgd_ray.trainable.protocol import (
    PREDICTIONS,
    Budget,
    Diverged,
    Metric,
    RankError,
    Run,
    StopTraining,
    Trainable,
)

__all__ = [
    "BUILT_IN",
    "PREDICTIONS",
    "Budget",
    "Diverged",
    "FunctionTrainable",
    "Metric",
    "RankError",
    "Run",
    "StopTraining",
    "Trainable",
    "as_trainable",
    "find",
    "names",
    "path_of",
]
