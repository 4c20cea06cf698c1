"""Every verb of ``srsgd-ray`` as data: what it is for, what it takes, and what does its work.

A module here imports next to nothing: what a verb needs is imported when it is called.
"""

from srsgd_ray.cli.declared import (
    control,
    data,
    doctor,
    exports,
    lmdb,
    pages,
    results,
    shell,
    studies,
    train,
)
from srsgd_ray.cli.declared.verb import Verb

MODULES = (
    studies,
    control,
    doctor,
    results,
    pages,
    exports,
    lmdb,
    data,
    train,
    shell,
)
VERBS: dict[str, Verb] = {name: verb for module in MODULES for name, verb in module.VERBS.items()}

# How ``srsgd-ray --help`` lists them; verbs that are named nowhere come last, under Other.
GROUPS = {
    "Run": ("run", "resume", "plan", "check", "doctor", "train"),
    "Look": (
        "status", "list", "best", "compare", "table", "figures", "report", "watch", "export",
        "simulate",
    ),
    "Grow": ("extend", "enqueue", "rerun", "retry", "skip", "stop"),
    "Data": ("lmdb build", "lmdb convert", "lmdb verify", "lmdb info", "fetch"),
}  # fmt: skip
