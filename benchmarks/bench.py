"""All benchmarks of docs/performance.md, one after the other; writes that page.

    python benchmarks/bench.py [--minutes 20] [--only whole loader ...] [--quick] [--page FILE]

Each benchmark is a command of its own, which hands over its rows (benchmarks/rows.py). One that
fails, or takes longer than is left of the minutes, has a row that says so, and the others run. The
page is written anew after each. ``--quick`` takes the smallest numbers, to see whether all of them
run; its page is for nobody.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from rows import FILE, Row

from srsgd_ray.results import provenance

ROOT = Path(__file__).resolve().parents[1]
ENOUGH = 10.0  # seconds, to begin another
PACKAGES = ("torch", "ray", "optuna", "numpy", "pyarrow")


@dataclass(frozen=True)
class Bench:
    """A benchmark.

    Attributes:
        words: of its command, after ``python benchmarks/``.
        quick: the same with the smallest numbers.
        doc: what its rows are, for the page.
    """

    words: str
    quick: str
    doc: str

    @property
    def name(self) -> str:
        """The file's, without its ending."""
        return self.words.split(".py")[0]


BENCHES = (
    Bench(
        "whole.py --rounds 3",
        "whole.py --rounds 1 --trials 4",
        "10 trials of 12 epochs on the digits (PreResNet-8, batch 64), two at a time, by TPE: a "
        "command each, imports and Ray's start included, in turn with plain Optuna in two "
        "processes that share an SQLite study (no rows, checkpoints or tables). Between two "
        "epochs: from the end of an epoch's evaluation to the beginning of the next one's "
        "training, all trials. A trial beyond its training: from the end of the one before it on "
        "its slot to its own end, less training and evaluation, in percent of these. Both of the "
        "same runs.",
    ),
    Bench(
        "second.py --trials 40",
        "second.py --trials 6",
        "Trials that wait for a second and report once: from the end of a trial to the end of "
        "the next on its slot, beyond that second. (Ray's own figure is 14.4 %.)",
    ),
    Bench(
        "bookkeeping.py --rounds 3 --searchers random tpe rustuna",
        "bookkeeping.py --rounds 1 --known 20 100 --trials 20 20 --searchers random tpe rustuna",
        "A backend that trains nothing, two trials at a time: 200 trials more, of a study that "
        "has 20 and of one that has 5,000. Its optuna.db is lost, and made anew meanwhile, or is "
        "there. Processor: all threads, the sampler (random), the tables, the database and what "
        "closing takes included. The study waits: the time of its loop, on the clock.",
    ),
    Bench(
        "trials.py --workers 1 --fresh 2",
        "trials.py --workers 1 --fresh 1 --trials 3",
        "Trials of one epoch on one slot, on Ray, beyond their training: on our warm slot, and "
        "with a TorchTrainer that each trial starts (the first is not counted).",
    ),
    Bench(
        "simulate.py",
        "simulate.py --trials 50 --rounds 2",
        "1,000 recorded trials of results/example (12 epochs) or a few more, searched again: how "
        "long they ran over how long that takes.",
    ),
    Bench(
        "optimizer.py --rounds 30 --processes 12",
        "optimizer.py --rounds 2 --processes 2",
        "A step of SRSGD, on one thread: its time over that of torch's SGD with Nesterov "
        "momentum, and the literal loop's over its own; most memory above parameters and "
        "gradients, likewise. Where tensors lie in memory counts: the fused pair once more in "
        "processes of their own, beside torch's SGD over itself.",
    ),
    Bench(
        "training.py --rounds 20",
        "training.py --rounds 2",
        "A step of training: operators dispatched, views apart, by a loop written by hand without "
        "a metric and by ours; the time of ours over it; what memory and number format give.",
    ),
    Bench(
        "imagenet_before.py --images 160 --rounds 10",
        "imagenet_before.py --images 30 --rounds 2",
        "Reading of the same databases on one core, over that of the last commit before it was "
        "simplified.",
    ),
    Bench(
        "loader.py",
        "loader.py --images 500 --rounds 2",
        "Batches of 128 augmented CIFAR-shaped images: ours over PIL and torchvision's transforms.",
    ),
    Bench(
        "imagenet.py --images 200 --rounds 3",
        "imagenet.py --images 60 --rounds 1",
        "Images a second of JPEG files of ImageNet's size, ours over the original's pipeline or "
        "reader (benchmarks/imagenet.py says what that is).",
    ),
)


@dataclass
class Done:
    """What came of a benchmark: its rows, and why there are no more, if it failed."""

    bench: Bench
    rows: list[Row]
    failed: str
    seconds: float


def take(bench: Bench, words: str, seconds: float) -> Done:
    """Run a benchmark for so many seconds at most."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows")
        command = [sys.executable, *f"benchmarks/{words}".split()]
        print(f"\n{bench.name}: python {' '.join(command[1:])}", flush=True)
        environment = {**os.environ, FILE: str(file), "PYTHONPATH": str(ROOT)}
        with Path(folder, "errors").open("w+", encoding="utf-8") as errors:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stderr=errors, start_new_session=True
            )
            failed = ""
            try:
                if status := process.wait(timeout=seconds):
                    errors.seek(0)
                    last = (errors.read().strip().splitlines() or [""])[-1]
                    failed = f"exit status {status}: {last[:200]}"
            except subprocess.TimeoutExpired:
                failed = f"no end within the {seconds:.0f} s that were left"
            finally:
                end(process)
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    rows = [Row(**json.loads(line)) for line in lines]
    return Done(bench, rows, failed, time.monotonic() - began)


def end(process: subprocess.Popen[bytes]) -> None:
    """End what a benchmark has started, if it is still there."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def page(done: list[Done], waiting: list[Bench], head: list[str], quick: bool) -> str:
    """The page: head, table, and what each row is."""
    lines = [
        "# Performance",
        "",
        "`make bench` wrote this page (benchmarks/bench.py). A number is a median [quartiles] "
        "over n; a ratio is of what was taken in turn in one run. Numbers in ms, s or % stand "
        "only where the goal is one, or nothing is there to compare with; rows that miss their "
        "goal stay.",
        "",
    ]
    lines += [
        "**These are the smallest numbers, to see whether all runs; they say nothing.**",
        "",
    ] * quick
    lines += [*head, "", "| what | result | n | goal | |", "|---|---|---|---|---|"]
    for one in done:
        for row in one.rows:
            met = "**missed**" if row.missed else "met" if row.goal is not None else ""
            lines.append(f"| {row.what} | {row.result} | {row.n} | {row.aim} | {met} |")
        if one.failed:
            why = one.failed.replace("|", "/")
            lines.append(f"| {one.bench.name} | **failed**: {why} | | | |")
    lines += [f"| {bench.name} | not run | | | |" for bench in waiting]
    lines += ["", "## What the rows are", ""]
    seconds = {one.bench.name: one.seconds for one in done}
    for bench in BENCHES:
        took = f" ({seconds[bench.name]:.0f} s)" if bench.name in seconds else ""
        lines += [f"`python benchmarks/{bench.words}`{took}", "", bench.doc, ""]
    return "\n".join(lines).rstrip() + "\n"


def machine() -> list[str]:
    """On what, with what, when."""
    here = provenance()
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line),
        "unknown processor",
    )
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return [
        f"- machine: {model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB; load "
        f"{os.getloadavg()[0]:.1f} at the start",
        f"- versions: Python {here['python_version']}, {packages}",
        f"- commit: {here['commit']}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    ]


def _lines(file: str) -> list[str]:
    return Path(file).read_text(encoding="utf-8").splitlines() if Path(file).exists() else []


def main() -> int:
    """Run them; the status is 1 if one failed, or was not run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--only", nargs="+", choices=[b.name for b in BENCHES])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends, too
    benches = [b for b in BENCHES if not given.only or b.name in given.only]
    until, head = time.monotonic() + 60 * given.minutes, machine()
    done: list[Done] = []
    for bench in benches:
        words, left = bench.quick if given.quick else bench.words, until - time.monotonic()
        if left < ENOUGH:
            print(f"{bench.name}: no time is left", flush=True)
            continue
        done.append(take(bench, words, left))
        if done[-1].failed:
            print(f"{bench.name} failed: {done[-1].failed}", flush=True)
        waiting = [b for b in BENCHES if b not in [one.bench for one in done]]
        took = [f"- took {sum(one.seconds for one in done) / 60:.1f} minutes"]
        given.page.write_text(page(done, waiting, head + took, given.quick), encoding="utf-8")
    return int(len(done) < len(benches) or any(one.failed for one in done))


if __name__ == "__main__":
    sys.exit(main())
