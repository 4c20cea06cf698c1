"""The cells of the published tables: what was run for each, and its error where it is known.

A cell has a label, made from its configuration. A run of ours that has the same label repeats the
cell, and an arm of the paper's studies is made from the cell, so its runs have that label.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from srsgd_ray import restarts
from srsgd_ray.config import TrainConfig
from srsgd_ray.knobs import one_of
from srsgd_ray.paper.published import PublishedError, Recipe, errors, recipes

__all__ = ["FULL", "SETS", "TABLES", "Cell", "PublishedTable", "cells", "family", "label"]

GROWTH = 2.0  # r of the F1 ablations: not printed, but that of every linear recipe
SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
FULL = {"cifar10": "table1", "cifar100": "table2", "imagenet": "table3"}  # at full length
FEWER, EACH = "epochs fewer", "epochs fewer a stage"
OF_RECIPE = (
    "dataset", "model", "block", "depth", "optimizer", "lr", "lr_gamma", "momentum",
    "weight_decay", "batch_size", "gpus",
)  # fmt: skip
# What the published numbers came from: see docs/paper.md for each difference.
AS_PUBLISHED: dict[str, Any] = {
    "restart_convention": "as_published",
    "normalisation": "as_published",
    "test_every_epoch": True,
    "precision": "float32",
}


@dataclass(frozen=True)
class PublishedTable:
    """A published table or figure of errors.

    Attributes:
        title: its heading.
        source: the table (``Table 1``) or figure (``Figure 5 left``) that holds its numbers.
        x: what its x axis is called; "" for a table.
        digits: after the point.
    """

    title: str
    source: str
    x: str = ""
    digits: int = 2


TABLES: dict[str, PublishedTable] = {
    "table1": PublishedTable("Table 1: CIFAR-10, 200 epochs", "Table 1"),
    "table2": PublishedTable("Table 2: CIFAR-100, 200 epochs", "Table 2"),
    "table3": PublishedTable("Table 3: ImageNet, 90 epochs", "Table 3"),
    "table4": PublishedTable("Table 4: CIFAR-10 and CIFAR-100, 100 epochs", "Table 4"),
    "table5": PublishedTable("Table 5: ImageNet, 60 to 80 epochs", "Table 5"),
    **{
        f"{kind}-{data}": PublishedTable(f"{figure}: {SETS[data]}, {what}", figure, x, digits)
        for kind, what, x, digits, figures in (
            ("f1", "error against F1", "F1", 3,
             ("Figure 6 right", "Appendix Figure 2 right", "Appendix Figure 3 right")),
            ("epochs", "shorter training", FEWER, 2,
             ("Figure 5 left", "Appendix Figure 1", "Figure 5 right")),
            ("intermediate", "shorter intermediate stages", EACH, 2,
             ("Appendix Figure 4", "Appendix Figure 5", "Appendix Figure 6")),
        )
        for data, figure in zip(SETS, figures, strict=True)
    },
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One cell: how it was run, and what error was published for it.

    Attributes:
        dataset, model, block, depth, optimizer, epochs, lr_milestones, lr, lr_gamma, momentum,
            weight_decay, batch_size: as in ``TrainConfig``; momentum is None for SRSGD.
        schedule: linear, exponential, or "" for SGD.
        frequencies: F of each stage; () for SGD.
        growth: r, that makes them; None for SGD.
        decay: whether F decays to 1 over the last stage.
        milestones_inferred: the milestones are concluded, not printed.
        gpus: GPUs of the run; each took batch statistics of its own share of a batch.
        x: place on the x axis; None in a table.
        mean, std: published error in %, None where it is not known.
        n: number of published runs, None where it is not known.
    """

    dataset: str
    model: str
    block: str
    depth: int
    optimizer: str
    schedule: str
    frequencies: tuple[float, ...]
    growth: float | None
    decay: bool
    epochs: int
    lr_milestones: tuple[int, ...]
    milestones_inferred: bool
    lr: float
    lr_gamma: float
    momentum: float | None
    weight_decay: float
    batch_size: int
    gpus: int
    x: float | None
    mean: float | None
    std: float | None
    n: int | None

    def knobs(self) -> dict[str, Any]:
        """The configuration that was run, by knob; the restarts as the recipe has them."""
        names = ("dataset", "model", "depth", "optimizer", "epochs", "lr_milestones", "lr",
                 "lr_gamma", "weight_decay", "batch_size")  # fmt: skip
        found = {name: getattr(self, name) for name in names}
        if self.block:
            found["block"] = self.block
        if self.optimizer == "sgd":
            return {**found, "momentum": self.momentum}
        found["restart_f1"] = self.frequencies[0]
        if not self.decay:
            return {**found, "restart_kind": self.schedule, "restart_growth": self.growth}
        explicit = {"restart_kind": "explicit", "restart_list": self.frequencies}
        return {**found, **explicit, "restart_decay": True}

    @cached_property
    def config(self) -> TrainConfig:
        """The published run as a configuration of ours."""
        return TrainConfig.from_dict(
            {**self.knobs(), **AS_PUBLISHED, "train_on": "train+validation"}
        )


@cache
def cells(name: str) -> tuple[Cell, ...]:
    """The cells of a published table, by data set, depth, optimizer and x.

    Raises:
        UnknownNameError: unless ``name`` is a key of ``TABLES``.
    """
    one_of("table", name, TABLES)
    source = TABLES[name].source
    made = _of_table(source) if source.startswith("Table") else _of_figure(source)
    order = ["", "linear", "exponential"]
    return tuple(
        sorted(made, key=lambda c: (c.dataset, c.depth, order.index(c.schedule), c.x or 0))
    )


def label(config: TrainConfig) -> str:
    """The label of a run: equal for two runs that a published table would have in one cell.

    It names data set, network, optimizer, F of each stage, epochs and milestones.
    """
    drops = " ".join(map(str, config.lr_milestones))
    return f"{family(config)}, {config.epochs} epochs, drops at {drops}"


def family(config: TrainConfig) -> str:
    """The label without epochs and milestones."""
    network = config.model
    if not network.startswith("imagenet_"):
        wide = f" of width {config.width}" if config.width != 16 else ""
        network += f"-{config.depth} {config.block}{wide}"
    made = f"{config.dataset} {network} {config.optimizer}"
    if config.optimizer != "srsgd":
        return made
    # F of each stage before its decay and before any convention.
    stages = dataclasses.replace(config, restart_decay=False).restart_schedule(1).periods
    f = " ".join(f"{period:.15g}" for period in stages)
    return f"{made} F={f}{', decayed' * config.restart_decay}"


def _of_table(table: str) -> Iterator[Cell]:
    """One cell a recipe: also those whose error is not known."""
    names = ("dataset", "model", "depth", "optimizer", "restart_list")
    for recipe in recipes():
        if recipe.table == table:
            same = (
                error
                for error in errors()
                if error.table == table
                and all(getattr(error, name) == getattr(recipe, name) for name in names)
            )
            yield _cell(recipe, recipe.restart_list, next(same, None))


def _of_figure(figure: str) -> Iterator[Cell]:
    """One cell an error of the figure, with the options of the first recipe of its network."""
    names = ("dataset", "model", "depth", "optimizer")
    for error in errors():
        if error.figure == figure:
            recipe = next(
                recipe
                for recipe in recipes()
                if all(getattr(recipe, name) == getattr(error, name) for name in names)
            )
            yield _cell(recipe, error.restart_list or _ablated(error), error)


def _ablated(error: PublishedError) -> tuple[float, ...]:
    """F of each stage in an F1 ablation; ImageNet's last stage starts from the F before it."""
    assert error.restart_f1 is not None
    grown = restarts.linear(error.restart_f1, GROWTH, error.lr_milestones).periods
    return (*grown[:-1], grown[-2]) if error.restart_decay else grown


def _cell(recipe: Recipe, frequencies: tuple[float, ...], error: PublishedError | None) -> Cell:
    """A cell with the options of ``recipe``, but for what its error says."""
    said = recipe if error is None or error.epochs is None else error
    found = {name: getattr(recipe, name) for name in OF_RECIPE}
    found |= {name: getattr(said, name) for name in ("epochs", "lr_milestones")}
    found |= {name: getattr(error, name, None) for name in ("x", "mean", "std", "n")}
    return Cell(
        **found,
        schedule=recipe.restart_kind,
        frequencies=tuple(float(f) for f in frequencies),
        growth=recipe.restart_growth,
        decay=recipe.restart_decay,
        milestones_inferred=error is not None and error.lr_milestones_inferred,
    )
