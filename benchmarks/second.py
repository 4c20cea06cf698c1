"""What is lost between trials of one second on two slots, in percent of that second.

    python benchmarks/second.py [--trials 40] [--backends local ray]

A trial of benchmarks/sleeping.py waits for a second and reports once. What a slot takes from the
end of a trial to the end of the next, beyond that second, is the engine's.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from rows import of_trials, row
from sleeping import STUDY

from srsgd_ray.study import run

SLOTS, SECONDS = 2, 1.0
GOAL = 2.0  # percent


def main() -> None:
    """Run the study on each backend, and print a row each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--backends", nargs="+", choices=("local", "ray"), default=["local", "ray"])
    given = parser.parse_args()
    study = replace(STUDY, trials=given.trials, base={"seconds": SECONDS})
    for backend in given.backends:
        with tempfile.TemporaryDirectory() as temporary:
            run(study, results=temporary, slots=SLOTS, backend=backend)
            found = of_trials(Path(temporary, study.name), SLOTS)
        lost = [100 * (took - SECONDS) / SECONDS for took, _ in found]
        row(f"bookkeeping of trials of 1 s on {SLOTS} slots, {backend}", lost, "%", goal=GOAL)


if __name__ == "__main__":
    main()
