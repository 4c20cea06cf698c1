"""How much faster than they ran recorded trials are searched again.

    python benchmarks/simulate.py [results/example] [--trials 1000] [--rounds 9]

Each round simulates every kind of search once, in turn, each of `--trials` trials or a few more.
*faster* is the seconds that the simulated searches would have taken on one slot, by their recorded
epochs, over those that simulating took: median (quartiles) over the rounds. What Optuna's sampler
and Tune's scheduler need to think is a part of the latter, but in the first row, which has neither.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
import optuna
import pandas as pd

from srsgd_ray.results import read_epochs, read_trials
from srsgd_ray.study.recorded import recorded
from srsgd_ray.study.simulate import Design, simulate
from srsgd_ray.table import table

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
    found: dict[str, list[tuple[float, float]]] = {str(design): [] for design in DESIGNS}
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
            found[str(design)].append((ran / took, 1e3 * took / done))
    lines = []
    for name, pairs in found.items():
        faster, each = np.array(pairs).T
        low, high = np.quantile(faster, (0.25, 0.75))
        lines.append({
            "search": name,
            "faster": f"{np.median(faster):,.0f} ({low:,.0f} to {high:,.0f})",
            "ms a trial": f"{np.median(each):.3f}",
            "n": given.rounds,
        })  # fmt: skip
    epochs = known.epochs / len(known.trials)
    seconds = sum(sum(one.seconds) for one in known.trials) / len(known.trials)
    title = f"{given.folder}: trials of {epochs:.3g} epochs and {seconds:.3g} s"
    print(table(pd.DataFrame(lines), "markdown", title=title))


if __name__ == "__main__":
    main()
