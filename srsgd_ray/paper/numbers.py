"""The numbers of every figure of the paper, as published and as our runs have them. No drawing."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from srsgd_ray.analysis.interval import estimate
from srsgd_ray.knobs import one_of
from srsgd_ray.paper import published
from srsgd_ray.paper.cells import FULL, Cell
from srsgd_ray.paper.compare import flags
from srsgd_ray.paper.panels import CASES, EPOCH, ERROR, F1, PAPER, PaperPanel, series
from srsgd_ray.paper.runs import Variant, matched

COLUMNS = (
    "figure", "as_plotted", "panel", "title", "x_label", "y_label", "series", "x", "y", "role",
    "source", "variant", "flags", "std", "low", "high", "n", "position",
)  # fmt: skip
PUBLISHED = {"source": "published", "variant": "", "flags": ""}
Row = dict[str, Any]  # a number of a figure: some of the columns
# Flags that change from point to point of a line.
CHANGING = ("seeds", "repeats", "images a batch norm")


def figure_numbers(
    name: str,
    trials: pd.DataFrame | None = None,
    epochs: pd.DataFrame | None = None,
    curves: pd.DataFrame | None = None,
    as_plotted: bool = False,
    protocol: str = "last",
) -> pd.DataFrame:
    """All numbers that a figure of the paper shows, and those of our runs that belong there.

    Published deviations and labels are the corrected ones. Ours are complete confirmation runs that
    :func:`srsgd_ray.paper.compare.compare_with_published` puts to a cell, but for generated data.
    Runs that differ in more than the seed are separate lines, distinguished by ``variant``. A
    published training loss is that of epoch x counted from 0; ours, recorded after x + 1 epochs,
    stands at the same x. An iteration x counts from 1.

    Args:
        name: key of ``PAPER``.
        trials, epochs: tables of any number of studies.
        curves: curves of the quadratic (``study``, ``case``, ``method``, ``seed``, ``step`` from 0,
            ``value``).
        as_plotted: the deviations and labels as the paper drew them.
        protocol: ``last``: our errors are those of the last epoch; ``as_published``: of the best
            test epoch, where every epoch was tested.

    Returns:
        One row a point: ``figure``; ``as_plotted``; ``panel``, its ``title``, ``x_label`` and
        ``y_label``; ``series``, label of its line; ``x``, ``y`` (NaN is not drawn); ``role``:
        ``point`` (of a line with markers), ``curve`` or ``reference`` (a level line: SGD at full
        length); ``source``: ``published`` or ``ours``; of ours ``variant``, in what the line was
        run unlike the published one, which distinguishes lines, and ``flags``, in what the point
        was, all that ``compare_with_published`` flags; ``std`` and ``n`` over runs, where they are
        known; ``low`` and ``high``, drawn around y: published errors -+ one std, all else a 95 % t
        interval; ``position`` on the x axis: the index of an F1, else x.

    Raises:
        UnknownNameError: for an unknown figure.
    """
    one_of("figure of the paper with numbers", name, PAPER)
    rows: list[Row] = []
    for panel in PAPER[name].panels:
        made = [*(_errors if panel.y_label == ERROR else _curves)(panel, as_plotted)]
        if panel.figure.startswith("Figure 2 ") and curves is not None:
            made += _our_gaps(curves, CASES[panel.place])
        elif panel.y_label == ERROR and trials is not None:
            made += _our_errors(trials, panel, protocol)
        elif panel.table and trials is not None and epochs is not None:
            made += _our_losses(trials, epochs, panel)
        common = {"panel": panel.place, "title": panel.title, "x_label": panel.x_label,
                  "y_label": panel.y_label}  # fmt: skip
        places = sorted({row["x"] for row in made}) if panel.x_label == F1 else []
        for row in made:
            at = float(places.index(row["x"])) if places else row["x"]
            rows.append({**PUBLISHED, **common, **row, "position": at})
    table = pd.DataFrame(rows).assign(figure=name, as_plotted=as_plotted)
    return table[list(COLUMNS)].astype({"n": "Int64"})


def _mean(values: Iterable[float]) -> Row:
    """The mean over runs with a 95 % t interval; of one run just its value."""
    made = vars(estimate([float(value) for value in values])).copy()
    return {"y": made.pop("mean"), **made}


def _line(table: pd.DataFrame, column: str, first: float, **common: Any) -> Iterator[Row]:
    """A curve, one point a step (``column``) of a table; ``first`` is the x of step 0."""
    runs = table.groupby(column)["value"].agg(list)
    for step, values in zip(runs.index, runs, strict=True):
        yield {"role": "curve", **common, "x": float(step + first), **_mean(values)}


# As published.


def _curves(panel: PaperPanel, as_plotted: bool) -> Iterator[Row]:
    table = published.curves(panel.figure)
    table = table[table["plotted"]]
    names = table["series_as_filed" if as_plotted else "series"]
    first = 0 if panel.x_label == EPOCH else 1
    for name in sorted(dict.fromkeys(names), key=_order):
        yield from _line(table[names == name], "step", first, series=name)


def _order(line: str) -> float:
    """F1 by number; all else as it comes."""
    return float(line.removeprefix("F1=")) if line.startswith("F1=") else 0.0


def _errors(panel: PaperPanel, as_plotted: bool) -> Iterator[Row]:
    for error in published.errors():
        full = error.figure.startswith("Figure 1 ") and error.optimizer == "sgd"
        level = full and error.dataset == panel.levels
        if error.figure == panel.figure or level:
            std = error.std_as_plotted if as_plotted else error.std
            mean, spread = (math.nan if value is None else value for value in (error.mean, std))
            yield {
                "series": series(panel.x_label, error),
                "x": 0.0 if level else float(error.depth) if error.x is None else error.x,
                "y": mean,
                "role": "reference" if level else "point",
                "std": spread,
                "low": mean - spread,
                "high": mean + spread,
                "n": error.n,
            }


# As our runs have them.


def _our_errors(trials: pd.DataFrame, panel: PaperPanel, protocol: str) -> Iterator[Row]:
    """Our errors for a panel, with the levels of SGD at full length where it has such."""
    tables = [(panel.table, "point")]
    if panel.levels:
        tables.append((FULL[panel.levels], "reference"))
    for table, role in tables:
        taken: dict[tuple[str, float], list[str]] = {}
        for cell, variant in _ours(table, trials, protocol):
            if role == "reference" and cell.optimizer != "sgd":
                continue
            line = series(panel.x_label, cell)
            x = 0.0 if role == "reference" else float(cell.depth if cell.x is None else cell.x)
            best = protocol == "as_published" and bool(variant.best)
            named = _named(cell, variant, best, taken.setdefault((line, x), []))
            values = variant.best if best else variant.last
            yield {"series": line, "x": x, "role": role, **named, **_mean(values)}


def _our_losses(trials: pd.DataFrame, epochs: pd.DataFrame, panel: PaperPanel) -> Iterator[Row]:
    """Our training loss for a panel; the epoch that was finished k-th stands at k - 1."""
    taken: dict[Cell, list[str]] = {}
    for cell, variant in _ours(panel.table, trials, "last"):
        if panel.depth not in (None, cell.depth):
            continue
        named = _named(cell, variant, False, taken.setdefault(cell, []))
        names = pd.DataFrame(variant.trials, columns=["study", "trial"])
        own = epochs.merge(names, on=["study", "trial"]).dropna(subset=["train_loss"])
        own = own.drop_duplicates(["study", "trial", "epoch"])
        own = own.assign(value=own["train_loss"])
        yield from _line(own, "epoch", -1, series=series(panel.x_label, cell), **named)


def _our_gaps(curves: pd.DataFrame, case: str) -> Iterator[Row]:
    """Our curves of the quadratic, each study a variant of its own; iterations count from 1."""
    own = curves[curves["case"] == case]
    several = own["study"].nunique() > 1
    for (study, method), table in own.groupby(["study", "method"], sort=False):
        once = table.drop_duplicates(["seed", "step"])
        variant = f"study: {study}" if several else ""
        yield from _line(once, "step", 1, series=str(method), source="ours", variant=variant)


def _ours(table: str, trials: pd.DataFrame, protocol: str) -> Iterator[tuple[Cell, Variant]]:
    """Runs on real data of a configuration with a published error, cell by cell."""
    for _, cell, variant in matched(table, trials, protocol):
        if variant is not None and not variant.generated and cell.restart_kind != "exponential":
            yield cell, variant


def _named(cell: Cell, variant: Variant, best: bool, taken: list[str]) -> Row:
    """What names a point of ours; ``taken``: names of variants in the same place."""
    found = flags(cell, variant, best)
    taken.append(_name(found, variant.studies, taken))
    return {"source": "ours", "variant": taken[-1], "flags": "; ".join(found)}


def _name(found: Sequence[str], studies: Sequence[str], taken: Collection[str]) -> str:
    """What distinguishes a line of ours from the others through the same place."""
    name = "; ".join(flag for flag in found if flag.split(":")[0] not in CHANGING)
    if name in taken:
        name = "; ".join((*found, f"study: {' '.join(studies)}"))
    while name in taken:
        name += " (again)"
    return name
