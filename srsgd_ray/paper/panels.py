"""The panels of every figure of the paper, and what one number in them is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from srsgd_ray.paper.cells import FULL, SETS, Cell
from srsgd_ray.paper.published import PublishedError

__all__ = ["PAPER", "PaperFigure", "PaperPanel", "Point", "series"]

ERROR, LOSS, GAP = "test error (%)", "training loss (nats)", "gap |f - f*|"
DEPTH, F1, EPOCH = "depth", "F1", "epoch (from 0)"
FEWER, EACH = "epochs fewer", "epochs fewer in each intermediate stage"


@dataclass(frozen=True)
class PaperPanel:
    """One panel.

    Attributes:
        place: left, middle, right, or "" for a figure of one panel.
        figure: what ``srsgd_ray.paper`` calls it.
        title: what it shows.
        x_label, y_label: its axes.
        table: the table of :func:`srsgd_ray.paper.cells.cells` that our runs are matched with;
            "" if they are not.
        depth: the only depth of that table; None: all.
    """

    place: str
    figure: str
    title: str
    x_label: str
    y_label: str
    table: str = ""
    depth: int | None = None

    @property
    def levels(self) -> str:
        """The data set whose SGD errors at full length the panel has as level lines, or ""."""
        return self.table.split("-")[1] if self.x_label in (FEWER, EACH) else ""


@dataclass(frozen=True)
class PaperFigure:
    """One figure: its title, its panels, and the keys of ``FAULTS`` that its drawing had."""

    title: str
    panels: tuple[PaperPanel, ...]
    faults: tuple[str, ...] = ()


CASES = {"left": "exact", "middle": "constant", "right": "decaying"}


def _each(number: str, data: str, title: str) -> PaperFigure:
    panel = PaperPanel(
        "", f"Appendix Figure {number}", SETS[data], EACH, ERROR, f"intermediate-{data}"
    )
    faults = () if data == "imagenet" else ("mirrored_bands",)
    return PaperFigure(title, (panel,), faults)


def _ablation(figure: str, data: str, net: str, faults: tuple[str, ...] = ()) -> PaperFigure:
    what = f"{net}, {SETS[data]}"
    loss = PaperPanel("left", f"{figure} left", what, EPOCH, LOSS, f"f1-{data}")
    error = PaperPanel("right", f"{figure} right", what, F1, ERROR, f"f1-{data}")
    title = f"{figure}: the restart frequency F1 of the first stage"
    return PaperFigure(title, (loss, error), faults)


# Every figure that is drawn from numbers, by its name.
PAPER: dict[str, PaperFigure] = {
    "fig1": PaperFigure(
        "Figure 1: error against depth",
        tuple(
            PaperPanel(place, f"Figure 1 {place}", SETS[data], DEPTH, ERROR, FULL[data])
            for place, data in zip(CASES, SETS, strict=True)
        ),
    ),
    "fig2": PaperFigure(
        "Figure 2: a quadratic function by its gradient's noise",
        tuple(
            PaperPanel(place, f"Figure 2 {place}", title, "iteration", GAP)
            for place, title in zip(
                CASES, ("exact gradient", "constant noise", "decaying noise"), strict=True
            )
        ),
    ),
    "fig3": PaperFigure(
        "Figure 3: logistic regression",
        (PaperPanel("", "Figure 3", "", "iteration", LOSS),),
    ),
    "fig4": PaperFigure(
        "Figure 4: training loss",
        (
            PaperPanel("left", "Figure 4 left", "PreResNet-1001, CIFAR-10", EPOCH, LOSS,
                       "table1", 1001),
            PaperPanel("right", "Figure 4 right", "ResNet-200, ImageNet", EPOCH, LOSS,
                       "table3", 200),
        ),
        ("curves_of_other_runs", "resnet200_sgd_runs_on"),
    ),
    "fig5": PaperFigure(
        "Figure 5: shorter training",
        (
            PaperPanel("left", "Figure 5 left", "CIFAR-10, of 200 epochs", FEWER, ERROR,
                       "epochs-cifar10"),
            PaperPanel("right", "Figure 5 right", "ImageNet, of 90 epochs", FEWER, ERROR,
                       "epochs-imagenet"),
        ),
    ),
    "fig6": _ablation("Figure 6", "cifar10", "PreResNet-290", ("swapped_f1_20_30",)),
    "appfig1": PaperFigure(
        "Appendix Figure 1: shorter training",
        (PaperPanel("", "Appendix Figure 1", "CIFAR-100, of 200 epochs", FEWER, ERROR,
                    "epochs-cifar100"),),
    ),
    "appfig2": _ablation("Appendix Figure 2", "cifar100", "PreResNet-290"),
    "appfig3": _ablation("Appendix Figure 3", "imagenet", "ResNet-101"),
    "appfig4": _each("4", "cifar10", "Appendix Figure 4: shorter intermediate stages"),
    "appfig5": _each("5", "cifar100", "Appendix Figure 5: shorter intermediate stages"),
    "appfig6": _each("6", "imagenet", "Appendix Figure 6: a shorter intermediate stage"),
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One number of a figure: what the columns of :func:`figure_numbers` mean.

    Attributes:
        series: label of the line it is on.
        x, y: the number itself; NaN is not drawn.
        role: ``point`` (of a line with markers), ``curve`` or ``reference`` (a level line: SGD
            at full length).
        source: ``published`` or ``ours``.
        variant: of ours, in what the line was run unlike the published one; it tells lines apart.
        flags: of ours, in what the point was, all that ``compare_with_published`` flags.
        std, n: spread over runs and their number, where they are known.
        low, high: what is drawn around y: published errors -+ one std, all else a 95 % t interval.
    """

    series: str
    x: float = math.nan
    y: float = math.nan
    role: str = "curve"
    source: str = "published"
    variant: str = ""
    flags: str = ""
    std: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int | None = None


def series(x_label: str, run: PublishedError | Cell) -> str:
    """Label of the line that an error or a run is on."""
    if x_label in (FEWER, EACH):
        return f"{'ResNet' if run.dataset == 'imagenet' else 'PreResNet'}-{run.depth}"
    if x_label == EPOCH and run.x is not None:
        return f"F1={run.x:g}"
    return run.optimizer.upper()
