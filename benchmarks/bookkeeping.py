"""What the engine itself costs a trial of 12 epochs: ask, reports, tell, record, tables, database.

    python benchmarks/bookkeeping.py [--known 20 5000] [--trials 200 200] [--rounds 3]

The backend here trains nothing: it takes two trials at a time and reports their rows in turn, as
fast as the study takes them. ``known`` trials are in the record before, and the study is resumed;
what that takes is *start s*. Its ``optuna.db`` is lost, and made anew beside the trials; once more
it is *there*, and is brought up to the record before they begin. *cpu ms* is the processor's time
of a trial, of all threads, the last tables and the rest of the database (*close s*) included; *ms*
is how long the study's loop took for it. A sampler's own time is measured by calls of it, and
stands apart, but is a part of both.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import optuna
from rows import ratios, row
from sleeping import STUDY

from srsgd_ray.backends import Backend, Job, Plan, Trials
from srsgd_ray.backends.capacity import Node
from srsgd_ray.results.lines import Lines
from srsgd_ray.study import search
from srsgd_ray.study.samplers import sampler_of

EPOCHS = 12
GOALS = (3.0, 8.0)  # ms a trial, at 20 trials and at 5,000
study_run = importlib.import_module("srsgd_ray.study.run")  # the package's own name is a function


class Nothing(Backend):
    """Runs trials that do nothing, two at a time, and remembers when each ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []
        self.began = self.cpu = 0.0

    @contextmanager
    def open(self) -> Iterator[Sequence[Node]]:
        """Two CPUs, as far as anybody asks."""
        yield [{"CPU": 2.0}]

    def stop(self) -> None:
        """Nobody asks."""
        raise KeyboardInterrupt

    def measure(self, job: Job, plan: Plan) -> Callable[[dict[str, Any]], float | None]:
        """Nothing to measure."""
        return lambda config: None

    def run(self, trials: Trials, job: Job, plan: Plan, screen: TextIO | None) -> None:
        """Two trials at a time, a report of each in turn."""
        self.began, self.cpu = time.monotonic(), time.process_time()
        slots: list[Iterator[None]] = []
        while True:
            while len(slots) < 2 and (assignment := trials.next()) is not None:
                slots.append(self._trial(trials, assignment))
            if not slots:
                break
            for slot in list(slots):
                if next(slot, self) is self:
                    slots.remove(slot)
                    self.ended.append(time.monotonic())

    def _trial(self, trials: Trials, given: Any) -> Iterator[None]:
        for epoch in range(1, given.epochs + 1):
            row = {"epoch": epoch, "train_seconds": 0.0, "eval_seconds": 0.0, "time": time.time(),
                   "value": (given.config["x"] - 0.3) ** 2 + given.config["y"] / epoch}  # fmt: skip
            if epoch < given.epochs:
                trials.continues(given.trial, row)
            trials.epoch(given.trial, row)
            yield
        trials.ended(given.trial, "complete", workers=1)


class Timed:
    """A sampler whose own time is counted."""

    seconds = 0.0

    def __init__(self, sampler: Any) -> None:
        for name in ("infer_relative_search_space", "sample_relative", "sample_independent",
                     "before_trial", "after_trial"):  # fmt: skip
            setattr(sampler, name, self._counted(getattr(sampler, name)))

    @staticmethod
    def _counted(method: Any) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*args, **named)
            finally:
                Timed.seconds += time.perf_counter() - began

        return call


def timed_sampler(*args: Any) -> Any:
    """As the study makes it, but timed."""
    sampler = sampler_of(*args)
    Timed(sampler)
    return sampler


def grow(record: Path, known: int) -> None:
    """Have a record hold ``known`` ended trials, as if they had been run."""
    lines, rng = Lines(record), random.Random(0)
    with record.open("rb") as file:
        events = list(lines.events(file))
    number = len(lines.contents.trials) if lines.contents else 0
    of_one = [e for e in events if e.get("trial") == "search-a-000"]
    now = time.time()
    with record.open("ab") as file:
        for n in range(number, known):
            x, y, name = rng.random(), rng.random(), f"search-a-{n:03d}"
            for event in of_one:
                made = json.loads(json.dumps(event)) | {"trial": name, "at": now}
                if made["event"] == "trial":
                    made |= {"number": n, "config": made["config"] | {"x": x, "y": y}}
                if made["event"] == "epoch":
                    made |= {"value": (x - 0.3) ** 2 + y / made["epoch"]}
                assert lines.apply(made)
                file.write(lines.write(made))


def measure(
    folder: Path, known: int, trials: int, searcher: str, there: bool = False
) -> dict[str, Any]:
    """Milliseconds a trial, and seconds of resuming and closing."""
    study = replace(STUDY, epochs=EPOCHS, searcher=searcher, trials=2)
    made: list[Nothing] = []

    def backend(name: str, **options: Any) -> Nothing:
        made.append(Nothing())
        return made[-1]

    study_run.make_backend = backend  # type: ignore[attr-defined]
    search.sampler_of = timed_sampler  # type: ignore[assignment,attr-defined]
    name = f"{searcher}-{known}-{trials}-{len(list(folder.iterdir()))}"

    def go(trials: int, **how: Any) -> float:
        began = time.monotonic()
        study_run.run(replace(study, trials=trials), results=folder, name=name, slots=2, **how)
        return began

    if known:
        go(2, backend="local")
        grow(folder / name / "record.jsonl", known)
        if not there:
            (folder / name / "optuna.db").unlink()
    Timed.seconds = 0.0
    began = go(known + trials, backend="local", resume=bool(known), extend=bool(known))
    over, used, cpu = time.monotonic(), made[-1], time.process_time()
    return {
        "known": known, "searcher": searcher, "there": there, "trials": len(used.ended),
        "ms": 1e3 * (used.ended[-1] - used.began) / trials,
        "cpu ms": 1e3 * (cpu - used.cpu) / trials, "sampler ms": 1e3 * Timed.seconds / trials,
        "start s": used.began - began, "close s": over - used.ended[-1],
    }  # fmt: skip


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--known", type=int, nargs="+", default=[20, 5000])
    parser.add_argument("--trials", type=int, nargs="+", default=[200, 200])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--searchers", nargs="+", default=["random", "tpe"])
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found: dict[tuple[int, int, str, bool], list[dict[str, Any]]] = {}
    ways = [(searcher, False) for searcher in given.searchers]
    ways += [("random", True)] * ("random" in given.searchers)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as temporary:
        measure(Path(temporary), 0, 2, "random")  # imports what it needs
        for _ in range(given.rounds):
            for known, trials in zip(given.known, given.trials, strict=True):
                for way in ways:
                    one = measure(Path(temporary), known, trials, *way)
                    found.setdefault((known, trials, *way), []).append(one)
                    print({k: v if isinstance(v, str) else round(v, 3) for k, v in one.items()})
    for (known, trials, searcher, there), all_ in found.items():
        name = f"{trials} after {known:,}, {searcher}" + ", optuna.db there" * there
        if searcher == "random":
            goal, what = (
                GOALS[known >= 1000],
                f"bookkeeping of a trial of {EPOCHS} epochs, {name}: ",
            )
            row(what + "processor", [one["cpu ms"] for one in all_], "ms", goal=goal)
            row(what + "the study waits", [one["ms"] for one in all_], "ms", goal=goal)
        elif searcher != "tpe" and (tpe := found.get((known, trials, "tpe", False))):
            asks = [[one["sampler ms"] for one in ones] for ones in (all_, tpe)]
            row(f"the sampler's own time, {name}, against tpe", ratios(*asks))


if __name__ == "__main__":
    main()
