"""A whole study against plain Optuna: 10 trials of 12 epochs on the digits, two at a time.

    python benchmarks/whole.py [--rounds 3] [--trials 10] [--backends local ray]

The records of the same runs say when the first row came, how long a slot waited between two epochs,
and what a trial took beyond its training.

Each way is a command of its own, timed from its start to its end, imports and Ray's start included;
the ways take turns. Plain Optuna is what a user would write: two processes that share an SQLite
study, each with the same training in its objective, without rows, checkpoints or tables.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rows import between_epochs, of_trials, ratios, row

from srsgd_ray.results import read_record

EPOCHS = 12
SLOTS = 2
GOALS = {"local": 1.1, "ray": 1.5}
FIRST = {"local": 5.0, "ray": 12.0}  # seconds until the first row
NAMES = {"local": "local backend", "ray": "Ray"}
RANGE = (0.01, 0.3)
BASE: dict[str, Any] = {"dataset": "digits", "model": "preresnet", "depth": 8, "batch_size": 64}


def ours(folder: Path, backend: str, trials: int) -> None:
    """The search as a study of this package."""
    from optuna.distributions import FloatDistribution

    from srsgd_ray.search_spaces import SearchSpace
    from srsgd_ray.study import Arm, Study, run

    space = SearchSpace("lr", "?", {"lr": FloatDistribution(*RANGE, log=True)})
    study = Study(
        name="whole",
        question="How long does a study take?",
        arms=(Arm("sgd", space, {"optimizer": "sgd"}),),
        baseline="sgd",
        base=BASE,
        epochs=EPOCHS,
        lr_drops=(),
        trials=trials,
        confirm_seeds=0,
    )
    run(study, results=folder, slots=SLOTS, backend=backend)


def plain(folder: Path, trials: int) -> None:
    """The same with Optuna alone, in two processes."""
    import optuna

    optuna.create_study(storage=f"sqlite:///{folder}/optuna.db", study_name="whole")
    context = multiprocessing.get_context("spawn")
    shares = [trials - trials // 2, trials // 2]
    processes = [context.Process(target=_optimize, args=(folder, n)) for n in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def _optimize(folder: Path, trials: int) -> None:
    import optuna

    from srsgd_ray.config import TrainConfig
    from srsgd_ray.training import train

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", *RANGE, log=True)
        config = TrainConfig(
            optimizer="sgd", lr=lr, epochs=EPOCHS, lr_milestones=(), threads=1, **BASE
        )
        rows: list[dict[str, Any]] = []
        train(config, lambda row, save: rows.append(row))
        return float(rows[-1]["val_error"])

    study = optuna.load_study(storage=f"sqlite:///{folder}/optuna.db", study_name="whole")
    study.optimize(objective, n_trials=trials)


@dataclass
class Found:
    """What the runs of one way took, in seconds.

    Attributes:
        whole: from the start of the command to its end.
        first: to the first row in the record.
        gaps: between two epochs on a slot.
        beyond: what a trial on a warm slot took beyond its training, in percent of that.
    """

    whole: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    beyond: list[float] = field(default_factory=list)


def take(way: str, trials: int, found: Found) -> None:
    """Run one way, in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        words = [sys.executable, __file__, "--way", way, "--folder", temporary, "--trials", trials]
        started, began = time.time(), time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, env=environment)
        found.whole.append(time.perf_counter() - began)
        if done.returncode:
            raise RuntimeError(f"{way} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        if way != "plain":
            folder = Path(temporary, "whole")
            rows = [time for t in read_record(folder).trials.values() for time in t.times]
            found.first.append(min(rows) - started)
            found.gaps += between_epochs(folder)
            found.beyond += [100 * (took / w - 1) for took, w in of_trials(folder, SLOTS)]


def main() -> None:
    """Run one way, or compare all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--backends", nargs="+", choices=list(GOALS), default=list(GOALS))
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way == "plain":
        plain(given.folder, given.trials)
    elif given.way:
        ours(given.folder, given.way, given.trials)
    else:
        compare(given.backends, given.rounds, given.trials)


def compare(backends: list[str], rounds: int, trials: int) -> None:
    """Time the ways in turn, and print what is asked of them."""
    ways = ["plain", *backends]
    found = {way: Found() for way in ways}
    for number in range(rounds):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            take(way, trials, found[way])
            print(f"round {number + 1}: {way} {found[way].whole[-1]:.1f} s", flush=True)
    for way in backends:
        one, name = found[way], NAMES[way]
        against = ratios(one.whole, found["plain"].whole)
        row(f"a whole study against plain Optuna, {name}", against, goal=GOALS[way])
        row(f"from the command to the first row, {name}", one.first, "s", goal=FIRST[way])
        gaps = [1e3 * s for s in one.gaps]
        row(f"between two epochs on a slot, {name}", gaps, "ms", goal=3.0)
        row(
            f"a trial of {EPOCHS} epochs on a warm slot, beyond its training, {name}",
            one.beyond,
            "%",
        )


if __name__ == "__main__":
    main()
