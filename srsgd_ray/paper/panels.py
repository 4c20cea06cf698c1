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
        number: of its figure, such as ``Figure 5``.
        place: left, middle, right, or "" for a figure of one panel.
        title: what it shows.
        y_label, x_label: its axes.
        table: the table of :func:`srsgd_ray.paper.cells.cells` that our runs are matched with;
            "" if they are not.
        depth: the only depth of that table; None: all.
    """

    number: str
    place: str
    title: str
    y_label: str
    x_label: str
    table: str = ""
    depth: int | None = None

    @property
    def figure(self) -> str:
        """What the published data call it, such as ``Figure 5 left``."""
        return f"{self.number} {self.place}".strip()

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


def _ablation(figure: str, data: str, network: str, faults: tuple[str, ...] = ()) -> PaperFigure:
    what, table = f"{network}, {SETS[data]}", f"f1-{data}"
    loss = PaperPanel(figure, "left", what, LOSS, EPOCH, table)
    error = PaperPanel(figure, "right", what, ERROR, F1, table)
    title = f"{figure}: the restart frequency F1 of the first stage"
    return PaperFigure(title, (loss, error), faults)


def _earlier(number: int, data: str) -> PaperFigure:
    figure, what = f"Appendix Figure {number}", "a shorter intermediate stage"
    if data != "imagenet":
        what = "shorter intermediate stages"
    panel = PaperPanel(figure, "", SETS[data], ERROR, EACH, f"intermediate-{data}")
    faults = () if data == "imagenet" else ("mirrored_bands",)
    return PaperFigure(f"{figure}: {what}", (panel,), faults)


# Every figure that is drawn from numbers, by its name.
PAPER: dict[str, PaperFigure] = {
    "fig1": PaperFigure(
        "Figure 1: error against depth",
        tuple(
            PaperPanel("Figure 1", place, SETS[data], ERROR, DEPTH, FULL[data])
            for place, data in zip(CASES, SETS, strict=True)
        ),
    ),
    "fig2": PaperFigure(
        "Figure 2: a quadratic function by its gradient's noise",
        (
            PaperPanel("Figure 2", "left", "exact gradient", GAP, "iteration"),
            PaperPanel("Figure 2", "middle", "constant noise", GAP, "iteration"),
            PaperPanel("Figure 2", "right", "decaying noise", GAP, "iteration"),
        ),
    ),
    "fig3": PaperFigure(
        "Figure 3: logistic regression", (PaperPanel("Figure 3", "", "", LOSS, "iteration"),)
    ),
    "fig4": PaperFigure(
        "Figure 4: training loss",
        (
            PaperPanel("Figure 4", "left", "PreResNet-1001, CIFAR-10", LOSS, EPOCH, "table1", 1001),
            PaperPanel("Figure 4", "right", "ResNet-200, ImageNet", LOSS, EPOCH, "table3", 200),
        ),
        ("curves_of_other_runs", "resnet200_sgd_runs_on"),
    ),
    "fig5": PaperFigure(
        "Figure 5: shorter training",
        (
            PaperPanel("Figure 5", "left", "CIFAR-10, of 200 epochs", ERROR, FEWER,
                       "epochs-cifar10"),
            PaperPanel("Figure 5", "right", "ImageNet, of 90 epochs", ERROR, FEWER,
                       "epochs-imagenet"),
        ),
    ),
    "fig6": _ablation("Figure 6", "cifar10", "PreResNet-290", ("swapped_f1_20_30",)),
    "appfig1": PaperFigure(
        "Appendix Figure 1: shorter training",
        (PaperPanel("Appendix Figure 1", "", "CIFAR-100, of 200 epochs", ERROR, FEWER,
                    "epochs-cifar100"),),
    ),
    "appfig2": _ablation("Appendix Figure 2", "cifar100", "PreResNet-290"),
    "appfig3": _ablation("Appendix Figure 3", "imagenet", "ResNet-101"),
    **{f"appfig{number}": _earlier(number, data) for number, data in enumerate(SETS, 4)},
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
        variant: of ours, in what the line was run unlike the published one; it distinguishes lines.
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
