"""The tables of the quadratic's studies, and whether a reproduction agrees with what was published.

``runs.parquet`` and ``curves.parquet`` come from the study of Figure 2, ``search.parquet`` from the
search of a schedule. Each is made anew from the study's record and replaced as a whole file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from srsgd_ray.config import one_of
from srsgd_ray.problems.quadratic import CASES, ITERATIONS, METHODS, STEP_SIZE, Floats, Setting
from srsgd_ray.published import curves, quadratic_means
from srsgd_ray.results import Column, RecordError
from srsgd_ray.results.columns import PROVENANCE
from srsgd_ray.results.tables import replace_table

__all__ = [
    "TABLES",
    "Agreement",
    "agreement_table",
    "agreements",
    "kept_steps",
    "measure",
    "read_table",
    "setting_columns",
    "write_table",
]

TARGET = 1e-10  # of the exact case: the gap whose reaching counts
TEXT, WHOLE, REAL = pa.string(), pa.int64(), pa.float64()
WHOLES = pa.list_(WHOLE)

STUDY = Column("study", TEXT, "name of the study")
SETTING = (
    Column("case", TEXT, "noise of the gradient: exact, constant or decaying"),
    Column("method", TEXT, "GD, GD + Momentum, NAG, ARNAG or SRNAG"),
    Column("frequencies", WHOLES, "SRNAG: F of each phase", "steps"),
    Column("switches", WHOLES, "SRNAG: iteration t (from 1) at which each later phase begins"),
    Column("frozen_from", WHOLE, "SRNAG: iteration t from which its count stays; 0: never"),
    Column("momentum", REAL, "m of GD + Momentum"),
    Column("momentum_until", WHOLE, "iteration t from which GD + Momentum has m = 0; 0: never"),
    Column("setting", TEXT, "the momentum in words"),
    Column("step_size", REAL, "1/L"),
    Column("iterations", WHOLE, "of the run", "steps"),
)
SEED = Column("seed", WHOLE, "seed of the noise; without meaning where the gradient is exact")
MEASURED = (
    Column("mean_gap_last_1000", REAL, "mean of |f - f*| over the last 1,000 iterations"),
    Column("final_gap", REAL, "|f - f*| at the last iteration"),
    Column("min_gap", REAL, "lowest |f - f*|"),
    Column("first_below", WHOLE, "first 0-based iteration with a gap below 1e-10; empty: none"),
    Column("stays_below", WHOLE, "0-based iteration from which it stays there; empty: none"),
    Column("seconds", REAL, "wall time: its share of what was computed at once", "s"),
)
TABLES: dict[str, tuple[Column, ...]] = {
    "curves": (
        STUDY,
        Column("case", TEXT, "noise of the gradient: exact, constant or decaying"),
        Column("method", TEXT, "GD, GD + Momentum, NAG, ARNAG or SRNAG"),
        SEED,
        Column("step", WHOLE, "0-based iteration: 0 to 99, each 100th and the last are kept"),
        Column("value", REAL, "gap |f - f*| at the extrapolated point, before the step"),
    ),
    "runs": (STUDY, *SETTING, SEED, *MEASURED, *PROVENANCE),
    "search": (
        STUDY,
        Column("phase", TEXT, "search, or confirm: a chosen setting on seeds of its own"),
        Column("arm", TEXT, "what was searched, or where the confirmed setting is from"),
        Column("trial", TEXT, "name of the trial, unique in the study"),
        Column("number", WHOLE, "0-based number of the trial within its arm"),
        Column("state", TEXT, "running, complete or failed"),
        *SETTING,
        SEED,
        Column("objective", REAL, "what the search lowers; see docs/quadratic.md"),
        *MEASURED,
        *PROVENANCE,
    ),
}


def kept_steps(iterations: int) -> list[int]:
    """The steps that ``curves.parquet`` keeps: 0 to 99, each 100th, and the last."""
    kept = {*range(min(100, iterations)), *range(0, iterations, 100), iterations - 1}
    return sorted(kept)


def measure(gaps: Floats) -> dict[str, Any]:
    """The columns ``MEASURED`` of one curve, but for the seconds."""
    below = gaps < TARGET
    above = np.flatnonzero(~below)
    stays = int(above[-1]) + 1 if len(above) else 0
    return {
        "mean_gap_last_1000": float(gaps[-1000:].mean()),
        "final_gap": float(gaps[-1]),
        "min_gap": float(gaps.min()),
        "first_below": int(below.argmax()) if below.any() else None,
        "stays_below": stays if stays < len(gaps) else None,
    }


def setting_columns(setting: Setting) -> dict[str, Any]:
    """The columns ``SETTING``."""
    return {
        **setting.to_dict(),
        "momentum": setting.momentum if setting.method == "GD + Momentum" else None,
        "setting": setting.text,
        "step_size": STEP_SIZE,
    }


def write_table(folder: Path, name: str, rows: Iterable[dict[str, Any]]) -> None:
    """Replace a table of ``folder`` as a whole file; keys that are no column are left out."""
    schema = pa.schema(
        [pa.field(c.name, c.type, metadata={"doc": c.doc, "unit": c.unit}) for c in TABLES[name]]
    )
    table = pa.Table.from_pylist(list(rows), schema=schema)
    replace_table(folder / f"{name}.parquet", table)


def read_table(folder: Path | str, name: str) -> pd.DataFrame:
    """One of ``TABLES`` of a study's folder.

    Raises:
        UnknownNameError: for another name.
        RecordError: if there is no such file.
    """
    one_of("table", name, TABLES)
    path = Path(folder) / f"{name}.parquet"
    if not path.is_file():
        raise RecordError(f"no results: expected {path}.")
    with path.open("rb") as opened:
        frame: pd.DataFrame = pq.read_table(opened).to_pandas()
    return frame


@dataclass(frozen=True)
class Agreement:
    """One published curve against our runs of it.

    Attributes:
        case, method: which curve.
        published: its mean gap over the last 1,000 iterations.
        reruns: of the published scripts, run again with seeds of their own.
        ours: of our runs, one a seed.
        distance: exact case only: the largest difference from the published curve at any of its
            listed steps that we have.
        agrees: None if the two cannot be compared.
        why: the rule and how it came out.
    """

    case: str
    method: str
    published: float
    reruns: tuple[float, ...]
    ours: tuple[float, ...]
    distance: float | None
    agrees: bool | None
    why: str


# Largest difference of an exact curve. ARNAG restarts where f has not fallen, which at the end is
# decided by rounding.
EXACT_BARS = {method: 2e-12 if method == "ARNAG" else 2e-14 for method in METHODS}
# A published curve is one run. By this factor it may lie beyond our lowest and highest seed.
NOISY_FACTORS = {
    "GD": 1.11,
    "GD + Momentum": 2.0,
    "NAG": 2.0,
    "ARNAG": 1.11,
    "SRNAG": 1.11,
}
LEAST_SEEDS = 5
FIGURES = dict(zip(CASES, ("Figure 2 left", "Figure 2 middle", "Figure 2 right"), strict=True))


def agreements(runs: pd.DataFrame, points: pd.DataFrame) -> list[Agreement]:
    """Compare the runs and their curves with what was published, curve by curve.

    Exact: the largest difference is within ``EXACT_BARS``. With noise: each of the published value
    and the reruns lies between our lowest and our highest seed, widened by ``NOISY_FACTORS``; it
    takes 5 seeds of 50,000 iterations.
    """
    found = []
    for known in quadratic_means():
        mine = runs[(runs["case"] == known.case) & (runs["method"] == known.method)]
        if not len(mine):
            continue
        ours = tuple(float(v) for v in mine["mean_gap_last_1000"])
        distance = None
        if known.case == "exact":
            distance = _distance(known.method, points)
            bar = EXACT_BARS[known.method]
            agrees, why = (
                distance <= bar,
                f"its curve differs by {distance:.2g} at most (allowed {bar:g})",
            )
        elif set(mine["iterations"]) != {ITERATIONS}:
            agrees, why = None, f"not compared: the published run has {ITERATIONS:,} iterations"
        elif len(ours) < LEAST_SEEDS:
            agrees, why = None, f"not compared: it takes {LEAST_SEEDS} seeds"
        else:
            factor = NOISY_FACTORS[known.method]
            low, high = min(ours) / factor, max(ours) * factor
            others = (known.published, *known.reruns)
            agrees = all(low <= value <= high for value in others)
            why = f"{low:.4g} to {high:.4g} allowed"
        found.append(
            Agreement(
                known.case, known.method, known.published, known.reruns, ours, distance, agrees, why
            )
        )
    return found


def _distance(method: str, points: pd.DataFrame) -> float:
    """Largest difference of our exact curve from the published one."""
    theirs = curves(FIGURES["exact"])
    theirs = theirs[theirs["series"] == method]
    published = dict(zip(theirs["step"], theirs["value"], strict=True))
    ours = points[(points["case"] == "exact") & (points["method"] == method)]
    return max(
        abs(float(value) - float(published[step]))
        for step, value in zip(ours["step"], ours["value"], strict=True)
        if step in published
    )


def agreement_table(found: Sequence[Agreement]) -> str:
    """The comparison as plain text, a line a curve."""
    lines = [
        f"{'case':9} {'method':14} {'published':>10}  {'ours: mean ± std (n)':28} agrees",
    ]
    words = {True: "yes", False: "NO", None: "-"}
    for one in found:
        n = len(one.ours)
        mean = math.fsum(one.ours) / n
        spread = f" ± {np.std(one.ours, ddof=1):.2g}" if n > 1 else ""
        lines.append(
            f"{one.case:9} {one.method:14} {one.published:10.4g}  "
            f"{f'{mean:.4g}{spread} ({n})':28} {words[one.agrees]}: {one.why}"
        )
    return "\n".join(lines)
