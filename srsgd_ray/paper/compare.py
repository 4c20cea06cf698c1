"""Published errors and ours: the difference with its interval, and where protocols differ."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from scipy.special import ndtri, stdtrit

from srsgd_ray.analysis.interval import Estimate, check_level, estimate
from srsgd_ray.config import TrainConfig
from srsgd_ray.knobs import one_of
from srsgd_ray.paper.cells import SETS, TABLES, Cell
from srsgd_ray.paper.runs import Variant, matched, precision, trained_on

PROTOCOLS = {
    "last": "ours at the last epoch",
    "as_published": "ours at the best epoch by test error, where every epoch was tested",
}
LOUD = "GENERATED DATA"
# What each status says of so many cells: see ``render.summary``.
STATUSES = {
    "agrees": "agree[s] with the published error (the {level:g} % interval of the difference "
    "contains 0)",
    "differs": "do[es] not agree",
    "one run": "[has|have] one run of ours only and no interval",
    "generated data": f"[was|were] run on {LOUD} and not compared",
    "no published error": "[has|have] no published error to compare with",
    "not run": "[was|were] not run",
}
# What may differ between SRSGD and SGD in a pair: the optimizer's own options, and the runs.
OWN = ("restarts", "learning rate", "weight decay", "momentum", "seeds", "repeats")
# Columns that say which cell it is, and the fields of those that are called otherwise.
OF_CELL = (
    "dataset", "model", "block", "depth", "optimizer", "schedule", "frequencies", "decay", "epochs",
    "lr_milestones", "milestones_inferred", "lr", "lr_gamma", "momentum", "weight_decay",
    "batch_size", "gpus", "x",
)  # fmt: skip
FIELDS = {
    "schedule": "restart_kind", "frequencies": "restart_list", "decay": "restart_decay",
    "milestones_inferred": "lr_milestones_inferred",
}  # fmt: skip


def compare_with_published(
    name: str,
    trials: pd.DataFrame,
    protocol: str = "last",
    any_epochs: bool = False,
    level: float = 0.95,
) -> pd.DataFrame:
    """A published table cell by cell, with what our complete confirmation runs got.

    Runs of ours belong to a cell if data set, network, optimizer, restart frequencies, epochs and
    milestones are the cell's; all else that differs is a flag. Runs that differ in more than their
    seed are never pooled: a cell that was run in several variants has a row for each.

    Args:
        name: key of ``TABLES``.
        trials: the trials of any number of studies.
        protocol: key of ``PROTOCOLS``: which epoch of ours is compared.
        any_epochs: also show runs that differ from a cell only in epochs or milestones, and are of
            no other cell of the table, with the nearest one.
        level: of the intervals, see :func:`difference_interval`.

    Returns:
        One row a cell, or a cell and variant: ``cell`` (0-based); what it is, from ``dataset`` to
        ``x``; ``published_mean``, ``published_std``, ``published_n``; ``status``, key of
        ``STATUSES``; ``ours_mean``, ``ours_std``, ``ours_n``, ``ours_epoch`` (last or best);
        ``difference``, ``low``, ``high`` (ours - published, points); ``protocol_flags``, texts such
        as ``epochs: 100, published 200``; ``seeds``, ``values``, ``studies``. What does not exist
        is NaN or ().

    Raises:
        UnknownNameError: for an unknown table or protocol.
        ValueError: if ``level`` is not between 0 and 1.
    """
    one_of("table", name, TABLES)
    one_of("protocol", protocol, PROTOCOLS)
    check_level(level)
    return pd.DataFrame(
        [
            _row(index, cell, variant, protocol, level)
            for index, cell, variant in matched(name, trials, protocol, any_epochs)
        ]
    )


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
    """SRSGD - SGD of ours, seed by seed, and the published difference.

    Two rows are a pair if network and data set are the same, and their flags too but for the
    optimizer's own options. Generated data are left out.

    Args:
        table: what :func:`compare_with_published` returned.
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
            of_both = tuple(dict.fromkeys((*one["protocol_flags"], *other["protocol_flags"])))
            numbers = (published, made.n, made.mean, made.low, made.high)
            found.append((*(one[key] for key in names[:4]), *numbers, of_both))
    return pd.DataFrame(found, columns=names)


def _shared(row: pd.Series[Any]) -> list[str]:
    return sorted(flag for flag in row["protocol_flags"] if flag.split(":")[0] not in OWN)


def _row(
    index: int, cell: Cell, variant: Variant | None, protocol: str, level: float
) -> dict[str, Any]:
    row = {"cell": index, **{name: getattr(cell, FIELDS.get(name, name)) for name in OF_CELL}}
    for name in ("mean", "std", "n"):
        value = getattr(cell, name)
        row[f"published_{name}"] = math.nan if value is None else value
    best = variant is not None and protocol == "as_published" and bool(variant.best)
    values = () if variant is None else variant.best if best else variant.last
    ours = estimate(values, level)
    difference, low, high = math.nan, math.nan, math.nan
    if variant is None:
        status = "not run"
    elif variant.generated:
        status = "generated data"
    elif cell.mean is None or cell.std is None:
        status = "no published error"
    else:
        difference = ours.mean - cell.mean
        low, high = difference_interval(ours, cell.mean, cell.std, cell.n, level)
        status = "one run" if ours.n < 2 else "agrees" if low <= 0 <= high else "differs"
    return {
        **row,
        "status": status,
        "ours_mean": ours.mean,
        "ours_std": ours.std,
        "ours_n": ours.n,
        "ours_epoch": "" if variant is None else "best" if best else "last",
        "difference": difference,
        "low": low,
        "high": high,
        "protocol_flags": () if variant is None else flags(cell, variant, best),
        "seeds": () if variant is None else variant.seeds,
        "values": values,
        "studies": () if variant is None else variant.studies,
    }


def flags(cell: Cell, variant: Variant, best: bool) -> tuple[str, ...]:
    """Each thing that our runs did unlike the published ones, in words.

    Args:
        cell: the published run.
        variant: ours.
        best: whether the best epoch of ours is compared rather than the last.
    """
    n = len(variant.seeds)
    ours = _protocol(variant.config, variant.workers, n, "best by test error" if best else "last")
    published = _protocol(cell.config, cell.gpus, cell.n or n, "best by test error")
    said = [f"data: GENERATED, not {SETS[cell.dataset]}"] if variant.generated else []
    said += [
        f"{what}: {_text(mine)}, published {_text(published[what])}"
        for what, mine in ours.items()
        if not _equal(mine, published[what])
    ]
    if variant.repeats:
        said.append(f"repeats: {variant.repeats} more of the same seeds, left out")
    return tuple(said)


def _protocol(config: TrainConfig, gpus: int, seeds: int, epoch: str) -> dict[str, object]:
    """What is flagged where it differs between ours and the published run of the same cell."""
    srsgd, imagenet = config.optimizer == "srsgd", config.dataset == "imagenet"
    return {
        "epochs": config.epochs,
        "milestones": " ".join(map(str, config.lr_milestones)) or "none",
        "seeds": seeds,
        "epoch": epoch,
        "training set": f"{100 * trained_on(config):g} %",
        "restarts": config.restart_convention if srsgd else "",
        "normalisation": "" if imagenet else config.normalisation,
        "batch": config.batch_size,
        "images a batch norm": config.batch_size / (1 if config.sync_batch_norm else gpus),
        "learning rate": config.lr,
        "its factor at milestones": config.lr_gamma,
        "weight decay": config.weight_decay,
        "momentum": 0.0 if srsgd else config.momentum,
        "augmentation": "on" if config.augment else "off",
        "image size": config.image_size if imagenet else 0,
        "precision": precision(config),
    }


def _equal(ours: object, theirs: object) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs)
    return ours == theirs


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
