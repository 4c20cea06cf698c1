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
from srsgd_ray.paper.published import PublishedRun, errors, recipes

GROWTH = 2.0  # r of the F1 ablations: not printed, but that of every linear recipe
SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
FULL = {"cifar10": "table1", "cifar100": "table2", "imagenet": "table3"}  # at full length
FEWER, EACH = "epochs fewer", "epochs fewer a stage"
NETWORK = ("dataset", "model", "depth", "optimizer")
LENGTH = ("epochs", "lr_milestones")
# What a cell has from its recipe, and what from its error instead; both may say the length.
OF_RECIPE = (
    *NETWORK, "block", "restart_kind", "restart_growth", "restart_decay", *LENGTH, "lr",
    "lr_gamma", "momentum", "weight_decay", "batch_size", "gpus",
)  # fmt: skip
OF_ERROR = ("lr_milestones_inferred", "x", "mean", "std", "n")
# What the published numbers came from: see docs/paper.md for each difference.
AS_PUBLISHED: dict[str, Any] = {
    "restart_convention": "as_published",
    "normalisation": "as_published",
    "test_every_epoch": True,
    "precision": "float32",
}


@dataclass(frozen=True)
class PublishedTable:
    """A published table (``source`` is ``Table 1``) or figure (``Figure 5 left``) of errors.

    ``x`` names the figure's x axis; errors are shown with so many ``digits`` after the point.
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


class Cell(PublishedRun):
    """One cell: how it was run, and what error was published for it; ``mean`` is None if none was.

    ``restart_list`` is known in every cell, ``x`` is None in a table, and what only recipes or only
    errors have (see ``OF_RECIPE``, ``OF_ERROR``) is left out.
    """

    epochs: int

    def knobs(self) -> dict[str, Any]:
        """The configuration that was run, by knob; the restarts as the recipe has them."""
        names = ("dataset", "model", "depth", "optimizer", "epochs", "lr_milestones", "lr",
                 "lr_gamma", "weight_decay", "batch_size")  # fmt: skip
        found = {name: getattr(self, name) for name in names}
        if self.block:
            found["block"] = self.block
        if self.optimizer == "sgd":
            return {**found, "momentum": self.momentum}
        found["restart_f1"] = self.restart_f1
        if not self.restart_decay:
            made = {"restart_kind": self.restart_kind, "restart_growth": self.restart_growth}
            return {**found, **made}
        explicit = {"restart_kind": "explicit", "restart_list": self.restart_list}
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
        sorted(made, key=lambda c: (c.dataset, c.depth, order.index(c.restart_kind), c.x or 0))
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
    known = [error for error in errors() if error.table == table]
    for recipe in recipes():
        if recipe.table == table:
            same = (e for e in known if _alike(recipe, e, *NETWORK, "restart_list"))
            yield _cell(recipe, recipe.restart_list, next(same, None))


def _of_figure(figure: str) -> Iterator[Cell]:
    """One cell an error of the figure, with the options of the first recipe of its network."""
    for error in errors():
        if error.figure == figure:
            recipe = next(recipe for recipe in recipes() if _alike(recipe, error, *NETWORK))
            yield _cell(recipe, error.restart_list or _ablated(error), error)


def _alike(one: PublishedRun, other: PublishedRun, *names: str) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _ablated(error: PublishedRun) -> tuple[float, ...]:
    """F of each stage in an F1 ablation; ImageNet's last stage starts from the F before it."""
    assert error.restart_f1 is not None
    grown = restarts.linear(error.restart_f1, GROWTH, error.lr_milestones).periods
    return (*grown[:-1], grown[-2]) if error.restart_decay else grown


def _cell(recipe: PublishedRun, frequencies: tuple[float, ...], error: PublishedRun | None) -> Cell:
    """A cell with the options of ``recipe``, but for what its error says."""
    found = {name: getattr(recipe, name) for name in OF_RECIPE}
    if error is not None:
        names = (*OF_ERROR, *(LENGTH if error.epochs is not None else ()))
        found |= {name: getattr(error, name) for name in names}
    first = frequencies[0] if frequencies else None
    return Cell(**found, restart_list=tuple(map(float, frequencies)), restart_f1=first)
