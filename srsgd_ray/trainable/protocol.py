"""What a trainable is, and all that it sees of its surroundings."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srsgd_ray.knobs import check_knobs, knob_types, make, one_of

# Columns that every study has; no knob and no metric takes their names.
SHARED = (
    "study", "phase", "arm", "trial", "number", "search", "look", "confirms", "superseded",
    "epoch", "time", "state", "reason", "epochs_done", "diverged_step", "parameters", "workers",
    "started", "ended", "baseline", "metric", "mode", "confirm_metric", "tie_break", "pareto",
    "pareto_metric", "protocol", "trainable", "search_space", "confirm_seeds", "searches",
    "search_trials", "extended", "facts", "schema_version", "commit", "host", "hardware",
    "python_version", "srsgd_ray_version", "torch_version", "ray_version", "optuna_version",
)  # fmt: skip
PREDICTIONS = "predictions"  # see Run.artifact


class StopTraining(BaseException):
    """Raised by a report to end the trial there. No error: let it through."""


class Diverged(Exception):
    """Raise it to end a trial as diverged: a result, which costs its budget and is never best.

    Args:
        why: in a few words.
        step: 0-based optimizer step at which it broke down, if known.
    """

    def __init__(self, why: str, step: int | None = None) -> None:
        super().__init__(why)
        self.step = step


class RankError(ValueError):
    """What one worker ran into in the middle of its work, while the others know nothing of it."""


@dataclass(frozen=True)
class Metric:
    """A number that a trainable reports, and a column of the results.

    Attributes:
        name: of the column.
        doc: what it means, in a line.
        unit: of its values; "" for none.
        better: ``lower`` or ``higher``; "" for a number that is neither, such as a count of steps.
        split: ``train``, ``validation`` or ``test``: the data it was measured on. Only confirmation
            runs report what is measured on the test split.
        kind: float, int or str. A value may always be None.
        best_at: if not "", the trials table holds the best value over the epochs as ``best_NAME``,
            and the first epoch that reached it in the column ``best_at``.
    """

    name: str
    doc: str = ""
    unit: str = ""
    better: str = ""
    split: str = ""
    kind: type = float
    best_at: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in SHARED:
            raise ValueError(
                f"a metric needs a name that Python could have and no study has already, but got "
                f"{self.name!r}. Choose another, such as val_error."
            )
        one_of("better", self.better, ("", "lower", "higher"))
        one_of("split", self.split, ("", "train", "validation", "test"))
        if self.kind not in (float, int, str):
            raise ValueError(f"kind must be float, int or str, but got {self.kind!r}.")


@dataclass(frozen=True)
class Budget:
    """The knob that says how many epochs (reports) a trial makes, and what they are called."""

    field: str = "epochs"
    unit: str = "epochs"


class Run(ABC):
    """All that the work of a trial sees of its surroundings: the same alone, in Ray, in a test.

    Attributes:
        seed: of everything random in the trial. torch, numpy and random are seeded with it before
            :meth:`Trainable.train` is called.
        rank: of this process among the ``size`` workers of the trial. If there are several, they
            are a ``torch.distributed`` process group.
        size: workers of the trial.
        threads: CPU threads that this worker may use.
        device: torch's name of the device of this worker, such as ``cpu`` or ``cuda:0``.
        final: whether this is a confirmation run, which alone may read the test split.
        parameters: set it to the number of trainable parameters, before the first report.
    """

    seed: int = 0
    rank: int = 0
    size: int = 1
    threads: int = 1
    device: str = "cpu"
    final: bool = False
    parameters: int | None = None

    @abstractmethod
    def resume(self, **parts: Any) -> int:
        """Restore ``parts`` from the trial's checkpoint; how many epochs are done.

        Args:
            parts: objects with ``state_dict`` and ``load_state_dict``. What was given here is what
                :meth:`report` saves, together with the states of the global random generators.
        """

    @abstractmethod
    def report(self, **metrics: Any) -> None:
        """An epoch is over: its row and a checkpoint are stored; every worker must call it.

        Ends the trial (raises :class:`StopTraining`) where the study's scheduler says so. The row
        of the first worker counts.

        Raises:
            ValueError: for a metric that is not declared, or a test metric in a search trial.
            Diverged: if the metric that the study judges by is not finite.
        """

    @abstractmethod
    def checkpoint(self) -> None:
        """Store a checkpoint within an epoch."""

    @abstractmethod
    def artifact(self, name: str, **columns: Sequence[Any]) -> None:
        """A table that belongs to the trial, such as a curve: ``NAME.parquet`` of the study.

        It is stored with the next report; its columns are equally long. ``predictions`` is what a
        confirmation run predicts of each test image in turn: ``label`` and ``predicted``.
        """

    @abstractmethod
    def alive(self, step: int) -> None:
        """A sign of life: ``step`` optimizer steps are done."""

    @abstractmethod
    def cached(self, load: Callable[..., Any], *key: Any) -> Any:
        """``load(*key)``, kept in this process for the next trial that asks for the same."""

    # Three methods for a loop that writes checkpoints of its own.
    @abstractmethod
    def stored(self) -> Any:
        """A context with the local folder of the trial's checkpoint, or None."""

    @abstractmethod
    def save(self, write: Callable[[Path], Path]) -> None:
        """Have ``write(folder)`` make a checkpoint within an epoch; the first worker calls it."""

    @abstractmethod
    def report_row(self, row: dict[str, Any], write: Callable[[Path], Path] | None) -> None:
        """:meth:`report` for a row that holds its ``epoch``, with a checkpoint of one's own."""


class Trainable(ABC):
    """What a study studies. Abstract; subclasses are final.

    ``Config``, ``metrics``, ``search_metric`` and :meth:`train` must be written.

    Attributes:
        name: short name, in messages.
        Config: frozen dataclass; its fields are the knobs (see :func:`srsgd_ray.knobs.knob`).
        metrics: everything that is reported.
        budget: the knob that says how many epochs there are; None: a trial reports once.
        search_metric: what a search judges by, at the last epoch, unless the study says else.
        confirm_metric: what confirmation runs are compared by; "": the same.
        tie_break: metric that decides between equal values of the search metric; "": none.
        place: ``workers`` (a group of Ray Train workers) or ``actor`` (one process, without).
    """

    name: str = ""
    Config: type
    metrics: tuple[Metric, ...] = ()
    budget: Budget | None = None
    search_metric: str = ""
    confirm_metric: str = ""
    tie_break: str = ""
    place: str = "workers"
    path: str = ""  # import path, where the trainable knows it better than its class does

    @abstractmethod
    def train(self, config: Any, run: Run) -> Mapping[str, Any] | None:
        """Do the work of one trial, with a report an epoch.

        Returns:
            Facts of the run, if any: ``parameters``, if :attr:`Run.parameters` does not say it.

        Raises:
            ValueError: for what would go wrong again: it fails the trial at once. Any other
                exception is taken to be the machine's fault, and the trial is tried again.
            Diverged: to end the trial as diverged.
        """

    def configure(self, values: Mapping[str, Any]) -> Any:
        """The configuration that flat values of a study mean; derived knobs are set here."""
        return make(self.Config, values)

    def knobs_in(self, recorded: Mapping[str, Any]) -> dict[str, Any]:
        """The knobs among the values of a record, which holds a seed in any case."""
        types = knob_types(self.Config)
        return {k: v for k, v in recorded.items() if k in types or k != "seed"}

    def check(self, config: Any) -> None:
        """Raise ValueError (rule, value, cure) if a configuration breaks a rule."""
        check_knobs(config)
        if callable(own := getattr(config, "check", None)):
            own()

    def check_data(self, config: Any) -> None:  # noqa: B027  most have no files to look for
        """Raise ValueError if the data of a configuration are not there; before anything starts."""

    def check_metric(self, config: Any, metric: str) -> None:  # noqa: B027  most report all always
        """Raise ValueError if a trial of this configuration cannot report the search metric."""

    def confirmed(self, config: Any, seed: int, on: str) -> Any:
        """The configuration of a confirmation run.

        Args:
            config: the one that the search chose.
            seed: of the run.
            on: ``train`` or ``train+validation``: what it is to be trained on.
        """
        fields = knob_types(self.Config)
        more: dict[str, Any] = {"seed": seed} if "seed" in fields else {}
        if "train_on" in fields:
            more["train_on"] = on
        elif on != "train":
            raise ValueError(
                f"confirm_on={on!r} needs a knob train_on, which {self.name} has not. "
                f"Use confirm_on='train'."
            )
        return dataclasses.replace(config, **more)

    def epochs(self, config: Any) -> int:
        """How many reports a trial of this configuration makes."""
        return int(getattr(config, self.budget.field)) if self.budget is not None else 1

    def lengthened(self, config: Any, epochs: int) -> dict[str, Any]:
        """The knobs that must change for a trial of ``epochs`` reports."""
        return {self.budget.field: epochs} if self.budget is not None else {}

    def smoke(self, config: Any) -> dict[str, Any]:
        """The knobs that must change for the smallest sound version of itself."""
        return self.lengthened(config, 2)

    def family(self, config: Any) -> str | None:
        """Of arms of one family a smoke test runs the first only; None: it runs all arms."""
        return None

    def seconds(self, config: Any, workers: int, threads: int) -> float | None:
        """Measured seconds of one epoch on this machine; None: unknown until one was run."""
        return None

    def remarks(self, config: Any, workers: int, published: int) -> str:
        """What the user should know about running on ``workers`` workers; "" for nothing."""
        return ""

    def metric(self, name: str) -> Metric:
        """The declared metric of that name; raises with the valid names otherwise."""
        one_of("metric", name, [metric.name for metric in self.metrics])
        return next(metric for metric in self.metrics if metric.name == name)

    def check_itself(self) -> Trainable:
        """Return self if the declaration is sound, else raise ValueError."""
        fields = knob_types(self.Config)
        names = [metric.name for metric in self.metrics]
        taken = [name for name in fields if name in SHARED]
        if taken:
            raise ValueError(
                f"a knob must not have the name of a column that every study has, but "
                f"{self.Config.__name__} has {', '.join(taken)}. Choose another name."
            )
        twice = [name for name in names if names.count(name) > 1 or name in fields]
        if twice:
            raise ValueError(
                f"knobs and metrics need names of their own, but {self.name} has two {twice[0]!r}."
            )
        one_of("search_metric", self.search_metric, names)
        one_of("confirm_metric", self.confirm_metric or self.search_metric, names)
        if self.budget is not None and fields.get(self.budget.field) is not int:
            raise ValueError(
                f"the budget of {self.name} must be a knob of type int, but its Config has no such "
                f"{self.budget.field!r}. Add it, or declare budget=None (one report a trial)."
            )
        one_of("place", self.place, ("workers", "actor"))
        return self
