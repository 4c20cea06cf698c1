"""Results made by hand, for the tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from srsgd_ray.config import TrainConfig
from srsgd_ray.results import arrow_schema
from srsgd_ray.results.lines import Lines


def events_of(record: Path) -> list[dict[str, Any]]:
    """The events of a record, without their checksums."""
    found = [json.loads(line) for line in record.read_bytes().splitlines()]
    return [{k: v for k, v in event.items() if k != "crc32"} for event in found]


def rewrite(record: Path, events: Sequence[Mapping[str, Any]]) -> None:
    """Write a record anew, with the checksums that these events have."""
    lines = Lines(record)
    record.write_bytes(b"".join(map(lines.write, events)))


def made_trial(arm: str, number: int, state: str = "complete", **values: Any) -> dict[str, Any]:
    """A row of the trials table; ``values`` are columns of any kind."""
    phase = values.pop("phase", "search")
    optimizer = "srsgd" if arm.startswith("srsgd") else "sgd"
    config = TrainConfig(optimizer=optimizer).to_dict()
    known = {
        "study": "made",
        "phase": phase,
        "arm": arm,
        "trial": f"{phase}-{arm}-{number:03d}",
        "number": number,
        "state": state,
        "epochs_done": 10,
        "train_loss": 0.2,
        "val_loss": 0.5,
        "ended": None if state == "running" else 100.0 + number,
    }
    return {**config, **known, **values}


def confirm_runs(arm: str, errors: Sequence[float | None], **values: Any) -> list[dict[str, Any]]:
    """Complete confirmation runs with seeds from 1 on; None stands for a diverged one."""
    return [
        made_trial(
            arm,
            number,
            "diverged" if error is None else "complete",
            phase="confirm",
            seed=number + 1,
            test_error=error,
            **values,
        )
        for number, error in enumerate(errors)
    ]


def made_table(rows: Sequence[dict[str, Any]], name: Any = "trials") -> pd.DataFrame:
    """Rows as reading the Parquet table would give them."""
    frame: pd.DataFrame = pa.Table.from_pylist(list(rows), schema=arrow_schema(name)).to_pandas()
    return frame


def searched() -> pd.DataFrame:
    """A small search: two arms, every state, ended in another order than begun."""
    return made_table(
        [
            made_trial("srsgd", 0, val_error=8.0, lr=0.01, restart_f1=5.0, ended=3.0),
            made_trial("srsgd", 1, "diverged", val_error=1.0, lr=1.0, epochs_done=2, ended=1.0),
            made_trial("srsgd", 2, val_error=4.0, lr=0.1, restart_f1=500.0, ended=2.0),
            made_trial("srsgd", 3, "pruned", val_error=2.0, lr=0.1, epochs_done=3, ended=4.0),
            made_trial("srsgd", 4, "running", val_error=0.5, epochs_done=7),
            made_trial("sgd", 0, "failed", val_error=None, lr=0.3, epochs_done=None, ended=5.0),
            made_trial("sgd", 1, val_error=6.0, lr=0.2, weight_decay=1e-3, ended=6.0),
        ]
    )


def made_epochs(
    runs: Sequence[dict[str, Any]], steps: int = 18, validated: bool = False
) -> list[dict[str, Any]]:
    """Rows of the epochs table for runs: loss ``2 / epoch``, a tenth more with each seed."""
    names = {"study", "phase", "arm", "trial", "number", *TrainConfig().to_dict()}
    return [
        {
            **{name: run[name] for name in names},
            "epoch": epoch,
            "step": steps * epoch,
            "train_loss": (2.0 + 0.1 * run["seed"]) / epoch,
            "train_error": 50.0 / epoch + run["seed"],
            "val_error": 60.0 / epoch + run["seed"] if validated else None,
        }
        for run in runs
        for epoch in range(1, run["epochs_done"] + 1)
    ]
