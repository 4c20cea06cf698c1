"""Our runs for the published tables: put together if they differ in their seed only."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from srsgd_ray.analysis.curves import run_config as config_of
from srsgd_ray.config import GENERATED, TrainConfig
from srsgd_ray.paper.cells import Cell

__all__ = ["Way", "belongs", "distance", "frequencies", "ways"]

WIDTH = 16  # channels of the published networks for small images
# Fields that do not tell two ways of running apart: machine, seed, what sgd and srsgd do not read,
# and what the key below holds in another form.
IGNORED = {
    "seed", "split_seed", "device", "channels_last", "deterministic", "decode_threads", "threads",
    "bad_images", "checkpoint_steps", "data_dir", "evaluate_test", "test_every_epoch",
    "effective_lr", "beta1", "beta2",
    "restart_kind", "restart_f1", "restart_growth", "restart_list", "train_on",
    "validation_fraction", "precision",
}  # fmt: skip
OF_SRSGD = {"restart_decay", "restart_convention", "restart_buffer", "restart_count"}


@dataclass(frozen=True)
class Way:
    """The runs of ours that differ in their seed only, one a seed."""

    config: TrainConfig
    workers: int
    seeds: tuple[int, ...]
    last: tuple[float, ...]
    best: tuple[float, ...]
    studies: tuple[str, ...]
    repeats: int

    @property
    def generated(self) -> bool:
        """Whether the data were made up."""
        return self.config.data_dir == GENERATED

    @property
    def trained_on(self) -> float:
        """Share of the training set that was trained on."""
        return _trained_on(self.config)

    @property
    def precision(self) -> str:
        """``float32`` where auto means that for certain."""
        return _precision(self.config)


def ways(trials: pd.DataFrame, protocol: str) -> list[Way]:
    """Our runs, by everything but their seed, in the order of the table."""
    groups: dict[object, list[tuple[TrainConfig, pd.Series[Any]]]] = {}
    counts = (trials["phase"] == "confirm") & (trials["state"] == "complete")
    for _, row in trials[counts].iterrows():
        config = config_of(row)
        if config.optimizer not in ("srsgd", "sgd") or not _finite(row["test_error"]):
            continue
        best = config.test_every_epoch and _finite(row["best_test_error"])
        key = run_key(config, run_workers(row), best and protocol == "as_published")
        groups.setdefault(key, []).append((config, row))
    return [_way(runs) for runs in groups.values()]


def run_key(config: TrainConfig, workers: int, best: bool) -> object:
    ignored = IGNORED | ({"momentum"} if config.optimizer == "srsgd" else OF_SRSGD)
    plain = {
        k: tuple(v) if isinstance(v, list) else v
        for k, v in config.to_dict().items()
        if k not in ignored
    }
    made_up = config.data_dir == GENERATED
    more = (frequencies(config), _trained_on(config), _precision(config), made_up, workers, best)
    return (*plain.items(), *more)


def _way(runs: Sequence[tuple[TrainConfig, pd.Series[Any]]]) -> Way:
    """One run of each seed; of runs of the same seed the first."""
    by_seed: dict[int, pd.Series[Any]] = {}
    for config, row in runs:
        by_seed.setdefault(config.seed, row)
    config, first = runs[0]
    seeds = sorted(by_seed)
    best = [by_seed[seed]["best_test_error"] for seed in seeds]
    tested = config.test_every_epoch and all(map(_finite, best))
    return Way(
        config=config,
        workers=run_workers(first),
        seeds=tuple(seeds),
        last=tuple(float(by_seed[seed]["test_error"]) for seed in seeds),
        best=tuple(map(float, best)) if tested else (),
        studies=tuple(dict.fromkeys(str(row["study"]) for row in by_seed.values())),
        repeats=len(runs) - len(by_seed),
    )


def belongs(config: TrainConfig, cell: Cell) -> bool:
    """Whether a run is one of the cell, but for its epochs and milestones."""
    small = not config.model.startswith("imagenet_")
    network = (config.depth, config.block, config.width) == (cell.depth, cell.block, WIDTH)
    return (
        config.dataset == cell.dataset
        and config.model == cell.model
        and (network or not small)
        and config.optimizer == cell.optimizer
        and frequencies(config) == cell.frequencies
        and (config.optimizer != "srsgd" or config.restart_decay == cell.decay)
    )


def distance(config: TrainConfig, cell: Cell) -> tuple[int, float]:
    """How far a run is from the cell in epochs, and then in milestones; (0, 0) if it is there."""
    ours, theirs = config.lr_milestones, cell.lr_milestones
    if len(ours) != len(theirs):
        return abs(config.epochs - cell.epochs), math.inf
    apart = sum(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    return abs(config.epochs - cell.epochs), apart


def frequencies(config: TrainConfig) -> tuple[float, ...]:
    """F of each stage before its decay and before any convention; () without restarts."""
    if config.optimizer != "srsgd":
        return ()
    return dataclasses.replace(config, restart_decay=False).restart_schedule(1).periods


def _trained_on(config: TrainConfig) -> float:
    return 1 - config.validation_fraction if config.train_on == "train" else 1.0


def _precision(config: TrainConfig) -> str:
    return "float32" if (config.precision, config.device) == ("auto", "cpu") else config.precision


def run_workers(row: pd.Series[Any]) -> int:
    return 1 if pd.isna(row["workers"]) else int(row["workers"])


def _finite(value: Any) -> bool:
    return not pd.isna(value) and math.isfinite(value)
