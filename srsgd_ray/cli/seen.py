"""A study's folder as it is just now: of a study that runs, has ended, or is of an old version."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from srsgd_ray.pages.live import live
from srsgd_ray.results import RecordError, read_record, read_trials
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.reading import frames
from srsgd_ray.results.record import FILE_NAME as RECORD

SIGNS = (RECORD, "trials.parquet", "epochs.parquet", "optuna.db")  # of a folder that held a study


@dataclass(frozen=True)
class Seen:
    """What a folder shows just now; ``contents`` and ``now`` are None without a record."""

    folder: Path
    trials: pd.DataFrame
    contents: Contents | None
    now: dict[str, Any] | None

    @classmethod
    def of(cls, folder: Path) -> Seen:
        """Read a study's folder, also while it runs."""
        if (folder / RECORD).is_file():
            contents = read_record(folder)
            return cls(folder, frames(contents)[0], contents, live(folder, contents))
        if not (folder / "trials.parquet").is_file():
            raise RecordError(f"no study here: {folder} has neither {RECORD} nor trials.parquet.")
        return cls(folder, read_trials(folder), None, None)

    @property
    def state(self) -> str:
        """See :func:`srsgd_ray.pages.live.state_of`."""
        return "tables" if self.now is None else str(self.now["state"])

    @property
    def ended(self) -> int:
        """Trials that have ended."""
        return int((self.trials["state"] != "running").sum())

    @property
    def question(self) -> str:
        """What the study asks."""
        spec = self.contents.header.get("spec", {}) if self.contents else {}
        return str(spec.get("question", ""))

    @property
    def last(self) -> float:
        """Time of what happened last, in seconds since 1970; NaN if nothing did."""
        if self.contents is not None and self.contents.sessions:
            return float(self.contents.sessions[-1]["last"])
        return float(pd.to_numeric(self.trials["ended"]).max())

    @property
    def single(self) -> bool:
        """Whether it is one training run, which is no study."""
        return set(self.trials["phase"]) == {"single"}


def study_folders(path: Path) -> list[Path]:
    """The folders in a results folder that hold, or held, a study."""
    inside = sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
    return [p for p in inside if any((p / sign).exists() for sign in SIGNS)]


def holds_study(path: Path) -> bool:
    """Whether a folder is that of a study, rather than of several."""
    return (path / RECORD).is_file() or (path / "trials.parquet").is_file()


def fitted(text: str) -> str:
    """Lines cut to the terminal, if there is one."""
    if not sys.stdout.isatty():
        return text
    width = max(40, shutil.get_terminal_size().columns)
    return "\n".join(
        line if len(line) <= width else f"{line[: width - 1]}…" for line in text.splitlines()
    )
