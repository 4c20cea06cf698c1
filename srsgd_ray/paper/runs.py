"""Our runs for the published tables: put together if they differ in their seed only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from srsgd_ray.analysis.curves import run_config
from srsgd_ray.analysis.rows import current
from srsgd_ray.config import GENERATED, TrainConfig
from srsgd_ray.knobs import machine_knobs
from srsgd_ray.paper.cells import Cell, cells, family, label

# Fields that do not tell two variants apart: machine, seed, what sgd and srsgd do not read, and
# what the key below holds in another form.
IGNORED = machine_knobs(TrainConfig) | {
    "seed", "split_seed", "channels_last", "deterministic", "evaluate_test", "test_every_epoch",
    "effective_lr", "beta1", "beta2", "restart_kind", "restart_f1", "restart_growth",
    "restart_list", "train_on", "validation_fraction", "precision", "compile",
}  # fmt: skip
OF_SRSGD = {"restart_decay", "restart_convention", "restart_buffer", "restart_count"}


@dataclass(frozen=True)
class Variant:
    """Runs of ours that differ in their seed only, one a seed.

    Attributes:
        config, workers: of the first run, of each.
        seeds: in order; of runs of the same seed the first counts, and ``repeats`` were left out.
        last, best: test error of the last and of the best epoch, by seed; ``best`` is () where not
            every epoch was tested.
        studies, trials: names of their studies; (study, trial) of each run.
    """

    config: TrainConfig
    workers: int
    seeds: tuple[int, ...]
    last: tuple[float, ...]
    best: tuple[float, ...]
    studies: tuple[str, ...]
    trials: tuple[tuple[str, str], ...]
    repeats: int

    @property
    def generated(self) -> bool:
        """Whether the data were made up."""
        return self.config.data_dir == GENERATED


def matched(
    name: str, trials: pd.DataFrame, protocol: str, any_epochs: bool = False
) -> list[tuple[int, Cell, Variant | None]]:
    """The cells of a published table by their index, each with every variant of ours that ran it.

    A variant belongs to the cells that have its label. With ``any_epochs`` one that belongs to none
    is put to the cell that differs least in epochs, then in milestones, and in nothing else of it.
    """
    published = cells(name)
    labels = [label(cell.config) for cell in published]
    families = [family(cell.config) for cell in published]
    places: dict[int, list[Variant]] = {}
    for variant in _variants(trials, protocol):
        own = variant.config
        homes = [i for i, other in enumerate(labels) if other == label(own)]
        if any_epochs and not homes:
            near = [i for i, other in enumerate(families) if other == family(own)]
            homes = sorted(near, key=lambda i: _distance(own, published[i]))[:1]
        for home in homes:
            places.setdefault(home, []).append(variant)
    none: list[Variant | None] = [None]
    return [(i, cell, own) for i, cell in enumerate(published) for own in places.get(i, none)]


def _distance(config: TrainConfig, cell: Cell) -> tuple[int, float]:
    """How far a run is from a cell in epochs, and then in milestones."""
    ours, theirs = config.lr_milestones, cell.lr_milestones
    apart = sum(abs(a - b) for a, b in zip(ours, theirs, strict=False))
    return abs(config.epochs - cell.epochs), apart if len(ours) == len(theirs) else math.inf


def _variants(trials: pd.DataFrame, protocol: str) -> list[Variant]:
    """Our complete confirmation runs, by everything but their seed, in the order of the table."""
    groups: dict[object, list[tuple[TrainConfig, pd.Series[Any]]]] = {}
    # Of several studies, which `rows` does not take.
    runs = current(trials).query("phase == 'confirm' and state == 'complete'")
    for _, row in runs.iterrows():
        config = run_config(row)
        if config.optimizer not in ("srsgd", "sgd") or not _finite(row["test_error"]):
            continue
        best = config.test_every_epoch and _finite(row["best_test_error"])
        key = (*_key(config), _workers(row), best and protocol == "as_published")
        groups.setdefault(key, []).append((config, row))
    return [_variant(runs) for runs in groups.values()]


def _key(config: TrainConfig) -> tuple[object, ...]:
    ignored = IGNORED | ({"momentum"} if config.optimizer == "srsgd" else OF_SRSGD)
    plain = {
        k: tuple(v) if isinstance(v, list) else v
        for k, v in config.to_dict().items()
        if k not in ignored
    }
    made_up = config.data_dir == GENERATED
    return (*plain.items(), family(config), trained_on(config), precision(config), made_up)


def _variant(runs: Sequence[tuple[TrainConfig, pd.Series[Any]]]) -> Variant:
    by_seed: dict[int, pd.Series[Any]] = {}
    for config, row in runs:
        by_seed.setdefault(config.seed, row)
    config = runs[0][0]
    kept = [by_seed[seed] for seed in sorted(by_seed)]
    tested = config.test_every_epoch and all(_finite(row["best_test_error"]) for row in kept)
    return Variant(
        config=config,
        workers=_workers(runs[0][1]),
        seeds=tuple(sorted(by_seed)),
        last=tuple(float(row["test_error"]) for row in kept),
        best=tuple(float(row["best_test_error"]) for row in kept) if tested else (),
        studies=tuple(dict.fromkeys(str(row["study"]) for row in by_seed.values())),
        trials=tuple((row["study"], row["trial"]) for row in kept),
        repeats=len(runs) - len(by_seed),
    )


def trained_on(config: TrainConfig) -> float:
    """Share of the training set that a run was trained on."""
    return 1 - config.validation_fraction if config.train_on == "train" else 1.0


def precision(config: TrainConfig) -> str:
    """The precision of a run; ``float32`` where auto means that for certain."""
    return "float32" if (config.precision, config.device) == ("auto", "cpu") else config.precision


def _workers(row: pd.Series[Any]) -> int:
    return 1 if pd.isna(row["workers"]) else int(row["workers"])


def _finite(value: Any) -> bool:
    return not pd.isna(value) and math.isfinite(value)
