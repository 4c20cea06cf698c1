"""The 52 commands of the repository's recipes, as what they set."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from srsgd_ray.config import one_of

__all__ = ["Recipe", "recipe", "recipes"]


@dataclass(frozen=True)
class Recipe:
    """One published training command.

    Attributes:
        row: 1 to 52, in the order of the recipes.
        name: the command's own name of the run.
        table: table of the paper that it is for, inferred.
        dataset, model, depth, block, optimizer: as in ``TrainConfig``; block is "" for ImageNet.
        restart_kind: linear, exponential, or "" for SGD.
        restart_list: the numbers given, one a stage: () for SGD.
        restart_decay: whether the last stage's number decays to 1.
        restart_f1, restart_growth: what makes these numbers; growth is inferred.
        epochs, lr_milestones, lr, lr_gamma, weight_decay: as in ``TrainConfig``.
        momentum: of SGD; None for SRSGD.
        batch_size: images a step over all GPUs.
        gpus: number of GPUs; batch statistics are each GPU's own.
        parallel: how they were used.
        short: whether it is a short training.
        steps_per_epoch, steps: of all 50,000 or 1,281,167 training images.
        seed: the one seed in the command.
    """

    row: int
    name: str
    table: str
    dataset: str
    model: str
    block: str
    depth: int
    optimizer: str
    restart_kind: str
    restart_decay: bool
    restart_f1: float | None
    restart_growth: float | None
    restart_list: tuple[int, ...]
    epochs: int
    lr_milestones: tuple[int, ...]
    lr: float
    lr_gamma: float
    momentum: float | None
    weight_decay: float
    batch_size: int
    gpus: int
    parallel: str
    short: bool
    steps_per_epoch: int
    steps: int
    seed: int


@cache
def recipes() -> tuple[Recipe, ...]:
    """All recipes, in their published order."""
    text = (files("srsgd_ray.paper") / "data" / "recipes.csv").read_text(encoding="utf-8")
    return tuple(_recipe(row) for row in csv.DictReader(text.splitlines()))


def recipe(name: str) -> Recipe:
    """The recipe of that name; raises UnknownNameError with the valid names otherwise."""
    one_of("recipe", name, [each.name for each in recipes()])
    return next(each for each in recipes() if each.name == name)


def _recipe(row: dict[str, str]) -> Recipe:
    return Recipe(
        row=int(row["row"]),
        name=row["name"],
        table=row["table"],
        dataset=row["dataset"],
        model=row["model"],
        block=row["block"],
        depth=int(row["depth"]),
        optimizer=row["optimizer"],
        restart_kind=row["restart_kind"],
        restart_decay=row["restart_decay"] == "yes",
        restart_f1=_number(row["restart_f1"]),
        restart_growth=_number(row["restart_growth"]),
        restart_list=tuple(int(f) for f in row["restart_list"].split()),
        epochs=int(row["epochs"]),
        lr_milestones=tuple(int(epoch) for epoch in row["lr_milestones"].split()),
        lr=float(row["lr"]),
        lr_gamma=float(row["lr_gamma"]),
        momentum=_number(row["momentum"]),
        weight_decay=float(row["weight_decay"]),
        batch_size=int(row["batch_size"]),
        gpus=int(row["gpus"]),
        parallel=row["parallel"],
        short=row["short"] == "yes",
        steps_per_epoch=int(row["steps_per_epoch"]),
        steps=int(row["steps"]),
        seed=int(row["seed"]),
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
