"""The panels of every figure of the paper, and the names of the lines in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from srsgd_ray.paper.cells import FEWER, FULL, SETS
from srsgd_ray.paper.published import PublishedRun

ERROR, LOSS, GAP = "test error (%)", "training loss (nats)", "gap |f - f*|"
DEPTH, F1, EPOCH = "depth", "F1", "epoch (from 0)"
EACH = "epochs fewer in each intermediate stage"


@dataclass(frozen=True)
class PaperPanel:
    """One panel of the figure ``number`` (such as ``Figure 5``), at ``place`` ("" if it has one).

    Our runs are matched with the cells of ``table`` (of one ``depth``, unless None); "": with none.
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


def _figure(title: str, *panels: tuple[Any, ...], faults: tuple[str, ...] = ()) -> PaperFigure:
    """A figure from its title, which begins with its number, and its panels from ``place`` on."""
    number = title.partition(":")[0]
    return PaperFigure(title, tuple(PaperPanel(number, *panel) for panel in panels), faults)


def _ablation(figure: str, data: str, network: str, *faults: str) -> PaperFigure:
    what, table = f"{network}, {SETS[data]}", f"f1-{data}"
    return _figure(
        f"{figure}: the restart frequency F1 of the first stage",
        ("left", what, LOSS, EPOCH, table),
        ("right", what, ERROR, F1, table),
        faults=faults,
    )


def _earlier(number: int, data: str, stages: str, *faults: str) -> PaperFigure:
    panel = ("", SETS[data], ERROR, EACH, f"intermediate-{data}")
    return _figure(f"Appendix Figure {number}: {stages}", panel, faults=faults)


# Every figure that is drawn from numbers, by its name.
PAPER: dict[str, PaperFigure] = {
    "fig1": _figure(
        "Figure 1: error against depth",
        *((place, SETS[data], ERROR, DEPTH, FULL[data])
          for place, data in zip(CASES, SETS, strict=True)),
    ),
    "fig2": _figure(
        "Figure 2: a quadratic function by its gradient's noise",
        ("left", "exact gradient", GAP, "iteration"),
        ("middle", "constant noise", GAP, "iteration"),
        ("right", "decaying noise", GAP, "iteration"),
    ),
    "fig3": _figure("Figure 3: logistic regression", ("", "", LOSS, "iteration")),
    "fig4": _figure(
        "Figure 4: training loss",
        ("left", "PreResNet-1001, CIFAR-10", LOSS, EPOCH, "table1", 1001),
        ("right", "ResNet-200, ImageNet", LOSS, EPOCH, "table3", 200),
        faults=("curves_of_other_runs", "resnet200_sgd_runs_on"),
    ),
    "fig5": _figure(
        "Figure 5: shorter training",
        ("left", "CIFAR-10, of 200 epochs", ERROR, FEWER, "epochs-cifar10"),
        ("right", "ImageNet, of 90 epochs", ERROR, FEWER, "epochs-imagenet"),
    ),
    "fig6": _ablation("Figure 6", "cifar10", "PreResNet-290", "swapped_f1_20_30"),
    "appfig1": _figure(
        "Appendix Figure 1: shorter training",
        ("", "CIFAR-100, of 200 epochs", ERROR, FEWER, "epochs-cifar100"),
    ),
    "appfig2": _ablation("Appendix Figure 2", "cifar100", "PreResNet-290"),
    "appfig3": _ablation("Appendix Figure 3", "imagenet", "ResNet-101"),
    "appfig4": _earlier(4, "cifar10", "shorter intermediate stages", "mirrored_bands"),
    "appfig5": _earlier(5, "cifar100", "shorter intermediate stages", "mirrored_bands"),
    "appfig6": _earlier(6, "imagenet", "a shorter intermediate stage"),
}  # fmt: skip


def series(x_label: str, run: PublishedRun) -> str:
    """Label of the line that an error or a run is on."""
    if x_label in (FEWER, EACH):
        return f"{'ResNet' if run.dataset == 'imagenet' else 'PreResNet'}-{run.depth}"
    if x_label == EPOCH and run.x is not None:
        return f"F1={run.x:g}"
    return run.optimizer.upper()
