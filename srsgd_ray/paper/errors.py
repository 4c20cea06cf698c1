"""Every published top-1 error, one at a time or as a table."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files

import pandas as pd

__all__ = ["PublishedError", "errors", "errors_table"]


@dataclass(frozen=True)
class PublishedError:
    """One published top-1 error in percent, with all that says what was run.

    Attributes:
        table: ``Table 1`` ... ``Table 5``, inferred; "" where it stands in figures only. The errors
            of Table 4 (short CIFAR training) are not known, nor is any of an exponential schedule.
        figure: ``Figure 1 left`` and so on, the numbers of arXiv v1; "" for the abstract.
        dataset, model, depth, optimizer: as in ``TrainConfig``.
        restart_list: F of each stage, where it is known.
        restart_f1: F of the first stage; None for SGD.
        restart_decay: whether F decays to 1 over the last stage.
        epochs: of the training; None where it is not said.
        lr_milestones: epochs before which the learning rate falls.
        lr_milestones_inferred: they are not in the repository, but concluded.
        x_name, x: what a figure's axis shows (``epoch_reduction``, ``F1``,
            ``fewer_epochs_per_intermediate_stage``), else "" and None.
        mean, std: over the runs, in points; std is None where not printed.
        std_as_plotted: what the published figure draws.
        n: number of runs, where it could be derived.
        source: where the number is from.
        note: what else must be known.
        faults: keys of ``FAULTS``.
    """

    table: str
    figure: str
    dataset: str
    model: str
    depth: int
    optimizer: str
    restart_list: tuple[float, ...]
    restart_f1: float | None
    restart_decay: bool
    epochs: int | None
    lr_milestones: tuple[int, ...]
    lr_milestones_inferred: bool
    x_name: str
    x: float | None
    mean: float
    std: float | None
    std_as_plotted: float | None
    n: int | None
    source: str
    note: str
    faults: tuple[str, ...]


@cache
def errors() -> tuple[PublishedError, ...]:
    """All 244 published errors, in the order of the tables and figures."""
    text = (files("srsgd_ray.paper") / "data" / "errors.csv").read_text(encoding="utf-8")
    return tuple(_error(row) for row in csv.DictReader(text.splitlines()))


def errors_table() -> pd.DataFrame:
    """The same as a table: one row an error, columns as the fields of ``PublishedError``."""
    return pd.DataFrame([asdict(error) for error in errors()])


def _error(row: dict[str, str]) -> PublishedError:
    return PublishedError(
        table=row["table"],
        figure=row["figure"],
        dataset=row["dataset"],
        model=row["model"],
        depth=int(row["depth"]),
        optimizer=row["optimizer"],
        restart_list=tuple(float(f) for f in row["restart_list"].split()),
        restart_f1=_number(row["restart_f1"]),
        restart_decay=row["restart_decay"] == "True",
        epochs=int(row["epochs"]) if row["epochs"] else None,
        lr_milestones=tuple(int(epoch) for epoch in row["lr_milestones"].split()),
        lr_milestones_inferred=row["lr_milestones_inferred"] == "True",
        x_name=row["x_name"],
        x=_number(row["x"]),
        mean=float(row["mean"]),
        std=_number(row["std"]),
        std_as_plotted=_number(row["std_as_plotted"]),
        n=int(row["n"]) if row["n"] else None,
        source=row["source"],
        note=row["note"],
        faults=tuple(row["faults"].split()),
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
