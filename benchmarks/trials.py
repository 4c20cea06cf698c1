"""What a trial costs beyond its training: warm slots against a fresh TorchTrainer in each trial.

    python benchmarks/trials.py [--trials 20] [--fresh 3]

Both patterns train the same small network for one epoch, on one slot, in one Ray instance. The
overhead of a trial is the time from the end of the one before it to its own end, less the seconds
that its training and evaluation took. A slot's first trial is left out: it waits for its workers.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import ray
from optuna.distributions import FloatDistribution
from ray import train as ray_train
from ray import tune
from ray.train.torch import TorchTrainer

from srsgd_ray.config import TrainConfig
from srsgd_ray.results import read_record
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study import Arm, Study
from srsgd_ray.study.run import run

CONFIG = TrainConfig(optimizer="sgd", width=4, epochs=1, threads=1)
SPACE = SearchSpace("lr", "?", {"lr": FloatDistribution(0.01, 0.3, log=True)})


def warm(folder: Path, trials: int, workers: int) -> list[float]:
    """Overheads of the trials of a study, in seconds, record, checkpoints and Optuna included."""
    study = Study(
        name=f"warm-{workers}",
        question="How long does a trial take that does nearly nothing?",
        arms=(Arm("sgd", SPACE, {"optimizer": "sgd"}),),
        baseline="sgd",
        base={"width": CONFIG.width},
        epochs=CONFIG.epochs,
        lr_drops=(),
        trials=trials,
        searcher="random",
        confirm_seeds=0,
    )
    run(study, results=folder, slots=1, workers_per_trial=workers)
    done = list(read_record(folder / study.name).trials.values())
    ends = [(t.end or {})["ended"] for t in done]
    work = [sum(r["train_seconds"] + r["eval_seconds"] for r in t.rows) for t in done]
    return [b - a - w for (a, b), w in zip(pairwise(ends), work[1:], strict=True)]


def fresh(folder: Path, trials: int, workers: int) -> list[float]:
    """Overheads of trials that each start a TorchTrainer of their own."""
    log = folder / f"fresh-{workers}.txt"

    def loop(config: dict[str, Any]) -> None:
        from srsgd_ray.training import train

        def report(row: dict[str, Any], save: Any) -> None:
            if ray_train.get_context().get_world_rank() == 0:
                (folder / "seconds").write_text(str(row["train_seconds"] + row["eval_seconds"]))
            ray_train.report({"val_error": row["val_error"]})

        train(CONFIG.replace(lr=config["lr"]), report)

    def trial(config: dict[str, Any]) -> None:
        TorchTrainer(
            loop,
            train_loop_config=config,
            scaling_config=ray_train.ScalingConfig(
                num_workers=workers, resources_per_worker={"CPU": 0.9}
            ),
            run_config=ray_train.RunConfig(storage_path=str(folder / "train")),
        ).fit()
        with log.open("a") as file:
            file.write(f"{time.time()} {(folder / 'seconds').read_text()}\n")

    tune.Tuner(
        tune.with_resources(trial, {"CPU": 0.01}),
        param_space={"lr": tune.loguniform(0.01, 0.3)},
        tune_config=tune.TuneConfig(num_samples=trials + 1, max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    ).fit()
    done = [tuple(map(float, line.split())) for line in log.read_text().splitlines()]
    return [b[0] - a[0] - b[1] for a, b in pairwise(done)]


def say(name: str, seconds: list[float]) -> float:
    """Print and return the median."""
    middle = statistics.median(seconds)
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    print(f"{name:32} {middle:6.2f} s a trial  (n = {len(seconds)}, {spread})", flush=True)
    return middle


def main() -> None:
    """Measure both patterns with one and with two workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--fresh", type=int, default=3)
    given = parser.parse_args()
    ray.init(
        address="local", include_dashboard=True, log_to_driver=False, logging_level=logging.ERROR
    )
    try:
        with tempfile.TemporaryDirectory() as temporary:
            for workers in (1, 2):
                folder = Path(temporary)
                ours = say(f"warm slot, {workers} worker(s)", warm(folder, given.trials, workers))
                plain = say(f"fresh TorchTrainer, {workers}", fresh(folder, given.fresh, workers))
                print(f"ratio: {plain / ours:.0f}")
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
