"""Every figure of the paper by its name: the published numbers, and ours where there are some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from srsgd_ray.figures.save import checked, save
from srsgd_ray.figures.style import NotYet
from srsgd_ray.knobs import one_of
from srsgd_ray.paper.draw import draw_numbers
from srsgd_ray.paper.numbers import figure_numbers
from srsgd_ray.paper.panels import PAPER
from srsgd_ray.results import RecordError, read_epochs, read_trials
from srsgd_ray.typed import typed

TRAJECTORY = "appfig7"  # the one figure that no published numbers exist of
# Every figure by its name, with its title.
PAPER_FIGURES: dict[str, str] = {
    **{name: figure.title for name, figure in PAPER.items()},
    TRAJECTORY: "Appendix Figure 7: trajectories of the optimizers",
}
PAPER_OUT = Path("results") / "figures"  # where figures of the paper go
CURVES = {"case", "method", "seed", "step", "value"}


def paper_figure(
    name: str,
    folders: Sequence[Path | str] = (),
    as_plotted: bool = False,
    protocol: str = "last",
) -> Figure:
    """Draw a figure of the paper, with our runs over it.

    Published lines are thin and their markers hollow; ours are strong and filled.
    :func:`srsgd_ray.paper.numbers.figure_numbers` says which of our runs belong there.

    Args:
        name: key of ``PAPER_FIGURES``.
        folders: results, each of a study or a folder of studies.
        as_plotted: with the published figure's faults, as far as it had any.
        protocol: which of our errors: ``last`` or ``as_published``.

    Raises:
        UnknownNameError: for an unknown figure.
        RecordError: if a folder holds no results.
        NotYet: for appfig7, if no folder holds its trajectories.
    """
    one_of("figure of the paper", name, PAPER_FIGURES)
    if name == TRAJECTORY:
        return _trajectory(folders)
    return draw_numbers(paper_numbers(name, folders, as_plotted, protocol))


def paper_numbers(
    name: str,
    folders: Sequence[Path | str] = (),
    as_plotted: bool = False,
    protocol: str = "last",
) -> pd.DataFrame:
    """The numbers of a figure; arguments and errors as of :func:`paper_figure`, but no appfig7."""
    trials, epochs, curves = _read(folders)
    return figure_numbers(name, trials, epochs, curves, as_plotted, protocol)


def draw_paper(
    names: Sequence[str] | None = None,
    folders: Sequence[Path | str] = (),
    formats: Sequence[str] = ("png", "svg"),
    out: Path | str = PAPER_OUT,
    as_plotted: bool = False,
    protocol: str = "last",
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Draw figures of the paper into files, and write the numbers of each with it as Parquet.

    :func:`draw_numbers` draws the pictures again from that file.

    Args:
        names: keys of ``PAPER_FIGURES``; by default all.
        folders, as_plotted, protocol: as of :func:`paper_figure`; with ``as_plotted`` the names of
            the files end so.
        formats: keys of ``FORMATS``.
        out: where the files go.
        say: takes a line about each figure that is skipped, or that no run of ours belongs to.

    Returns:
        The files written.

    Raises:
        UnknownNameError: for an unknown figure or format.
        RecordError: if a folder holds no results.
        ValueError: if the files cannot be written there.
    """
    selected = checked("figure of the paper", names, PAPER_FIGURES, formats)
    target = Path(out)
    written: list[Path] = []
    for name in selected:
        if name == TRAJECTORY:
            try:
                written += save(_trajectory(folders), name, formats, target)
            except NotYet as reason:
                say(f"skipped {name}: {reason}")
            continue
        numbers = paper_numbers(name, folders, as_plotted, protocol)
        if folders and "ours" not in set(numbers["source"]):
            given = ", ".join(map(str, folders))
            say(f"{name}: none of our runs in {given} belongs there; the published numbers alone")
        stem = f"{name}_as_plotted" if as_plotted else name
        written += save(draw_numbers(numbers), stem, formats, target)
        written.append(target / f"{stem}.parquet")
        numbers.to_parquet(written[-1], index=False)
    return written


def _trajectory(folders: Sequence[Path | str]) -> Figure:
    from srsgd_ray.paper.trajectory_figure import trajectory

    command = typed("python", "studies/trajectory.py")
    last = NotYet(f"run {command} first, and name its results folder")
    for study in [study for folder in folders for study in _with(Path(folder), "trajectory")]:
        try:
            return trajectory(study)
        except NotYet as reason:
            last = reason
    raise last


def _read(folders: Sequence[Path | str]) -> list[pd.DataFrame | None]:
    """Trials, epochs and curves of any number of studies; None where there are none."""
    trials, epochs, curves = [], [], []
    for folder in map(Path, folders):
        tables, gaps = _with(folder, "trials"), _with(folder, "curves")
        if not tables and not gaps and not _with(folder, "trajectory"):
            raise RecordError(
                f"no results: expected {folder / 'trials.parquet'} or curves.parquet, or studies "
                f"with these in it."
            )
        trials += [read_trials(study) for study in tables]
        epochs += [read_epochs(study) for study in tables]
        found = [pd.read_parquet(study / "curves.parquet") for study in gaps]
        curves += [table for table in found if set(table.columns) >= CURVES]
    filled = [[table for table in kind if len(table)] for kind in (trials, epochs, curves)]
    return [pd.concat(kind, ignore_index=True) if kind else None for kind in filled]


def _with(folder: Path, name: str) -> list[Path]:
    """The folder itself, or those in it, that hold a table."""
    if (folder / f"{name}.parquet").is_file():
        return [folder]
    return [path.parent for path in sorted(folder.glob(f"*/{name}.parquet"))]
