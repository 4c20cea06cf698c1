"""Exports: a study's trials, metrics and verdict in the formats of other tools.

In: the tables of a results folder. Out: files, or a tool's own local store, that say the same
(``runs`` makes of the tables what all targets share, and each target is a module). Libraries are
imported when their target is asked for; nothing is sent anywhere, and nothing listens.
"""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from srsgd_ray.export import tensorboard
from srsgd_ray.export.runs import Exported, exported
from srsgd_ray.knobs import one_of
from srsgd_ray.results.place import check_writable
from srsgd_ray.typed import typed

__all__ = ["TARGETS", "Target", "export", "exported"]


@dataclass(frozen=True)
class Target:
    """A format.

    Attributes:
        what: it writes, in a line.
        writer: the function that does, as ``module:function`` of this package.
        shared: whether studies share one place, as a tracker's store; else each has a folder.
        see: makes, of where it was written and the study's name, the command that shows it.
    """

    what: str
    writer: str
    shared: bool = False
    see: Callable[[Path, str], str] | None = None

    def write(self, study: Exported, out: Path) -> Path:
        """Write a study into a folder; returns what was written."""
        module, _, name = self.writer.partition(":")
        found: Path = getattr(importlib.import_module(f"srsgd_ray.export.{module}"), name)(
            study, out
        )
        return found


TARGETS = {
    "csv": Target("trials.csv and epochs.csv, all columns and digits", "files:write_csv"),
    "markdown": Target("tables, verdict and trials", "files:write_markdown"),
    "latex": Target("the same", "files:write_latex"),
    "tensorboard": Target(
        "event files with hyperparameters",
        "tensorboard:write",
        see=lambda out, name: typed("tensorboard", "--logdir", out),
    ),
    "mlflow": Target(
        "a database",
        "mlflow:write",
        shared=True,
        see=lambda out, name: (
            typed("mlflow", "ui", "--backend-store-uri", f"sqlite:///{out}")
            + "  (of the whole package: pip install mlflow)"
        ),
    ),
    "wandb": Target(
        "offline runs of Weights & Biases",
        "wandb:write",
        shared=True,
        see=lambda out, name: typed("wandb", "leet", out),
    ),
    "trackio": Target(
        "a database",
        "trackio:write",
        shared=True,
        see=lambda out, name: (
            f"TRACKIO_DIR={shlex.quote(str(out))} " + typed("trackio", "show", "--project", name)
        ),
    ),
}


def default_place(folder: Path, to: str) -> Path:
    """Where a study's export goes if nobody says: where the study itself writes it, if it does."""
    return tensorboard.place(folder) if to == "tensorboard" else folder / "export" / to


def export(
    *folders: Path | str, to: str, out: Path | str | None = None
) -> list[tuple[Path, Exported]]:
    """Write studies in a format; what was written before is completed, and never doubled.

    Args:
        folders: of studies.
        to: a key of ``TARGETS``.
        out: folder that it goes to, where each study has a folder of its name unless the format is
            a store for many; None: a folder in the study's.

    Returns:
        What was written of each study, and the study.

    Raises:
        UnknownNameError: for another format.
        ValueError: if a library is missing, two of the studies have one name, or the place cannot
            be written.
    """
    one_of("format", to, TARGETS)
    target, studies = TARGETS[to], [exported(folder) for folder in folders]
    names = [study.name for study in studies]
    if out is not None and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"studies must have different names to go to one place, but {twice!r} stands for "
            f"several. Export one after the other, with another --out."
        )
    written = []
    for study in studies:
        place = default_place(study.folder, to)
        if out is not None:
            place = Path(out) if target.shared else Path(out) / study.name
        check_writable(place, "an export", "--out")
        written.append((target.write(study, place), study))
    return written
