"""Which figures there are, and drawing them into files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from srsgd_ray.config import one_of
from srsgd_ray.figures.confirm import confirmation
from srsgd_ray.figures.curves import training_curves
from srsgd_ray.figures.paper import (
    PAPER_FIGURES,
    TRAJECTORY,
    draw_numbers,
    paper_figure,
    paper_numbers,
)
from srsgd_ray.figures.pareto import error_by_epochs
from srsgd_ray.figures.search import best_so_far, sensitivity_map
from srsgd_ray.figures.style import NotMeant, NotYet, look
from srsgd_ray.results import read_epochs, read_trials

__all__ = ["FIGURES", "FORMATS", "PAPER_OUT", "draw", "draw_paper"]

PAPER_OUT = Path("results") / "figures"  # where figures of the paper go

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
        ValueError: if it holds more than one study.
    """
    chosen = list(FIGURES if names is None else names)
    for name in chosen:
        one_of("figure", name, FIGURES)
    for form in formats:
        one_of("format", form, FORMATS)
    epochs, trials = read_epochs(folder), read_trials(folder)
    target = Path(folder) / "figures" if out is None else Path(out)
    written: list[Path] = []
    for name in chosen:
        try:
            figure = FIGURES[name](epochs, trials)
        except NotYet as reason:
            if names is not None or not isinstance(reason, NotMeant):
                say(f"skipped {name}: {reason}")
            continue
        written += _save(figure, name, formats, target)
    return written


def draw_paper(
    names: Sequence[str] | None = None,
    folders: Sequence[Path | str] = (),
    formats: Sequence[str] = ("png", "svg"),
    out: Path | str = PAPER_OUT,
    as_plotted: bool = False,
    protocol: str = "last",
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Draw figures of the paper, and write the numbers of each beside it as Parquet.

    Pictures are drawn from that file: :func:`srsgd_ray.figures.draw_numbers` draws them again.

    Args:
        names: keys of ``PAPER_FIGURES``; by default all.
        folders: results, each of a study or a folder of studies, for our runs in the figures.
        formats: keys of ``FORMATS``.
        out: where the files go.
        as_plotted: as the paper drew them, faults included; their names end in ``_as_plotted``.
        protocol: which of our errors: ``last`` or ``as_published``.
        say: takes a line about each figure that is skipped, or that no run of ours belongs to.

    Returns:
        The files written.

    Raises:
        UnknownNameError: for an unknown figure or format.
        RecordError: if a folder holds no results.
    """
    chosen = list(PAPER_FIGURES if names is None else names)
    for name in chosen:
        one_of("figure of the paper", name, PAPER_FIGURES)
    for form in formats:
        one_of("format", form, FORMATS)
    target = Path(out)
    written: list[Path] = []
    for name in chosen:
        if name == TRAJECTORY:
            try:
                figure = paper_figure(name, folders)
            except NotYet as reason:
                say(f"skipped {name}: {reason}")
                continue
            written += _save(figure, name, formats, target)
            continue
        numbers = paper_numbers(name, folders, as_plotted, protocol)
        if folders and "ours" not in set(numbers["source"]):
            given = ", ".join(map(str, folders))
            say(f"{name}: none of our runs in {given} belongs there; the published numbers alone")
        stem = f"{name}_as_plotted" if as_plotted else name
        target.mkdir(parents=True, exist_ok=True)
        path = target / f"{stem}.parquet"
        numbers.to_parquet(path, index=False)
        written += [*_save(draw_numbers(pd.read_parquet(path)), stem, formats, target), path]
    return written


def _save(figure: Figure, stem: str, formats: Sequence[str], target: Path) -> list[Path]:
    written = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for form in formats:
            path = target / f"{stem}.{form}"
            with look():
                figure.savefig(path, format=form, metadata=FORMATS[form])
            written.append(path)
    except OSError as error:
        raise ValueError(
            f"figures must go into a folder that can be written, but {target} cannot: {error}. "
            f"Choose another with --out."
        ) from error
    return written
