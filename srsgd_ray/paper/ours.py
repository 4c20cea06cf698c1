"""What our runs have for the figures of the paper, matched with the published configurations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pandas as pd

from srsgd_ray.analysis.confirm import estimate
from srsgd_ray.analysis.curves import run_config as config_of
from srsgd_ray.config import GENERATED
from srsgd_ray.paper.cells import Cell, cells
from srsgd_ray.paper.compare import published_beside_ours
from srsgd_ray.paper.panels import FULL, PaperPanel, Point, label
from srsgd_ray.paper.runs import belongs, distance
from srsgd_ray.paper.runs import run_key as key_of
from srsgd_ray.paper.runs import run_workers as workers_of

__all__ = ["errors", "gaps", "losses", "over_runs"]

# Flags that change from point to point of a line.
CHANGING = ("seeds", "repeats", "images a batch norm")


def over_runs(point: Point, values: Sequence[float]) -> Point:
    """The point as a mean over runs with a 95 % t interval; of one run just its value."""
    n = len(values)
    if n == 1:
        return dataclasses.replace(point, y=float(values[0]), n=1)
    made = estimate([float(value) for value in values])
    return dataclasses.replace(point, y=made.mean, std=made.std, low=made.low, high=made.high, n=n)


def errors(trials: pd.DataFrame, panel: PaperPanel, protocol: str) -> Iterator[Point]:
    """Our errors for a panel, with the levels of SGD at full length where it has such."""
    tables = [(panel.table, "point")]
    if panel.levels:
        tables.append((FULL[panel.levels], "reference"))
    for table, role in tables:
        seen: dict[tuple[str, float], list[str]] = {}
        for _, row in _ours(published_beside_ours(table, trials, protocol)).iterrows():
            if role == "reference" and row["optimizer"] != "sgd":
                continue
            of_table = pd.isna(row["x"])
            series = label(panel.x_label, row["dataset"], row["depth"], row["optimizer"], None)
            x = 0.0 if role == "reference" else float(row["depth" if of_table else "x"])
            taken = seen.setdefault((series, x), [])
            taken.append(_way(row, taken))
            flags = "; ".join(row["protocol_flags"])
            point = Point(series, x, math.nan, role, "ours", taken[-1], flags)
            yield over_runs(point, row["values"])


def losses(trials: pd.DataFrame, epochs: pd.DataFrame, panel: PaperPanel) -> Iterator[Point]:
    """Our training loss for a panel; the epoch that was finished k-th stands at k - 1."""
    asked = [cell for cell in cells(panel.table) if panel.depth in (None, cell.depth)]
    for cell in [cell for cell in asked if cell.schedule != "exponential"]:
        series = label(panel.x_label, cell.dataset, cell.depth, cell.optimizer, cell.x)
        taken: list[str] = []
        for runs in _runs(trials, cell):
            _, row = next(_ours(published_beside_ours(panel.table, runs)).iterrows())
            taken.append(_way(row, taken))
            flags = "; ".join(row["protocol_flags"])
            names = runs[["study", "trial"]]
            own = epochs.merge(names, on=["study", "trial"]).dropna(subset=["train_loss"])
            own = own.drop_duplicates(["study", "trial", "epoch"])
            curve = own.groupby("epoch")["train_loss"].agg(list)
            for epoch, values in zip(curve.index, curve, strict=True):
                point = Point(series, float(epoch - 1), math.nan, "curve", "ours", taken[-1], flags)
                yield over_runs(point, values)


def gaps(curves: pd.DataFrame, case: str) -> Iterator[Point]:
    """Our curves of the quadratic, a study of its own a way; iterations count from 1."""
    own = curves[curves["case"] == case]
    several = own["study"].nunique() > 1
    for (study, method), table in own.groupby(["study", "method"], sort=False):
        way = f"study: {study}" if several else ""
        curve = table.drop_duplicates(["seed", "step"]).groupby("step")["value"].agg(list)
        for step, values in zip(curve.index, curve, strict=True):
            point = Point(str(method), float(step + 1), math.nan, "curve", "ours", way)
            yield over_runs(point, values)


def _ours(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that hold runs on real data of a configuration with a published error."""
    there = (table["ours_n"] > 0) & (table["status"] != "generated data")
    return table[there & (table["schedule"] != "exponential")]


def _way(row: pd.Series[Any], taken: Collection[str]) -> str:
    """What tells a line of ours from the others through the same place."""
    flags = row["protocol_flags"]
    way = "; ".join(flag for flag in flags if flag.split(":")[0] not in CHANGING)
    if way in taken:
        way = "; ".join((*flags, f"study: {' '.join(row['studies'])}"))
    while way in taken:
        way += " (again)"
    return way


def _runs(trials: pd.DataFrame, cell: Cell) -> list[pd.DataFrame]:
    """Our runs of a cell, one table for each way of running, one run for each seed."""
    groups: dict[object, list[Any]] = {}
    counts = (trials["phase"] == "confirm") & (trials["state"] == "complete")
    for index, row in trials[counts].iterrows():
        config = config_of(row)
        right = belongs(config, cell) and distance(config, cell) == (0, 0)
        known = not pd.isna(row["test_error"]) and math.isfinite(row["test_error"])
        if right and known and config.data_dir != GENERATED:
            groups.setdefault(key_of(config, workers_of(row), False), []).append(index)
    return [trials.loc[found].drop_duplicates("seed") for found in groups.values()]
