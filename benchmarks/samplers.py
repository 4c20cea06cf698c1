"""Whether searcher rustuna finds what tpe finds: the best of 100 trials, seed by seed.

    python benchmarks/samplers.py [--seeds 40] [--digits 12] [--at-once 1 4]

On six functions whose least value is 0, and on a network of two layers on the digits (validation
loss, four knobs, 60 trials). A row is the ratio of what the two are above 0, rustuna over tpe: its
geometric mean with a 95 % interval (seeds drawn again 10,000 times), and both medians.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable

import numpy as np
import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from srsgd_ray.study.samplers import sampler_of

Objective = Callable[[optuna.Trial], float]


def of_point(function: Callable[[np.ndarray], float], knobs: int) -> Objective:
    """A function of a point of that many knobs in (-5, 5)."""
    return lambda trial: function(
        np.array([trial.suggest_float(f"x{n}", -5, 5) for n in range(knobs)])
    )


def rosenbrock(x: np.ndarray) -> float:
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def rastrigin(x: np.ndarray) -> float:
    return float(10 * len(x) + np.sum((x - 0.7) ** 2 - 10 * np.cos(2 * np.pi * (x - 0.7))))


def ackley(x: np.ndarray) -> float:
    y = x - 0.4
    far, waves = np.sqrt(np.mean(y**2)), np.mean(np.cos(2 * np.pi * y))
    return float(20 - 20 * np.exp(-0.2 * far) + np.e - np.exp(waves))


def branin(x: np.ndarray) -> float:
    a, b = x[0] * 1.5 + 2.5, x[1] * 1.5 + 7.5
    bend = b - 5.1 / (4 * np.pi**2) * a * a + 5 / np.pi * a - 6
    return float(bend**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10 - 0.397887)


def mixed(trial: optuna.Trial) -> float:
    """Of a category, an integer and two numbers on a logarithmic scale."""
    lr = math.log10(trial.suggest_float("lr", 1e-5, 1.0, log=True))
    decay = math.log10(trial.suggest_float("decay", 1e-6, 1e-2, log=True))
    kind = {"a": 0.5, "b": 0.0, "c": 1.0}[trial.suggest_categorical("kind", ["a", "b", "c"])]
    width = math.log2(trial.suggest_int("width", 1, 64, log=True))
    return (lr + 2) ** 2 + 0.3 * (decay + 4) ** 2 + kind + (width - 4) ** 2 / 8


def digits() -> Objective:
    """Validation loss of a small network after two epochs."""
    images, labels = (torch.tensor(found) for found in load_digits(return_X_y=True))
    images, labels = images.float() / 16, labels.long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, validation = order[:1000], order[1000:]

    def loss(trial: optuna.Trial) -> float:
        hidden = trial.suggest_int("hidden", 8, 64, log=True)
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
        optimizer = torch.optim.SGD(
            net.parameters(),
            trial.suggest_float("lr", 1e-3, 1.0, log=True),
            momentum=trial.suggest_float("momentum", 0, 0.99),
            weight_decay=trial.suggest_float("decay", 1e-6, 1e-1, log=True),
        )
        for batch in torch.cat((train, train)).view(-1, 100):
            optimizer.zero_grad()
            cross_entropy(net(images[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            found = float(cross_entropy(net(images[validation]), labels[validation]))
        return found if found < 100 else 100.0

    return loss


def best(searcher: str, objective: Objective, seed: int, trials: int, at_once: int) -> float:
    """Of so many trials, where so many run at a time; samplers are made anew as in a study."""
    study = optuna.create_study()
    running: list[tuple[optuna.Trial, float]] = []
    for number in range(trials):
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        study.sampler = sampler_of(searcher, number, own, seed, trials, False)
        trial = study.ask()
        running.append((trial, objective(trial)))
        if len(running) == at_once:
            study.tell(*running.pop(0))
    for trial, value in running:
        study.tell(trial, value)
    return study.best_value


def main() -> None:
    """Print a line for each function and each number of trials at once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--digits", type=int, default=12, help="seeds on the digits")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 4])
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    objectives: dict[str, tuple[Objective, int, int]] = {
        "sphere, 5 knobs": (of_point(lambda x: float(np.sum((x - 1.3) ** 2)), 5), given.seeds, 100),
        "Rosenbrock, 4": (of_point(rosenbrock, 4), given.seeds, 100),
        "Rastrigin, 5": (of_point(rastrigin, 5), given.seeds, 100),
        "Ackley, 5": (of_point(ackley, 5), given.seeds, 100),
        "Branin, 2": (of_point(branin, 2), given.seeds, 100),
        "mixed, 4": (mixed, given.seeds, 100),
        "network on the digits, 4": (digits(), given.digits, 60),
    }
    print("| function | at once | n | median, tpe | rustuna | ratio |\n|---|---|---|---|---|---|")
    for at_once in given.at_once:
        for name, (objective, seeds, trials) in objectives.items():
            found = np.array([
                [best(which, objective, seed, trials, at_once) for which in ("tpe", "rustuna")]
                for seed in range(seeds)
            ])  # fmt: skip
            logs = np.log(np.maximum(found[:, 1], 1e-12) / np.maximum(found[:, 0], 1e-12))
            again = np.random.default_rng(0).choice(logs, (10_000, seeds)).mean(1)
            low, middle, high = np.exp([*np.quantile(again, 0.025, keepdims=True), logs.mean(),
                                        *np.quantile(again, 0.975, keepdims=True)])  # fmt: skip
            tpe, rust = np.median(found, 0)
            print(f"| {name} | {at_once} | {seeds} | {tpe:.3g} | {rust:.3g} | {middle:.2f} "
                  f"[{low:.2f}, {high:.2f}] |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
