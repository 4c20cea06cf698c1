"""The cases of `chaos.py`: where a study runs and what is killed of it; and the table of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median
from typing import Any

ONE, TWO = ("--slots", "1"), ("--slots", "2", "--searcher", "grid")  # in any order the same
GROUP = (*ONE, "--workers-per-trial", "2", "--cpus-per-worker", "0.9")
SETTINGS = {
    "local": ("local", ONE), "local, 2 slots": ("local", TWO), "Ray": ("ray", ONE),
    "cluster": ("ray", (*ONE, "--cpus-per-worker", "0.9")), "cluster, 2 workers": ("ray", GROUP),
}  # fmt: skip
CHECKPOINT, TABLE, LINE = "in a checkpoint", "in a Parquet file", "in a record line"
Case = tuple[str, ...]  # a setting, and what is killed there; what follows is in the resume
LOCAL: tuple[Case, ...] = (
    ("local", "driver"), ("local", CHECKPOINT), ("local", LINE), ("local", TABLE),
    ("local", "driver", "driver"), ("local", "driver", CHECKPOINT), ("local", LINE, TABLE),
    ("local, 2 slots", "driver"), ("local, 2 slots", "worker"), ("local, 2 slots", CHECKPOINT),
    ("local, 2 slots", "worker + driver"), ("local, 2 slots", "worker + worker"),
    ("local, 2 slots", "driver", "worker"),
)  # fmt: skip
RAY: tuple[Case, ...] = (
    *(("cluster", kind) for kind in ("driver", "Tune actor", "worker", "worker node")),
    *(("cluster", kind) for kind in (CHECKPOINT, LINE, TABLE, "Tune actor + worker")),
    ("cluster", "driver", "driver"),
    ("cluster", "driver", "worker node"),
    ("cluster", "head node"),
    *(("Ray", kind) for kind in ("driver", "GCS", "raylet", "dashboard agent")),
    *(("Ray", kind) for kind in ("runtime-env agent", "head node", "machine")),
    ("Ray", "Tune actor + dashboard agent"),
    ("Ray", "any + any"),
    *(("cluster, 2 workers", kind) for kind in ("driver", "worker", "Train controller")),
    *(("cluster, 2 workers", kind) for kind in (CHECKPOINT, "worker node")),
)
HEADS = ("where", "victim", "tried", "survived", "lost", "doubled", "stuck", "seconds", "left over")
SUMMED = (2, 3, 4, 5, 6, 8)


def drawn(part: Sequence[Case], many: int, dice: random.Random) -> list[Case]:
    """So many of these cases, each of them before one comes again; in their own order."""
    rounds = [dice.sample(part, len(part)) for _ in range(many // len(part) + 1)]
    return sorted([case for each in rounds for case in each][:many], key=part.index)


def row_of(case: Case, each: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    """A row of the table."""
    sound = sum("lost" in d and not (d["lost"] or d["doubled"] or d["wrong"]) for d in each)
    took = sorted(d["seconds"] for d in each if "seconds" in d)
    times = f"{median(took):.1f} ({took[-1]:.1f})" if took else "-"
    sums = [sum(int(d.get(key, 0)) for d in each) for key in ("lost", "doubled", "stuck")]
    victim = ", then in the resume ".join(case[1:])
    return (
        case[0],
        victim,
        len(each),
        sound,
        *sums,
        times,
        sum(len(d.get("left", ())) for d in each),
    )


def text_of(table: Sequence[tuple[Any, ...]]) -> str:
    """The table in Markdown, and its sums."""
    numbers = {name: sum(row[n] for row in table) for n, name in enumerate(HEADS) if n in SUMMED}
    sums = ", ".join(f"{count} {name}" for name, count in numbers.items())
    return f"{in_markdown(HEADS, table)}\n\n{sums}"


def in_markdown(heads: Sequence[str], table: Sequence[tuple[Any, ...]]) -> str:
    """A table in Markdown."""
    rows = [heads, ("---",) * len(heads), *table]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)
