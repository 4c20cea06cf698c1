"""A recorded trial run once more, and compared value by value: is it the same bit for bit?"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from srsgd_ray.backends import Assignment, Job, Plan, Trials, make_backend, plan_slots
from srsgd_ray.knobs import make
from srsgd_ray.progress import all_output_to
from srsgd_ray.results.one import OneTrial, read_trial
from srsgd_ray.results.provenance import provenance
from srsgd_ray.study.requests import by_user
from srsgd_ray.trainable import find

CLOCKS = ("s", "1/s")  # units of what differs from run to run
COMPARED = {"commit": "commit", "python_version": "Python", "torch_version": "torch"}


@dataclass(frozen=True)
class Difference:
    """A value that is another one now."""

    epoch: int
    column: str
    recorded: Any
    again: Any


@dataclass(frozen=True)
class Rerun:
    """How a repeated trial compares with the recorded one.

    Attributes:
        epochs: that were compared.
        columns: that were compared in each of them.
        artifacts: tables of the trial's own that were compared, by name.
        differences: all of them, in order; none: it is the same bit for bit.
        surroundings: what else differs between then and now, as lines.
        plan: what it ran on now.
    """

    epochs: int
    columns: tuple[str, ...]
    artifacts: tuple[str, ...]
    differences: tuple[Difference, ...]
    surroundings: tuple[str, ...]
    plan: Plan

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def rerun(folder: Path, name: str, *, backend: str = "local", threads: int | None = None) -> Rerun:
    """Run a trial of a study again, from its configuration and seed; the study is not touched.

    Args:
        folder: of the study.
        name: of the trial. One that was stopped is run to the epoch where it was.
        backend: ``local``: in this process. ``ray``: on Ray, started on this machine.
        threads: of each worker; None: as recorded.

    Raises:
        ValueError: if there is no such trial, or it cannot be run here.
    """
    one = read_trial(folder, name)
    workers = int((one.trial.end or {}).get("workers") or 1)
    if backend == "local" and workers > 1:
        raise ValueError(
            f"a trial of {workers} workers cannot be repeated in this process, but {name} is one. "
            f"Add --backend ray, which starts Ray on this machine."
        )
    if not one.trial.rows and (one.trial.end is None or by_user(one.trial.end)):
        raise ValueError(f"{name} has no finished epoch to compare with. Choose another trial.")
    known = one.trial.session.get("threads")
    count = threads or known or _usual_threads(one)
    again = _Again(one)
    made = make_backend(backend, **({"quiet": True} if backend == "ray" else {}))
    with tempfile.TemporaryDirectory() as root, made.open() as nodes:
        plan = _plan(one, nodes, count, backend)
        # In this process nothing is resumed: no checkpoint is needed.
        where = root if backend == "ray" else ""
        job = Job(again.work, one.trainable, one.folder, one.judged, where)
        # Tune says of its own accord what it was configured with.
        with all_output_to(Path(root) / "output.txt") if backend == "ray" else nullcontext():
            made.run(again, job, plan, None)
    if again.end is None:
        raise KeyboardInterrupt
    return again.compared(_surroundings(one, again.end, plan.threads, known), plan)


class _Again(Trials):
    """One trial, to be run as far as it is recorded; keeps what it reports."""

    def __init__(self, one: OneTrial) -> None:
        self.work = find(one.trainable, one.folder)
        self.recorded, self._columns = one.trial, one.columns
        self.rows: list[dict[str, Any]] = []
        self.artifacts: dict[str, Mapping[str, list[Any]]] = {}
        self.end: dict[str, Any] | None = None
        self._assigned = False

    @property
    def finished(self) -> bool:
        return self.end is not None

    def next(self) -> Assignment | None:
        if self._assigned:
            return None
        self._assigned, trial = True, self.recorded
        config: Any = make(self.work.Config, self.work.knobs_in(trial.config))
        seed, final = int(trial.config["seed"]), trial.phase == "confirm"
        return Assignment(trial.trial, trial.config, 0, self.work.epochs(config), seed, final)

    def continues(self, trial: str, row: Mapping[str, Any]) -> bool:
        # One that ended by itself may go on by an epoch, which then is a difference.
        end = self.recorded.end
        itself = end is not None and end["state"] != "pruned" and not by_user(end)
        return bool(row["epoch"] < len(self.recorded.rows) + itself)

    def epoch(self, trial: str, row: Mapping[str, Any]) -> None:
        self.rows.append(_as_recorded(row))

    def artifact(self, trial: str, name: str, columns: Mapping[str, list[Any]]) -> None:
        self.artifacts[name] = _as_recorded(columns)

    def waits(self, trials: Mapping[str, float], need: str, over: bool = False) -> None:
        """Nothing: nobody is told."""

    def ended(self, trial: str, state: str, reason: str | None = None, **facts: Any) -> None:
        self.end = {"state": state, "reason": reason, **facts}

    def compared(self, surroundings: tuple[str, ...], plan: Plan) -> Rerun:
        """What came, against what is recorded."""
        known = self.recorded
        columns = [
            name for name, column in self._columns.items()
            if column.role in ("metric", "measure") and column.unit not in CLOCKS
            and any(name in row for row in (*known.rows, *self.rows)) and name != "time"
        ]  # fmt: skip
        found = list(self._different(columns))
        kept = known.artifacts if known.end is not None else {}
        for name, table in kept.items():
            found += _different_table(len(known.rows), name, table, self.artifacts.get(name, {}))
        epochs, artifacts = min(len(known.rows), len(self.rows)), tuple(kept)
        return Rerun(epochs, tuple(columns), artifacts, tuple(found), surroundings, plan)

    def _different(self, columns: list[str]) -> Iterator[Difference]:
        known = self.recorded
        for was, now in zip(known.rows, self.rows, strict=False):
            for name in columns:
                if not _same(was.get(name), now.get(name)):
                    yield Difference(was["epoch"], name, was.get(name), now.get(name))
        assert self.end is not None
        last = min(len(known.rows), len(self.rows)) + 1
        if len(known.rows) != len(self.rows):
            count = (len(known.rows), len(self.rows))
            yield Difference(last, "epochs", *count)
        if known.end is None or by_user(known.end):
            return
        for name in ("state", "reason", "diverged_step"):
            recorded, again = known.end.get(name), self.end.get(name)
            if recorded != again:
                yield Difference(last, name, recorded, again)


def _as_recorded(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives them back."""
    found: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return found


def _same(was: Any, now: Any) -> bool:
    """Whether two values are equal in every bit; NaN is equal to NaN."""
    if isinstance(was, float) and isinstance(now, (int, float)):
        return was.hex() == float(now).hex()
    return bool(was == now)


def _different_table(
    epoch: int, name: str, was: Mapping[str, list[Any]], now: Mapping[str, list[Any]]
) -> Iterator[Difference]:
    """The first row of each column of a table that differs."""
    for column, values in was.items():
        others = now.get(column, [])
        pairs = zip(values, others, strict=False)
        places = [i for i, (a, b) in enumerate(pairs) if not _same(a, b)]
        if len(values) != len(others):
            yield Difference(epoch, f"{name}: rows of {column}", len(values), len(others))
        elif places:
            at = places[0]
            said = f"{name}: {column}, row {at} and {len(places) - 1} more"
            yield Difference(epoch, said, values[at], others[at])


# On what it runs.


def _plan(one: OneTrial, nodes: Sequence[Mapping[str, float]], threads: int, backend: str) -> Plan:
    """The place of the trial here; Ray says in numbers what does not fit."""
    workers = int((one.trial.end or {}).get("workers") or 1)
    gpus = _gpus(one, nodes)
    if backend == "local":
        return Plan(1, workers, float(threads), gpus)
    share = float(threads) if threads > 1 else None  # of one thread Ray takes what is left
    found = plan_slots(nodes, slots=1, workers=workers, cpus_per_worker=share, gpus_per_worker=gpus)
    return replace(found, cpus_per_worker=min(found.cpus_per_worker, float(threads)))


def _usual_threads(one: OneTrial) -> int:
    """Threads of a worker of a study whose record does not say them, if it ran on a like machine.

    All CPUs in a single process; on Ray a worker is a core, unless options say else.
    """
    options = one.options
    if options.get("cpus_per_worker"):
        return max(1, int(options["cpus_per_worker"]))
    alone = options.get("backend") == "local" and options.get("slots") in (None, 1)
    return len(os.sched_getaffinity(0)) if alone else 1


def _gpus(one: OneTrial, nodes: Sequence[Mapping[str, float]]) -> float:
    """One GPU, if the trial ran on one and there is one here."""
    session, ran_on = one.trial.session, (one.trial.end or {}).get("hardware")
    driver = session.get("hardware")  # the processor; older records say no more
    wanted = session.get("gpus_per_worker", bool(ran_on and driver and ran_on != driver))
    return 1.0 if wanted and any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0


def _surroundings(
    one: OneTrial, end: Mapping[str, Any], threads: int, known: int | None
) -> tuple[str, ...]:
    """What differs between then and now, besides the values."""
    was, now = one.trial.session, provenance()
    lines = [
        f"{said}: {was[name]} then, {now[name]} now"
        for name, said in COMPARED.items()
        if was.get(name) and was[name] != now[name]
    ]
    then, hardware = (one.trial.end or {}).get("hardware"), end.get("hardware")
    if then and hardware and then != hardware:  # one that failed says none
        lines.append(f"hardware: {then} then, {hardware} now")
    if known is None:
        lines.append(f"threads: not recorded then, {threads} now (--threads N for others)")
    elif known != threads:
        lines.append(f"threads: {known} then, {threads} now")
    return tuple(lines)
