"""Every verb of ``srsgd-ray`` as data: what it is for, what it takes, and what does its work.

A module here imports next to nothing: what a verb needs is imported when it is called.
"""

from srsgd_ray.cli.declared import control, exports, lmdb, pages, results, studies, train
from srsgd_ray.cli.declared.verb import Verb

VERBS: dict[str, Verb] = (
    studies.VERBS
    | control.VERBS
    | results.VERBS
    | pages.VERBS
    | exports.VERBS
    | lmdb.VERBS
    | train.VERBS
)

# How ``srsgd-ray --help`` lists them; verbs that are named nowhere come last, under Other.
GROUPS = {
    "Run": ("run", "resume", "plan", "check", "train"),
    "Look": (
        "status", "list", "best", "compare", "table", "figures", "report", "watch", "export",
    ),
    "Grow": ("extend", "enqueue", "rerun", "retry", "skip", "stop"),
    "Data": ("lmdb build", "lmdb convert", "lmdb verify", "lmdb info"),
}  # fmt: skip
