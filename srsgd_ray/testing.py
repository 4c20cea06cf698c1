"""What the engine relies on in a trainable, as tests that any trainable can be put to.

In pytest::

    from srsgd_ray.testing import TrainableContract

    class TestMine(TrainableContract):
        trainable = "my_module:my_function"
        knobs = {"hidden": 8}

On the command line: ``srsgd-ray check FILE``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from srsgd_ray.backends.base import ALONE, Assignment, Slot
from srsgd_ray.backends.ends import reason_of, run_trial
from srsgd_ray.backends.trial import TrialRun
from srsgd_ray.knobs import make, plain
from srsgd_ray.trainable import Trainable, find, path_of

__all__ = ["Played", "TrainableContract", "check_trainable", "play"]

TWO = 2
PATIENCE = 300.0  # seconds that two workers may take


class _Cut(BaseException):
    """Stands for a crash between two epochs."""


@dataclasses.dataclass
class Played:
    """What a trial reported: its rows, and how it ended (state None: it was cut).

    It is also what joins the trial to the test: it stops or cuts it after an epoch, if asked.
    """

    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    state: str | None = None
    reason: str | None = None
    stop_after: int = 0
    cut_after: int = 0
    show: Callable[[dict[str, Any]], object] | None = None

    def row(self, row: dict[str, Any], artifacts: Any) -> None:
        """Keep the row; a resumed trial reports the earlier ones again."""
        row = {name: value for name, value in row.items() if name != "facts"}
        if row["epoch"] > len(self.rows):
            self.rows.append(row)
            if self.show is not None:
                self.show(dict(row))

    def leave(self, epoch: int) -> bool:
        """Whether the trial continues."""
        if epoch == self.cut_after:
            raise _Cut
        return epoch != self.stop_after

    def touch(self, step: int) -> None:
        """Nobody waits."""


def play(
    work: Trainable,
    config: Any,
    *,
    seed: int = 0,
    folder: Path | None = None,
    stop_after: int = 0,
    cut_after: int = 0,
    final: bool = False,
    rank: int = 0,
    size: int = 1,
    threads: int = 1,
    device: str = "cpu",
    show: Callable[[dict[str, Any]], object] | None = None,
) -> Played:
    """Run one trial in this process, without a study.

    Args:
        folder: for its checkpoint; one that is there is resumed.
        stop_after, cut_after: epoch after which it is stopped, or cut as by a crash; 0: never.
        final: whether it may read the test split.
        rank, size: of this process among the workers.
        threads, device: what it computes with.
        show: called with each row, such as ``print``.
    """
    played = Played(stop_after=stop_after, cut_after=cut_after, show=show)
    assignment = Assignment("trial", plain(config), 0, work.epochs(config), seed, final)
    plan = dataclasses.replace(ALONE, cpus_per_worker=float(threads))
    slot = Slot(plan, root="" if folder is None else str(folder))
    run = TrialRun(work, assignment, played, slot, rank=rank, size=size, device=device)
    run.all_report = True
    try:
        end = run_trial(run)
    except _Cut:
        return played
    played.state, played.reason = end["state"], end["reason"]
    return played


def _compared(work: Trainable, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what a clock says."""
    clocks = {m.name for m in work.metrics if m.unit in ("s", "1/s")} | {"train_seconds", "time"}
    return [{k: v for k, v in row.items() if k not in clocks} for row in rows]


def _same(ours: Sequence[Any], theirs: Sequence[Any], what: str) -> None:
    for mine, other in zip(ours, theirs, strict=False):
        differ = [key for key in mine if mine[key] != other.get(key)]
        assert not differ, (
            f"{what}, but in epoch {mine['epoch']} {differ[0]} is {mine[differ[0]]!r} and "
            f"{other.get(differ[0])!r}"
        )
    assert len(ours) == len(theirs), f"{what}, but there are {len(ours)} rows and {len(theirs)}"


class TrainableContract:
    """Tests that a trainable keeps what the engine relies on. Subclass it, and set the first two.

    Attributes:
        trainable: a Trainable, its class, a decorated function, or a name or import path.
        knobs: values of the configuration that is tried, in its smallest version.
        workers: how many workers must agree; 1 leaves that test out.
    """

    trainable: ClassVar[Any]
    knobs: ClassVar[Mapping[str, Any]] = {}
    workers: ClassVar[int] = TWO

    def _work(self) -> Trainable:
        return find(self.trainable)

    def _config(self) -> Any:
        work = self._work()
        config = work.configure(self.knobs)
        config = make(work.Config, {**plain(config), **work.smoke(config)})
        work.check(config)
        return config

    def test_the_configuration_survives_json(self) -> None:
        """What a record gives back is the configuration that was put in."""
        work, config = self._work(), self._config()
        back: Any = make(work.Config, json.loads(json.dumps(plain(config))))
        assert back == config, f"{config} came back as {back}"

    def test_reported_metrics_are_declared_and_finite(self) -> None:
        """A whole search trial ends as complete, and its numbers are numbers."""
        work = self._work()
        played = play(work, self._config())
        assert played.state == "complete", f"it ended as {played.state}: {played.reason}"
        for row in played.rows:
            for metric in work.metrics:
                value = row.get(metric.name)
                sound = not isinstance(value, float) or math.isfinite(value)
                assert sound, f"{metric.name} is {value} in epoch {row['epoch']}"

    def test_a_confirmation_run_reports_the_confirm_metric(self) -> None:
        """The last row of a final run holds what arms are compared by."""
        work = self._work()
        config = work.confirmed(self._config(), 1, "train")
        played = play(work, config, seed=1, final=True)
        assert played.state == "complete", f"it ended as {played.state}: {played.reason}"
        name = work.confirm_metric or work.search_metric
        assert played.rows[-1].get(name) is not None, f"{name} is missing in the last epoch"

    def test_equal_seeds_give_equal_reports(self) -> None:
        """Twice the same, in one process."""
        work = self._work()
        once, again = (_compared(work, play(work, self._config(), seed=3).rows) for _ in "ab")
        _same(once, again, "equal seeds must give equal rows")

    def test_a_cut_run_resumes_to_equal_rows(self, tmp_path: Path) -> None:
        """A crash after the first epoch changes no number."""
        work, config = self._work(), self._config()
        if work.epochs(config) < TWO:
            return
        whole = _compared(work, play(work, config, seed=5).rows)
        first = play(work, config, seed=5, folder=tmp_path, cut_after=1)
        assert len(first.rows) == 1, f"it reported {len(first.rows)} epochs instead of 1"
        resumed = play(work, config, seed=5, folder=tmp_path)
        _same(_compared(work, resumed.rows), whole, "a resumed run must give the uncut one's rows")

    def test_a_stop_leaves_no_work_behind(self) -> None:
        """A trial that is stopped after its first epoch ends there, with all its threads."""
        work, config = self._work(), self._config()
        if work.epochs(config) < TWO:
            return
        play(work, config)  # libraries start threads of their own the first time
        before = set(threading.enumerate())
        played = play(work, config, stop_after=1)
        assert played.state == "stopped", f"it was stopped, but ended as {played.state}"
        assert len(played.rows) == 1, f"it continued to epoch {len(played.rows)} after the stop"
        left = [t.name for t in set(threading.enumerate()) - before if t.is_alive()]
        assert not left, f"the thread {left[0]} outlives the trial"

    def test_workers_agree(self, tmp_path: Path) -> None:
        """Two processes of one process group report the same rows."""
        work, config = self._work(), self._config()
        if work.place != "workers" or self.workers < TWO:
            return
        where = (*path_of(work), plain(config))
        ranks = [(*where, rank, self.workers, str(tmp_path)) for rank in range(self.workers)]
        rows = {}
        with multiprocessing.get_context("spawn").Pool(self.workers) as pool:
            reports = pool.imap_unordered(_as_rank, ranks)
            for _ in ranks:
                rank, reported = reports.next(PATIENCE)
                assert isinstance(reported, list), f"worker {rank}: {reported}"
                rows[rank] = _compared(work, reported)
        for rank in range(1, self.workers):
            _same(rows[0], rows[rank], "workers must agree")


def _as_rank(
    given: tuple[str, str, dict[str, Any], int, int, str],
) -> tuple[int, list[dict[str, Any]] | str]:
    """What a worker of a process group reports: its rank with its rows, or its error."""
    import torch.distributed as dist

    path, folder, config, rank, size, scratch = given
    try:
        dist.init_process_group(
            "gloo", init_method=f"file://{scratch}/group", rank=rank, world_size=size
        )
        work = find(path, folder)
        made: Any = make(work.Config, config)
        rows = play(work, made, rank=rank, size=size).rows
        dist.barrier()
        dist.destroy_process_group()
    except BaseException as error:
        return rank, reason_of(error)
    return rank, rows


def check_trainable(
    what: object,
    knobs: Mapping[str, Any],
    say: Callable[[str], None] = print,
    workers: int = TWO,
) -> int:
    """Put a trainable to the contract, a line for each test; the number that it did not keep."""
    contract = type(
        "Contract", (TrainableContract,), {"trainable": what, "knobs": knobs, "workers": workers}
    )()
    failures = 0
    for name in [name for name in dir(TrainableContract) if name.startswith("test_")]:
        words = name.removeprefix("test_").replace("_", " ")
        with tempfile.TemporaryDirectory() as scratch:
            test = getattr(contract, name)
            takes = "tmp_path" in test.__code__.co_varnames[: test.__code__.co_argcount]
            try:
                test(*([Path(scratch)] if takes else []))
            except (Exception, _Cut) as error:
                failures += 1
                said = str(error) if isinstance(error, AssertionError) else reason_of(error)
                say(f"BROKEN  {words}: {said}")
            else:
                say(f"kept    {words}")
    return failures
