"""The schema of results: every column of ``epochs.parquet`` and ``trials.parquet``.

It follows from what a study studies: its knobs and metrics stand between columns that all studies
have. It travels with the data: in the first line of the record, and as metadata of the Parquet
fields, so that a folder is readable where its trainable is not installed. Times are Unix seconds.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from srsgd_ray.knobs import knob_types
from srsgd_ray.trainable import Metric, Trainable, find

SCHEMA_VERSION = 3
Table = Literal["epochs", "trials"]

STATES = {
    "running": "not ended yet, or its driver died: `--resume` continues it",
    "complete": "reached its last epoch",
    "pruned": "stopped early by the scheduler",
    "diverged": "a non-finite loss ended it; `reason` says at which step",
    "failed": "a crash that retries did not mend; `reason` holds the error",
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: of the column.
        type: its Arrow type.
        doc: its meaning.
        unit: of its values; "" for none.
        role: identity, budget, metric (with a direction), measure (another number that is
            reported), knob, outcome, design or provenance; "" if not known.
        better: of a metric, ``lower`` or ``higher``.
        split: of a metric, ``train``, ``validation`` or ``test``.
    """

    name: str
    type: pa.DataType
    doc: str
    unit: str = ""
    role: str = ""
    better: str = ""
    split: str = ""

    def field(self) -> pa.Field:
        """It as Parquet stores it, with all that it says."""
        return pa.field(self.name, self.type, metadata={n: getattr(self, n) for n in SAYS})

    @classmethod
    def of_field(cls, field: pa.Field) -> Column:
        """Inverse of :meth:`field`; of a field that says nothing, its name and type."""
        said = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
        return cls(field.name, field.type, **{name: said.get(name, "") for name in SAYS})


SAYS = ("doc", "unit", "role", "better", "split")
Columns = Mapping[str, tuple[Column, ...]]
TEXT, WHOLE, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
TYPES = {
    str: TEXT, int: WHOLE, float: REAL, bool: FLAG, tuple[int, ...]: pa.list_(WHOLE),
    tuple[float, ...]: pa.list_(REAL), tuple[str, ...]: pa.list_(TEXT), dict[str, Any]: TEXT,
}  # fmt: skip
NAMED_TYPES = {str(kind): kind for kind in TYPES.values()}


def _group(role: str, *rows: tuple[Any, ...]) -> tuple[Column, ...]:
    return tuple(Column(name, kind, doc, "".join(unit), role) for name, kind, doc, *unit in rows)


IDENTITY = _group(
    "identity",
    ("study", TEXT, "name of the study"),
    ("phase", TEXT, "search (a configuration is tried) or confirm (the best, again)"),
    ("arm", TEXT, "which side of the comparison, such as srsgd or sgd"),
    ("trial", TEXT, "name of the trial, unique in the study: phase-arm-number"),
    ("number", WHOLE, "0-based number of the trial within its phase and arm"),
    ("search", WHOLE, "0-based number of the independent search that it belongs to; none: 0"),
    ("look", WHOLE, "how often more had been asked for after results were seen; none: 0"),
    ("confirms", TEXT, "the search trial whose configuration it repeats, if it confirms one"),
)
SUPERSEDED = Column(
    "superseded", FLAG, "whether it counts no more: another configuration is confirmed since, or "
    "the changed space does not hold it", role="outcome",
)  # fmt: skip
STATE = _group(
    "outcome",
    ("state", TEXT, "; ".join(f"{name}: {doc}" for name, doc in STATES.items())),
    ("reason", TEXT, "why it ended, unless complete"),
)
END = _group(
    "outcome",
    ("parameters", WHOLE, "trainable parameters of the network"),
    ("workers", WHOLE, "worker processes of the trial"),
    ("train_seconds", REAL, "sum over the epochs", "s"),
    ("started", REAL, "when the trial was assigned first", "s"),
    ("ended", REAL, "when it ended", "s"),
)
DESIGN = _group(
    "design",
    ("baseline", TEXT, "arm that this arm is compared with; none if it is itself a baseline"),
    ("metric", TEXT, "column of the epochs table that the search judged by, last epoch"),
    ("mode", TEXT, "min or max: which end of it is better"),
    ("pareto", FLAG, "whether the search had a second aim, few epochs"),
    ("protocol", TEXT, "named set of fields that the study was run with, if it has such"),
    ("pareto_metric", TEXT, "the second aim, if it is another metric than the epochs"),
    ("confirm_metric", TEXT, "column by which the confirmation compares arms"),
    ("tie_break", TEXT, "column that decides between equal values of the metric"),
    ("trainable", TEXT, "name or import path of what a trial ran"),
    ("search_space", TEXT, "range of each knob that its arm searched, as JSON; none: no search"),
    ("confirm_seeds", WHOLE, "confirmation runs of a search of its arm, planned when it began"),
    ("searches", WHOLE, "independent searches of an arm, planned when it began"),
    ("search_trials", WHOLE, "trials of each search of its arm, planned when it began"),
    ("extended", TEXT, "in what an extended search is not one that was as long from the start"),
)
PROVENANCE = _group(
    "provenance",
    ("schema_version", WHOLE, "version of this schema"),
    ("commit", TEXT, "git commit of the code, with +dirty if it was changed"),
    ("host", TEXT, "machine of the first worker"),
    ("hardware", TEXT, "processor or GPU of the first worker"),
    ("python_version", TEXT, "version of Python"),
    ("srsgd_ray_version", TEXT, "version of this package"),
    ("torch_version", TEXT, "version of torch"),
    ("ray_version", TEXT, "version of Ray"),
    ("optuna_version", TEXT, "version of Optuna"),
)
# What every epoch has, where the trainable does not report it itself.
CLOCK = (
    Column("train_seconds", REAL, "wall time of the epoch", "s", "measure"),
    Column("time", REAL, "when the epoch ended", "s", "measure"),
)
SEED = Column("seed", WHOLE, "seed of the trial", role="knob")


def columns_of(
    trainable: Trainable, extra_knobs: Mapping[str, type] | None = None
) -> dict[str, tuple[Column, ...]]:
    """The columns of both tables of studies of a trainable, in order.

    Args:
        trainable: what is studied.
        extra_knobs: type of each part of a knob that has a column of its own, such as
            ``optimizer_options.momentum``.
    """
    many = trainable.budget is not None  # then the last of a count or a time says little
    unit = trainable.budget.unit if trainable.budget is not None else "reports"
    epoch = Column("epoch", WHOLE, f"number of {unit} finished, from 1", unit, "budget")
    done = Column("epochs_done", WHOLE, f"{unit} finished", unit, "outcome")
    step = Column("diverged_step", WHOLE, "step of the first non-finite loss", "steps", "outcome")
    reported = tuple(_of_metric(metric) for metric in trainable.metrics)
    names = {column.name for column in reported}
    knobs = _knobs(trainable.Config, extra_knobs or {})
    metrics = tuple(
        dataclasses.replace(c, doc=c.doc.replace("; where evaluated", "") + ", last epoch done")
        for c in reported
        if c.role == "metric"
    )
    measures = () if many else tuple(c for c in reported if c.role != "metric")
    best = [c for m in reversed(trainable.metrics) if m.best_at for c in _best(m, unit)]
    return {
        "epochs": (
            *IDENTITY, SUPERSEDED, epoch, *reported,
            *(c for c in CLOCK if c.name not in names), *knobs,
        ),
        "trials": (
            *IDENTITY, *STATE, SUPERSEDED,
            done, step, *metrics, *measures, *best, *END, *knobs, *DESIGN,
            *PROVENANCE,
        ),
    }  # fmt: skip


def _of_metric(metric: Metric) -> Column:
    role = "metric" if metric.better else "measure"
    kind = TYPES[metric.kind]
    return Column(metric.name, kind, metric.doc, metric.unit, role, metric.better, metric.split)


def _best(metric: Metric, unit: str) -> tuple[Column, Column]:
    """The best value over the epochs, and where it was reached."""
    name = f"best_{metric.name}"
    noun = "error" if metric.name.endswith("error") else metric.name
    end = {"lower": "lowest", "higher": "highest"}[metric.better]
    part = f"{metric.split} " if metric.split in ("validation", "test") else ""
    by_itself = ", selected by itself" if metric.split == "test" else ""
    doc = f"{end} {part}{noun} over the {unit}{by_itself}"
    return (
        dataclasses.replace(_of_metric(metric), name=name, doc=doc, role="outcome"),
        Column(metric.best_at, WHOLE, f"first epoch that reached {name}", unit, "outcome"),
    )


def _knobs(config: type, extra: Mapping[str, type]) -> tuple[Column, ...]:
    types = knob_types(config)
    found = []
    for field in dataclasses.fields(config):
        doc, unit = (field.metadata.get(says, "") for says in ("doc", "unit"))
        found.append(Column(field.name, TYPES[types[field.name]], doc, unit, "knob"))
    if "seed" not in types:
        found.append(SEED)
    for name, kind in extra.items():
        found.append(Column(name, TYPES[kind], f"a part of {name.partition('.')[0]}", "", "knob"))
    return tuple(found)


def columns_to_plain(given: Columns) -> dict[str, list[dict[str, str]]]:
    """Columns as JSON holds them, in the first line of a record."""
    return {
        table: [
            {f.name: str(getattr(column, f.name)) for f in dataclasses.fields(Column)}
            for column in group
        ]
        for table, group in given.items()
    }


def columns_from_plain(plain: Mapping[str, Iterable[Mapping[str, str]]]) -> Columns:
    """Inverse of :func:`columns_to_plain`."""
    return {
        table: tuple(Column(**{**row, "type": NAMED_TYPES[row["type"]]}) for row in rows)
        for table, rows in plain.items()
    }


@functools.cache
def first_edition() -> Columns:
    """The columns of image classification: those of folders that do not say theirs."""
    return columns_of(find("image"))


def columns(table: Table) -> tuple[Column, ...]:
    """The columns of one of the two tables of image classification, in order."""
    return first_edition()[table]


def arrow_schema(table: str, given: Columns | None = None) -> pa.Schema:
    """The Arrow schema of a table; each field carries what its column says."""
    group = (given if given is not None else first_edition())[table]
    version = {"srsgd_ray_schema": str(SCHEMA_VERSION)}
    return pa.schema([column.field() for column in group], metadata=version)
