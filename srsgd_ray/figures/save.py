"""Which figures there are, and drawing them into files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from srsgd_ray.figures.confirm import confirmation
from srsgd_ray.figures.curves import training_curves
from srsgd_ray.figures.pareto import error_by_epochs
from srsgd_ray.figures.search import best_so_far, sensitivity_map
from srsgd_ray.figures.style import NotMeant, NotYet, settings
from srsgd_ray.knobs import one_of
from srsgd_ray.results import read_epochs, read_trials
from srsgd_ray.results.place import check_writable

# Every figure by its name, as a function of the tables of epochs and of trials.
FIGURES: dict[str, Callable[[pd.DataFrame, pd.DataFrame], Figure]] = {
    "best_so_far": lambda _, trials: best_so_far(trials),
    "sensitivity_map": lambda _, trials: sensitivity_map(trials),
    "training_curves": training_curves,
    "confirmation": lambda _, trials: confirmation(trials),
    "error_by_epochs": lambda _, trials: error_by_epochs(trials),
}
# Formats, and what of a file's metadata must go so that the same figure gives the same file.
FORMATS: dict[str, dict[str, str | None]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def draw(
    folder: Path | str,
    names: Sequence[str] | None = None,
    formats: Sequence[str] = ("png", "svg"),
    out: Path | str | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Draw figures of a study from its Parquet tables.

    Args:
        folder: the study's folder.
        names: keys of ``FIGURES``; by default all.
        formats: keys of ``FORMATS``.
        out: where the files go; by default ``figures`` in the study's folder.
        say: takes a line about each figure that is skipped because its data do not exist yet.

    Returns:
        The files written.

    Raises:
        UnknownNameError: for an unknown figure or format.
        RecordError: if the folder holds no tables.
        ValueError: if it holds more than one study, or the files cannot be written there.
    """
    selected = checked("figure", names, FIGURES, formats)
    epochs, trials = read_epochs(folder), read_trials(folder)
    target = Path(folder) / "figures" if out is None else Path(out)
    written: list[Path] = []
    for name in selected:
        try:
            figure = FIGURES[name](epochs, trials)
        except NotYet as reason:
            if names is not None or not isinstance(reason, NotMeant):
                say(f"skipped {name}: {reason}")
            continue
        written += save(figure, name, formats, target)
    return written


def checked(
    kind: str, names: Sequence[str] | None, known: Iterable[str], formats: Sequence[str]
) -> list[str]:
    """The names of the figures to draw, all that are known for None.

    Raises:
        UnknownNameError: for an unknown figure or format; ``kind`` is what messages call the first.
    """
    known = list(known)
    selected = known if names is None else list(names)
    for name in selected:
        one_of(kind, name, known)
    for form in formats:
        one_of("format", form, FORMATS)
    return selected


def save(figure: Figure, stem: str, formats: Sequence[str], target: Path) -> list[Path]:
    """Write a figure as ``target/stem.FORMAT``, one file a format; returns the files."""
    check_writable(target, "figures", "--out")
    target.mkdir(parents=True, exist_ok=True)
    written = [target / f"{stem}.{form}" for form in formats]
    for form, path in zip(formats, written, strict=True):
        with settings():
            figure.savefig(path, format=form, metadata=FORMATS[form])
    return written
