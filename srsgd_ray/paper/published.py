"""What the paper and its repository published, read from the files in ``data``."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any, TypeVar, get_type_hints

import pandas as pd

from srsgd_ray.knobs import one_of

Row = TypeVar("Row")
DATA = files("srsgd_ray.paper") / "data"
# How a cell of a CSV file becomes a field of each type.
READERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: lambda text: text in ("True", "yes"),
    int | None: lambda text: int(text) if text else None,
    float | None: lambda text: float(text) if text else None,
    tuple[str, ...]: lambda text: tuple(text.split()),
    tuple[int, ...]: lambda text: tuple(int(word) for word in text.split()),
    tuple[float, ...]: lambda text: tuple(float(word) for word in text.split()),
}


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """One published training: its command (a recipe), its top-1 error, or both (a cell).

    What its source does not say has the field's default. Fields not listed are as in
    ``TrainConfig``; ``block`` is "" for ImageNet, ``momentum`` is None for SRSGD.

    Attributes:
        table: ``Table 1`` ... ``Table 5``, inferred; "" where it stands in figures only. The errors
            of Table 4 (short CIFAR training) are not known, nor is any of an exponential schedule.
        figure: ``Figure 1 left`` and so on, the numbers of arXiv v1; "" for the abstract.
        restart_kind: linear, exponential, or "" for SGD.
        restart_list: F of each stage, where it is known; () for SGD.
        restart_f1, restart_growth: what makes them, None for SGD; growth is inferred.
        restart_decay: whether F decays to 1 over the last stage.
        lr_milestones_inferred: they are not in the repository, but concluded.
        batch_size, gpus, parallel: images over all GPUs, their number, and how they were used; each
            took batch statistics of its own share of a batch.
        row, name: of a recipe: 1 to 52, and the command's own name of the run.
        short: whether it is a short training.
        steps_per_epoch, steps: of all 50,000 or 1,281,167 training images.
        x_name, x: what a figure's axis shows (``epoch_reduction``, ``F1``,
            ``fewer_epochs_per_intermediate_stage``), else "" and None.
        mean, std: error in % over the runs, and their spread in points; std is None where not
            printed.
        std_as_plotted: what the published figure draws.
        n: number of runs, where it could be derived.
        source, note: where the error is from, and what else must be known.
        faults: keys of ``FAULTS``.
    """

    table: str = ""
    figure: str = ""
    dataset: str
    model: str
    block: str = ""
    depth: int
    optimizer: str
    restart_kind: str = ""
    restart_list: tuple[float, ...]
    restart_f1: float | None
    restart_growth: float | None = None
    restart_decay: bool
    epochs: int | None
    lr_milestones: tuple[int, ...]
    lr_milestones_inferred: bool = False
    lr: float = math.nan
    lr_gamma: float = math.nan
    momentum: float | None = None
    weight_decay: float = math.nan
    batch_size: int = 0
    gpus: int = 0
    parallel: str = ""
    row: int = 0
    name: str = ""
    short: bool = False
    steps_per_epoch: int = 0
    steps: int = 0
    seed: int | None = None
    x_name: str = ""
    x: float | None = None
    mean: float | None = None
    std: float | None = None
    std_as_plotted: float | None = None
    n: int | None = None
    source: str = ""
    note: str = ""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class QuadraticMean:
    """Mean gap |f - f*| of one curve of Figure 2 over iterations 49,000 to 49,999.

    Attributes:
        case: gradient noise: exact, constant or decaying.
        method: GD, GD + Momentum, NAG, ARNAG or SRNAG.
        published: of the published file.
        reruns: of the published scripts, run again with seeds 0, 1 and 2; () where exact.
    """

    case: str
    method: str
    published: float
    reruns: tuple[float, ...]


@cache
def errors() -> tuple[PublishedRun, ...]:
    """All 244 published errors, in the order of the tables and figures."""
    return _read("errors.csv", PublishedRun)


def errors_table() -> pd.DataFrame:
    """The same as a table: one row an error, columns as the fields that an error has."""
    table = pd.DataFrame([asdict(error) for error in errors()])
    return table[[name for name in table.columns if name in _rows("errors.csv")[0]]]


@cache
def recipes() -> tuple[PublishedRun, ...]:
    """All 52 recipes, in their published order."""
    return _read("recipes.csv", PublishedRun)


def recipe(name: str) -> PublishedRun:
    """The recipe of that name; raises UnknownNameError with the valid names otherwise."""
    one_of("recipe", name, [each.name for each in recipes()])
    return next(each for each in recipes() if each.name == name)


@cache
def quadratic_means() -> tuple[QuadraticMean, ...]:
    """All 15 curves of Figure 2."""
    return _read("quadratic_means.csv", QuadraticMean)


def curves(figure: str | None = None) -> pd.DataFrame:
    """The published curves, of one figure or of all.

    Args:
        figure: a value of the column of that name, such as ``Figure 2 left``.

    Returns:
        One row a point: ``figure``; ``series`` (labels corrected, see ``FAULTS``) and
        ``series_as_filed``; ``run`` (0-based); ``metric``: ``train_loss``, ``test_loss`` (nats),
        ``test_accuracy`` (%) or ``gap`` (f - f*); ``step`` (0-based epoch or iteration; the
        quadratic's are thinned to 0-99, each 100th and the last); ``value``; ``plotted``: whether
        the published figure shows it; ``source``, the file.

    Raises:
        UnknownNameError: for a figure that has no curve.
    """
    table = _curves()
    if figure is None:
        return table.copy()
    one_of("figure with curves", figure, list(dict.fromkeys(table["figure"])))
    return table[table["figure"] == figure].reset_index(drop=True)


@cache
def _curves() -> pd.DataFrame:
    with as_file(DATA / "curves.parquet") as path:
        table = pd.read_parquet(path)
    for name in table.columns[[kind == "category" for kind in table.dtypes]]:
        table[name] = table[name].astype("str")
    return table


@cache
def _rows(file: str) -> list[dict[str, str]]:
    return list(csv.DictReader((DATA / file).read_text(encoding="utf-8").splitlines()))


def _read(file: str, kind: type[Row]) -> tuple[Row, ...]:
    """The rows of a CSV file; the type of each field says how its column is read."""
    types = get_type_hints(kind)
    return tuple(
        kind(**{name: READERS[types[name]](text) for name, text in row.items()})
        for row in _rows(file)
    )
