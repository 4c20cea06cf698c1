"""A trial as its work sees it: the same surroundings in every backend."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from srsgd_ray.backends.base import Artifacts, Assignment, Slot
from srsgd_ray.backends.beside import Beside
from srsgd_ray.backends.generators import generator_states, set_generator_states
from srsgd_ray.backends.store import FILE_NAME, CheckpointStore, join, trial_folder
from srsgd_ray.knobs import knob_types
from srsgd_ray.results.columns import IDENTITY
from srsgd_ray.results.provenance import ran_on
from srsgd_ray.trainable import PREDICTIONS, Diverged, Metric, Run, StopTraining, Trainable

FORMAT = 1


class Link(Protocol):
    """What joins a trial to whoever started it."""

    def row(self, row: dict[str, Any], artifacts: Artifacts) -> None:
        """An epoch is over; the first worker says so."""

    def leave(self, epoch: int) -> bool:
        """Wait until it is decided whether the trial continues past ``epoch``."""

    def touch(self, step: int) -> None:
        """The trial lives."""


class Cache:
    """Keeps the last thing that each loader loaded in this process."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, Any]] = {}

    def __call__(self, load: Callable[..., Any], *key: Any) -> Any:
        """``load(*key)``, or what it gave the last time."""
        name = f"{load.__module__}.{load.__qualname__}"
        if name not in self._kept or self._kept[name][0] != key:
            self._kept.pop(name, None)  # before, for two may not fit the memory
            self._kept[name] = (key, load(*key))
        return self._kept[name][1]


class TrialRun(Run):
    """The surroundings of one trial in one worker."""

    def __init__(
        self,
        work: Trainable,
        assignment: Assignment,
        link: Link,
        slot: Slot,
        *,
        rank: int = 0,
        size: int = 1,
        device: str = "cpu",
        cache: Cache | None = None,
    ) -> None:
        self.work, self.assignment = work, assignment
        self.seed, self.epochs, self.final = assignment.seed, assignment.epochs, assignment.final
        self.rank, self.size, self.device = rank, size, device
        self.threads = slot.plan.threads
        self._link, self._cache = link, cache or Cache()
        place = join(slot.root, trial_folder(assignment.trial)) if slot.root else ""
        self._store = CheckpointStore(place) if place else None
        self._beside = Beside(self._store) if self._store is not None else None
        self._judged = slot.judged or work.search_metric
        self._declared = {metric.name: metric for metric in work.metrics}
        self._parts: dict[str, Any] = {}
        self._rows: list[dict[str, Any]] = []
        self._artifacts: dict[str, dict[str, list[Any]]] = {}
        self._began = time.perf_counter()
        self.all_report = False  # whether the rows of every worker are reported, for a test
        self.by_hand = False  # whether the work writes its rows and checkpoints itself
        self.done = 0

    # For a loop that writes checkpoints of its own.

    def stored(self) -> AbstractContextManager[Path | None]:
        """A context with the local folder of the trial's checkpoint, or None."""
        self.by_hand = True
        return self._fetched()

    def _fetched(self) -> AbstractContextManager[Path | None]:
        return nullcontext() if self._store is None else self._store.fetch()

    def save(self, write: Callable[[Path], Path]) -> None:
        """Have ``write`` make a checkpoint within an epoch."""
        if self._beside is not None:
            self._beside.keep(write)

    def close(self) -> None:
        """The last checkpoint is written, or could not be, when this returns."""
        if self._beside is not None:
            self._beside.close()

    def report_row(self, row: dict[str, Any], write: Callable[[Path], Path] | None) -> None:
        """An epoch is over."""
        if self.rank == 0 or self.all_report:
            self._link.row({**row, "facts": ran_on(self.size, self.parameters)}, self._artifacts)
            self._artifacts = {}
        last = row["epoch"] == self.epochs
        if self.rank == 0 and write is not None and not last and self._beside is not None:
            self._beside.offer(write)
        self.done = row["epoch"]
        if not self._link.leave(row["epoch"]):
            raise StopTraining("stopped by the scheduler")

    # For everybody else.

    def resume(self, **parts: Any) -> int:
        """Restore the parts, report the rows of the checkpoint again, and return their number."""
        for name, part in parts.items():
            if not hasattr(part, "state_dict") or not hasattr(part, "load_state_dict"):
                raise ValueError(
                    f"resume takes objects with state_dict and load_state_dict, but {name} is "
                    f"{type(part).__name__}. Wrap it in a class that has both."
                )
        self._parts = parts
        with self._fetched() as folder:
            state = None if folder is None else self._read(folder)
        if state is not None:
            differ = sorted(set(parts) ^ set(state["parts"]))
            if differ or state["size"] != self.size:
                raise ValueError(
                    f"a checkpoint must be resumed by the same parts and workers, but "
                    f"{', '.join(differ) or 'workers'} differ: it was written by "
                    f"{state['size']} workers with {', '.join(state['parts'])}."
                )
            for name, part in parts.items():
                part.load_state_dict(state["parts"][name])
            set_generator_states(state["generators"])
            self._rows = list(state["rows"])
            for row in self._rows:
                self.report_row(dict(row), None)
        self._began = time.perf_counter()
        return len(self._rows)

    def _read(self, folder: Path) -> dict[str, Any]:
        import torch

        try:
            state = torch.load(folder / FILE_NAME, map_location="cpu", weights_only=True)
            if state.get("format") != FORMAT or "parts" not in state:
                raise ValueError(f"its format is {state.get('format')!r}")
        except Exception as error:
            raise ValueError(f"cannot read the checkpoint in {folder}: {error}") from error
        return dict(state)

    def report(self, **metrics: Any) -> None:
        """An epoch is over."""
        row = {"epoch": len(self._rows) + 1, **self._checked(metrics)}
        if row["epoch"] > self.epochs:
            raise ValueError(
                f"a trial makes one report an epoch, {self.epochs} in all, but this is one more. "
                f"Report once in each of config.{_field(self.work)}."
            )
        row.setdefault("train_seconds", time.perf_counter() - self._began)
        row.setdefault("time", time.time())
        self._rows.append(row)
        self.report_row(row, self._write)
        self._began = time.perf_counter()

    def _checked(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, value in metrics.items():
            if name not in self._declared:
                known = ", ".join(self._declared)
                raise ValueError(
                    f"a metric must be declared before it is reported, but {name!r} is not. "
                    f"Declared: {known}. Add Metric({name!r}, ...) to the metrics."
                )
            metric = self._declared[name]
            if metric.split == "test" and not self.final and value is not None:
                raise ValueError(
                    f"{name} is measured on the test split, which a confirmation run alone may "
                    f"read. Report it only `if run.final`."
                )
            found[name] = _number(metric, value)
        value = found.get(self._judged)
        if self._judged not in found:
            raise ValueError(
                f"{self._judged} is what the study judges by, but it was not reported. Report it "
                f"in every epoch, or declare another search metric."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise Diverged(f"{self._judged} is {value} in epoch {len(self._rows) + 1}")
        return found

    def checkpoint(self) -> None:
        """Store a checkpoint within an epoch."""
        if self.rank == 0:
            self.save(self._write)

    def _write(self, folder: Path) -> Path:
        import torch

        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "format": FORMAT,
            "size": self.size,
            "rows": self._rows,
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
            "generators": generator_states(),
        }
        with (folder / FILE_NAME).open("wb") as file:  # of a full disk torch itself says nothing
            torch.save(state, file)
        return folder / FILE_NAME

    def artifact(self, name: str, **columns: Sequence[Any]) -> None:
        """A table of the trial, stored with its next report."""
        lists = {key: [_item(v) for v in values] for key, values in columns.items()}
        if not name.isidentifier() or name in ("trials", "epochs") or not lists:
            raise ValueError(
                f"an artifact needs a name such as curve and a column, but got {name!r} with "
                f"{', '.join(lists) or 'none'}."
            )
        if len({len(values) for values in lists.values()}) > 1:
            sizes = ", ".join(f"{key}: {len(values)}" for key, values in lists.items())
            raise ValueError(f"columns of an artifact must be of equal length, but are {sizes}.")
        if name == PREDICTIONS and set(lists) != {"label", "predicted"}:
            raise ValueError(
                f"predictions have the columns label and predicted, but got {', '.join(lists)}. "
                f"Give an artifact with other columns another name."
            )
        if name == PREDICTIONS and not self.final:
            raise ValueError(
                "predictions are made on the test split, which a confirmation run alone may read. "
                "Store them only `if run.final`."
            )
        known = {"seed", *(c.name for c in IDENTITY), *knob_types(self.work.Config)}
        if twice := [key for key in lists if key in known]:
            raise ValueError(
                f"an artifact has the trial's names and knobs as columns already, but got "
                f"{', '.join(twice)}. Choose other names."
            )
        self._artifacts[name] = lists

    def alive(self, step: int) -> None:
        """A sign of life."""
        self._link.touch(step)

    def cached(self, load: Callable[..., Any], *key: Any) -> Any:
        """What was loaded for the trial before, if it was the same."""
        return self._cache(load, *key)

    def check_whole(self) -> None:
        """Raise ValueError unless the work reported all that it declared."""
        if self.done != self.epochs:
            raise ValueError(
                f"a trial makes one report an epoch, but {self.work.name} returned after "
                f"{self.done} of {self.epochs}. Report in each of config.{_field(self.work)}."
            )
        if self.by_hand:
            return
        reported = {name for row in self._rows for name in row}
        silent = [
            metric.name
            for metric in self.work.metrics
            if metric.name not in reported and (metric.split != "test" or self.final)
        ]
        if silent:
            raise ValueError(
                f"a metric that is declared must be reported, but {', '.join(silent)} never was. "
                f"Report it (None where there is no value), or take it out of the metrics."
            )


def _field(work: Trainable) -> str:
    return work.budget.field if work.budget is not None else "a trial"


def _item(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _number(metric: Metric, value: Any) -> Any:
    """The value as the metric's kind; tensors and arrays of one element count as numbers."""
    if value is None:
        return None
    try:
        plain = _item(value)
        if metric.kind is str:
            return str(plain)
        if isinstance(plain, (str, bytes)) or (metric.kind is int and int(plain) != plain):
            raise ValueError(plain)
        return metric.kind(plain)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{metric.name} must be a {metric.kind.__name__}, but got {value!r} of type "
            f"{type(value).__name__}. Report one number, or None."
        ) from error
