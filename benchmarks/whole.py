"""A whole study against plain Optuna: 10 trials of 12 epochs on the digits, two at a time.

    python benchmarks/whole.py [--rounds 3] [--trials 10] [--backends local ray]

Each way is a command of its own, timed from its start to its end, imports and Ray's start included;
the ways take turns. Plain Optuna is what a user would write: two processes that share an SQLite
study, each with the same training in its objective, without rows, checkpoints or tables.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EPOCHS = 12
GOALS = {"local": 1.1, "ray": 1.5}
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
    run(study, results=folder, slots=2, backend=backend)


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


def timed(way: str, trials: int) -> float:
    """Seconds of one way, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--way", way, "--folder", folder, "--trials", trials]
        began = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([*map(str, words)], check=True, capture_output=True, env=environment)
        return time.perf_counter() - began


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
    """Time the ways in turn, and print their ratios."""
    ways = ["plain", *backends]
    found: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            found[way].append(timed(way, trials))
            print(f"round {number + 1}: {way} {found[way][-1]:.1f} s", flush=True)
    for way in backends:
        ratios = [a / b for a, b in zip(found[way], found["plain"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        print(
            f"{way:6} {statistics.median(found[way]):6.1f} s, {middle:.2f} times plain Optuna "
            f"[{low:.2f}, {high:.2f}], n = {rounds}; goal {GOALS[way]}"
        )


if __name__ == "__main__":
    main()
