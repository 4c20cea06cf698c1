"""What a trial costs beyond its training: warm slots against a fresh TorchTrainer in each trial.

    python benchmarks/trials.py [--trials 20] [--fresh 3] [--workers 1 2]

Both patterns train the same small network for one epoch, on one slot, in one Ray instance. The
overhead of a trial is the time from the end of the one before it to its own end, less the seconds
that its training and evaluation took. A slot's first trial is left out: it waits for its workers.
"""

from __future__ import annotations

import argparse
import logging
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
from rows import of_trials, quartiles, row

from srsgd_ray.config import TrainConfig
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
    return [took - work for took, work in of_trials(folder / study.name, 1)]


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


def main() -> None:
    """Measure both patterns with one and with two workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--fresh", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    ray.init(
        address="local", include_dashboard=True, log_to_driver=False, logging_level=logging.ERROR
    )
    try:
        with tempfile.TemporaryDirectory() as temporary:
            for workers in given.workers:
                folder, to = Path(temporary), f"{workers} worker(s)"
                ours = warm(folder, given.trials, workers)
                row(f"a trial of one epoch beyond its training, warm slot, {to}", ours, "s")
                plain = fresh(folder, given.fresh, workers)
                against = [seconds / quartiles(ours)[1] for seconds in plain]
                row(f"the same with a fresh TorchTrainer, {to}, against the warm slot", against)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
