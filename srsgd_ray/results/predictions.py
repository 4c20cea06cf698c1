"""Predictions of confirmation runs on the test images: ``predictions/TRIAL.parquet``, one a run.

A file is whole and on the disk before the report that brought it is in the record, so that a run
that is told as complete has its predictions. They are too many for the record itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from srsgd_ray.results.place import RecordError
from srsgd_ray.results.tables import replace_table
from srsgd_ray.trainable import PREDICTIONS

COLUMNS = ("label", "predicted")


def write_predictions(folder: Path, trial: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Store the predictions of a run, in place of those of an earlier report of it."""
    place = folder / PREDICTIONS
    place.mkdir(exist_ok=True)
    table = pa.table({name: columns[name] for name in COLUMNS})
    replace_table(place / f"{trial}.parquet", table, sync=True)


def read_predictions(folder: Path | str) -> pd.DataFrame:
    """The predictions of a study's confirmation runs, in the order of the images.

    Args:
        folder: the study's, or one with a single study in it.

    Returns:
        One row for each run and test image: ``trial`` (categorical), ``image`` (0-based number in
        the test set), ``label`` and ``predicted`` (the classes). Empty if the study has none: older
        versions stored none, and a run that left out unreadable images does not either.

    Raises:
        RecordError: if there is no such folder, or a file cannot be read.
    """
    if not Path(folder).is_dir():
        raise RecordError(f"no results: expected a study's folder, but {folder} is none.")
    parts = {}
    within = "" if (Path(folder) / PREDICTIONS).is_dir() else "*/"
    for file in sorted(Path(folder).glob(f"{within}{PREDICTIONS}/*.parquet")):
        try:
            with file.open("rb") as opened:  # once: see results.tables
                own = pq.read_table(opened, columns=list(COLUMNS)).to_pandas()
        except (OSError, pa.ArrowException) as error:
            raise RecordError(f"cannot read the predictions in {file}: {error}") from error
        parts[file.stem] = own
    if not parts:
        return pd.DataFrame(columns=["trial", "image", *COLUMNS])
    found: pd.DataFrame = pd.concat(parts, names=["trial", "image"]).reset_index()
    return found.astype({"trial": "category"})
