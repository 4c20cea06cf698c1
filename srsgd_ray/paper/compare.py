"""Published errors beside ours: the difference with its interval, and where protocols differ."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from scipy.special import ndtri, stdtrit

from srsgd_ray.analysis.confirm import Estimate, estimate
from srsgd_ray.analysis.search import check_level
from srsgd_ray.config import one_of
from srsgd_ray.paper.cells import SETS, TABLES, Cell, cells
from srsgd_ray.paper.runs import Way, belongs, distance, ways

__all__ = [
    "PROTOCOLS",
    "STATUSES",
    "TABLES",
    "difference_interval",
    "published_beside_ours",
    "srsgd_minus_sgd",
]

PROTOCOLS = {
    "last": "ours at the last epoch",
    "as_published": "ours at the best epoch by test error, where every epoch was tested",
}
STATUSES = {
    "agrees": "the interval of the difference contains 0",
    "differs": "it does not",
    "one run": "one run of ours: no interval",
    "generated data": "ours on made-up data: not compared",
    "no published error": "ours alone",
    "not run": "nothing of ours",
}
# What may differ between SRSGD and SGD in a pair: the optimizer's own options, and the runs.
OWN = ("restarts", "learning rate", "weight decay", "momentum", "seeds", "repeats")


def published_beside_ours(
    name: str,
    trials: pd.DataFrame,
    protocol: str = "last",
    any_epochs: bool = False,
    level: float = 0.95,
) -> pd.DataFrame:
    """A published table cell by cell, with what our complete confirmation runs got.

    Runs of ours belong to a cell if data set, network, optimizer, restart frequencies, epochs and
    milestones are the cell's; all else that differs is a flag. Runs that differ in more than their
    seed are never pooled: a cell that was run in several ways has a row for each.

    Args:
        name: key of ``TABLES``.
        trials: the trials of any number of studies.
        protocol: key of ``PROTOCOLS``: which epoch of ours is compared.
        any_epochs: also show runs that differ from a cell only in epochs or milestones, and are of
            no other cell of the table, with the nearest one.
        level: of the intervals, see :func:`difference_interval`.

    Returns:
        One row a cell, or a cell and way: ``cell`` (0-based), the fields of ``Cell`` with ``mean``,
        ``std`` and ``n`` as ``published_mean`` and so on; ``status``, key of ``STATUSES``;
        ``ours_mean``, ``ours_std``, ``ours_n``, ``ours_epoch`` (last or best); ``difference``,
        ``low``, ``high`` (ours - published, points); ``protocol_flags``, texts such as ``epochs:
        100, published 200``; ``seeds``, ``values``, ``studies``. What does not exist is NaN or ().

    Raises:
        UnknownNameError: for an unknown table or protocol.
        ValueError: if ``level`` is not between 0 and 1.
    """
    asked = cells(name)
    one_of("protocol", protocol, PROTOCOLS)
    check_level(level)
    places: dict[int, list[Way]] = {}
    for way in ways(trials, protocol):
        apart = {i: distance(way.config, c) for i, c in enumerate(asked) if belongs(way.config, c)}
        homes = [i for i, far in apart.items() if far == (0, 0)]
        if any_epochs and apart and not homes:
            homes = [min(apart, key=lambda i: apart[i])]
        for home in homes:
            places.setdefault(home, []).append(way)
    empty: list[Way | None] = [None]
    table = [
        _row(index, cell, way, protocol, level)
        for index, cell in enumerate(asked)
        for way in places.get(index, empty)
    ]
    return pd.DataFrame(table)


def difference_interval(
    ours: Estimate, mean: float, std: float, n: int | None, level: float = 0.95
) -> tuple[float, float]:
    """Interval of ours - published, from means and standard deviations.

    With ``n`` published runs: Welch's t. Where ``n`` is not known, ``std`` is taken for the
    standard error of the published mean, as of a single run with a known deviation, and the two
    half widths are joined as a root of squares: ``sqrt((t s / sqrt(n))^2 + (z std)^2)``. That is
    too wide if the mean is over 4 or more runs, and too narrow if it is over 2 or 3, for then
    ``std`` itself is known badly. NaN if there is one run of ours.
    """
    if ours.n < 2:
        return math.nan, math.nan
    of_ours, difference = ours.std**2 / ours.n, ours.mean - mean
    high = (1 + level) / 2
    if n is None:
        t, z = stdtrit(ours.n - 1, high), ndtri(high)
        half = math.sqrt(t**2 * of_ours + (z * std) ** 2)
    else:
        of_theirs = std**2 / n
        total = of_ours + of_theirs
        freedom = total**2 / (of_ours**2 / (ours.n - 1) + of_theirs**2 / (n - 1)) if total else 1
        half = float(stdtrit(freedom, high)) * math.sqrt(total)
    return difference - half, difference + half


def srsgd_minus_sgd(table: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """SRSGD - SGD of ours, seed by seed, beside the published difference.

    Two rows are a pair if network and data set are the same, and their flags too but for the
    optimizer's own options. Generated data are left out.

    Args:
        table: what :func:`published_beside_ours` returned.
        level: of each interval.

    Returns:
        One row a pair: ``dataset``, ``model``, ``depth``, ``schedule``; ``published`` (difference
        of the means, NaN if one is not known); ``n`` (seeds that both have), ``difference``,
        ``low``, ``high`` of ours (t interval of the paired differences); ``protocol_flags`` of
        both.
    """
    names = ["dataset", "model", "depth", "schedule", "published", "n", "difference", "low", "high",
             "protocol_flags"]  # fmt: skip
    found = []
    ran = table[(table["ours_n"] > 0) & (table["status"] != "generated data")]
    for _, one in ran[ran["optimizer"] == "srsgd"].iterrows():
        for _, other in ran[ran["optimizer"] == "sgd"].iterrows():
            if any(one[key] != other[key] for key in names[:3]) or _shared(one) != _shared(other):
                continue
            base = dict(zip(other["seeds"], other["values"], strict=True))
            both = zip(one["seeds"], one["values"], strict=True)
            made = estimate([value - base[seed] for seed, value in both if seed in base], level)
            published = one["published_mean"] - other["published_mean"]
            flags = tuple(dict.fromkeys((*one["protocol_flags"], *other["protocol_flags"])))
            numbers = (published, made.n, made.mean, made.low, made.high)
            found.append((*(one[key] for key in names[:4]), *numbers, flags))
    return pd.DataFrame(found, columns=names)


def _shared(row: pd.Series[Any]) -> list[str]:
    return sorted(flag for flag in row["protocol_flags"] if flag.split(":")[0] not in OWN)


def _row(index: int, cell: Cell, way: Way | None, protocol: str, level: float) -> dict[str, Any]:
    published = {"mean": cell.mean, "std": cell.std, "n": cell.n}
    row = {"cell": index, **dataclasses.asdict(cell)}
    for name, value in published.items():
        del row[name]
        row[f"published_{name}"] = math.nan if value is None else value
    best = way is not None and protocol == "as_published" and bool(way.best)
    values = () if way is None else way.best if best else way.last
    ours = estimate(values, level)
    low, high, difference, status = math.nan, math.nan, math.nan, "not run"
    if way is not None and way.generated:
        status = "generated data"
    elif way is not None and (cell.mean is None or cell.std is None):
        status = "no published error"
    elif way is not None and cell.mean is not None and cell.std is not None:
        difference = ours.mean - cell.mean
        low, high = difference_interval(ours, cell.mean, cell.std, cell.n, level)
        status = "one run" if ours.n < 2 else "agrees" if low <= 0 <= high else "differs"
    return {
        **row,
        "status": status,
        "ours_mean": ours.mean,
        "ours_std": ours.std,
        "ours_n": ours.n,
        "ours_epoch": "" if way is None else "best" if best else "last",
        "difference": difference,
        "low": low,
        "high": high,
        "protocol_flags": () if way is None else _flags(cell, way, best),
        "seeds": () if way is None else way.seeds,
        "values": values,
        "studies": () if way is None else way.studies,
    }


def _flags(cell: Cell, way: Way, best: bool) -> tuple[str, ...]:
    """Each thing that our runs did unlike the published ones, in words."""
    c, srsgd = way.config, cell.optimizer == "srsgd"
    rows: list[tuple[str, object, object]] = [
        ("epochs", c.epochs, cell.epochs),
        ("milestones", _listed(c.lr_milestones), _listed(cell.lr_milestones)),
        ("seeds", len(way.seeds), cell.n or len(way.seeds)),
        ("epoch", "best by test error" if best else "last", "best by test error"),
        ("training set", f"{100 * way.trained_on:g} %", "100 %"),
        ("restarts", c.restart_convention if srsgd else "", "as_published" if srsgd else ""),
        ("normalisation", c.normalisation if cell.dataset != "imagenet" else "", "as_published"
         if cell.dataset != "imagenet" else ""),
        ("batch", c.batch_size, cell.batch_size),
        ("images a batch norm", c.batch_size / (1 if c.sync_batch_norm else way.workers),
         cell.batch_size / cell.gpus),
        ("learning rate", c.lr, cell.lr),
        ("its factor at milestones", c.lr_gamma, cell.lr_gamma),
        ("weight decay", c.weight_decay, cell.weight_decay),
        ("momentum", 0.0 if srsgd else c.momentum, cell.momentum or 0.0),
        ("augmentation", "on" if c.augment else "off", "on"),
        ("image size", c.image_size if cell.dataset == "imagenet" else 224, 224),
        ("precision", way.precision, "float32"),
    ]  # fmt: skip
    said = [f"data: GENERATED, not {SETS[cell.dataset]}"] if way.generated else []
    said += [
        f"{what}: {_text(ours)}, published {_text(theirs)}"
        for what, ours, theirs in rows
        if not _equal(ours, theirs)
    ]
    if way.repeats:
        said.append(f"repeats: {way.repeats} more of the same seeds, left out")
    return tuple(said)


def _equal(ours: object, theirs: object) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs)
    return ours == theirs


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(epochs: Sequence[int]) -> str:
    return " ".join(map(str, epochs)) or "none"
