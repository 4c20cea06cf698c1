"""How much faster than they ran recorded trials are searched again.

    python benchmarks/simulate.py [results/example] [--trials 1000] [--rounds 9]

Each round simulates every kind of search once, in turn, each of `--trials` trials or a few more.
A ratio is the seconds that the simulated searches would have taken on one slot, by their recorded
epochs, over those that simulating took. What Optuna's sampler and Tune's scheduler need to think is
a part of the latter, but in the first row, which has neither and so has the goal.
"""

from __future__ import annotations

import argparse
import itertools
import time

import optuna
from rows import row

from srsgd_ray.results import read_epochs, read_trials
from srsgd_ray.study.recorded import recorded
from srsgd_ray.study.simulate import Design, simulate

GOAL = 10_000.0
DESIGNS = (Design(), Design(scheduler="asha"), Design(scheduler="median"), Design("tpe"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", nargs="?", default="results/example")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = read_trials(given.folder)
    known = recorded(trials, read_epochs(given.folder), str(trials["arm"].iloc[0]))
    found: dict[str, list[float]] = {str(design): [] for design in DESIGNS}
    seeds = itertools.count()
    for design in DESIGNS:
        list(simulate(known, design, [next(seeds)]))  # imports what it needs
    for _ in range(given.rounds):
        for design in DESIGNS:
            done, ran, began = 0, 0.0, time.perf_counter()
            while done < given.trials:
                [one] = simulate(known, design, [next(seeds)])
                done, ran = done + one["trials"], ran + one["seconds"]
            took = time.perf_counter() - began
            found[str(design)].append(ran / took)
    epochs = known.epochs / len(known.trials)
    seconds = sum(sum(one.seconds) for one in known.trials) / len(known.trials)
    print(f"{given.folder}: trials of {epochs:.3g} epochs and {seconds:.3g} s")
    for number, (name, faster) in enumerate(found.items()):
        goal = GOAL if number == 0 else None
        row(f"simulating a search against running it, {name}", faster, goal=goal, least=True)


if __name__ == "__main__":
    main()
