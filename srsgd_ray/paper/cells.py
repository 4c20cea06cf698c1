"""The cells of the published tables: what was run for each, and its error where it is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from srsgd_ray import restarts
from srsgd_ray.config import one_of
from srsgd_ray.paper import PublishedError, Recipe, errors, recipes

__all__ = ["TABLES", "Cell", "PublishedTable", "cells"]

GROWTH = 2.0  # r of the F1 ablations: not printed, but that of every linear recipe


@dataclass(frozen=True)
class PublishedTable:
    """A published table or figure of errors.

    Attributes:
        title: its heading.
        table: ``Table 1`` and so on, or "".
        figure: the figure that holds its numbers, or "".
        x: what its x axis is called; "" for a table.
        digits: after the point.
    """

    title: str
    table: str = ""
    figure: str = ""
    x: str = ""
    digits: int = 2


SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
FEWER, EACH = "epochs fewer", "epochs fewer a stage"


TABLES: dict[str, PublishedTable] = {
    "table1": PublishedTable("Table 1: CIFAR-10, 200 epochs", table="Table 1"),
    "table2": PublishedTable("Table 2: CIFAR-100, 200 epochs", table="Table 2"),
    "table3": PublishedTable("Table 3: ImageNet, 90 epochs", table="Table 3"),
    "table4": PublishedTable("Table 4: CIFAR-10 and CIFAR-100, 100 epochs", table="Table 4"),
    "table5": PublishedTable("Table 5: ImageNet, 60 to 80 epochs", table="Table 5"),
    **{
        f"{kind}-{data}": PublishedTable(f"{figure}: {SETS[data]}, {what}", "", figure, x, digits)
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


def cells(name: str) -> tuple[Cell, ...]:
    """The cells of a published table, by data set, depth, optimizer and x.

    Raises:
        UnknownNameError: unless ``name`` is a key of ``TABLES``.
    """
    one_of("table", name, TABLES)
    asked = TABLES[name]
    made = [*(_of_table(asked.table) if asked.table else _of_figure(asked.figure))]
    order = ["", "linear", "exponential"]
    return tuple(
        sorted(made, key=lambda c: (c.dataset, c.depth, order.index(c.schedule), c.x or 0))
    )


def _of_table(table: str) -> Iterator[Cell]:
    """One cell a recipe: also those whose error is not known."""
    known = [error for error in errors() if error.table == table]
    for recipe in recipes():
        if recipe.table == table:
            found = [error for error in known if _same(error, recipe)]
            yield _cell(recipe, recipe.restart_list, found[0] if found else None)


def _of_figure(figure: str) -> Iterator[Cell]:
    """One cell an error of the figure."""
    for error in errors():
        if error.figure == figure:
            near = [r for r in recipes() if (r.model, r.depth) == (error.model, error.depth)]
            recipe = next(
                r for r in near if (r.dataset, r.optimizer) == (error.dataset, error.optimizer)
            )
            yield _cell(recipe, error.restart_list or _ablated(error), error)


def _same(error: PublishedError, recipe: Recipe) -> bool:
    return (error.dataset, error.model, error.depth, error.optimizer, error.restart_list) == (
        recipe.dataset,
        recipe.model,
        recipe.depth,
        recipe.optimizer,
        recipe.restart_list,
    )


def _ablated(error: PublishedError) -> tuple[float, ...]:
    """F of each stage in an F1 ablation; ImageNet's last stage starts from the F before it."""
    assert error.restart_f1 is not None
    grown = restarts.linear(error.restart_f1, GROWTH, error.lr_milestones).periods
    return (*grown[:-1], grown[-2]) if error.restart_decay else grown


def _cell(recipe: Recipe, frequencies: tuple[float, ...], error: PublishedError | None) -> Cell:
    """A cell with the options of ``recipe``, but for what its error says."""
    epochs, milestones = recipe.epochs, recipe.lr_milestones
    if error is not None and error.epochs is not None:
        epochs, milestones = error.epochs, error.lr_milestones
    return Cell(
        dataset=recipe.dataset,
        model=recipe.model,
        block=recipe.block,
        depth=recipe.depth,
        optimizer=recipe.optimizer,
        schedule=recipe.restart_kind,
        frequencies=tuple(float(f) for f in frequencies),
        decay=recipe.restart_decay,
        epochs=epochs,
        lr_milestones=milestones,
        milestones_inferred=error is not None and error.lr_milestones_inferred,
        lr=recipe.lr,
        lr_gamma=recipe.lr_gamma,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        batch_size=recipe.batch_size,
        gpus=recipe.gpus,
        x=error.x if error else None,
        mean=error.mean if error else None,
        std=error.std if error else None,
        n=error.n if error else None,
    )
