"""A study on many nodes, half of which are taken away while it runs.

    python benchmarks/many_nodes.py [--nodes 20] [--slots 5] [--trials 800] [--taken 10]

The nodes are Ray's own for tests (``ray.cluster_utils.Cluster``), all on this machine, each of
``--slots`` CPUs; the study (``benchmarks/sleeping.py``) waits and computes nothing. When half of
its trials have ended, ``--taken`` nodes are killed. All rows are compared with those of the same
study on one local process. The Tune actors wait themselves: with a process beside each of 100
actors, 24 GB of memory did not suffice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import chaos_faults as faults
import psutil

from srsgd_ray.results import read_record

SCRIPT = Path(__file__).with_name("sleeping.py")
END, ROW = b'"event": "end"', b'"event": "epoch"'
STUCK = 900.0  # seconds without a new event
# Ray takes a worker that needs more than 60 s to start for lost, and starts another: with more
# nodes than cores none would ever be there.
PATIENT = {
    "RAY_worker_register_timeout_seconds": "900",
    "RAY_worker_maximum_startup_concurrency": "1",
    "RAY_enable_worker_prestart": "0",
}


def study(
    folder: Path, name: str, given: argparse.Namespace, seconds: float, *more: str
) -> list[str]:
    """The command of the study."""
    return [
        sys.executable, str(SCRIPT), "actor", "--results", str(folder), "--name", name,
        "--no-figures", "--trials", str(given.trials), "--epochs", str(given.epochs),
        "--set", f"seconds={seconds}", *more,
    ]  # fmt: skip


def rows(folder: Path) -> dict[str, Any]:
    """What each trial reported and how it ended."""
    return {
        t.trial: ([(r["epoch"], r["value"]) for r in t.rows], t.state)
        for t in read_record(folder).trials.values()
    }


class Watch:
    """Counts what a record holds."""

    def __init__(self, record: Path) -> None:
        self.record, self.place, self.counts = record, 0, {END: 0, ROW: 0}

    def look(self) -> dict[bytes, int]:
        """Events so far, by kind."""
        if self.record.exists():
            with self.record.open("rb") as file:
                file.seek(self.place)
                text = file.read()
            text = text[: text.rfind(b"\n") + 1]
            self.place += len(text)
            for kind in self.counts:
                self.counts[kind] += text.count(kind)
        return self.counts

    def until_all(self, slots: int, seconds: float, driver: psutil.Popen) -> None:
        """Wait until nearly each slot has ended a trial within the time that one takes."""
        while driver.poll() is None:
            events = [json.loads(line) for line in self.record.read_text("utf-8").splitlines()[:-1]]
            recent = [e["at"] > time.time() - 1.1 * seconds for e in events if e["event"] == "end"]
            if sum(recent) >= 0.98 * slots:
                return
            time.sleep(1)
            self.look()

    def until(self, kind: bytes, count: int, driver: psutil.Popen) -> float:
        """Wait for so many events; the longest silence until then, in seconds."""
        longest, heard, before = 0.0, time.monotonic(), sum(self.counts.values())
        while self.look()[kind] < count and driver.poll() is None:
            time.sleep(0.05)
            now = sum(self.counts.values())
            if now != before:
                heard, before = time.monotonic(), now
            longest = max(longest, time.monotonic() - heard)
            if longest > STUCK:
                raise TimeoutError(f"no event for {STUCK:g} s")
        return longest


def main() -> None:
    """Start the nodes and the study, take nodes away, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--slots", type=int, default=5, help="a node")
    parser.add_argument("--trials", type=int, default=800)
    parser.add_argument("--taken", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.5, help="an epoch")
    parser.add_argument("--epochs", type=int, default=4, help="a trial")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="many-", dir="/tmp"))
    slots = given.nodes * given.slots
    subprocess.run(study(folder, "alone", given, 0, "--backend", "local"), check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    cluster = faults.Nodes(folder, given.nodes, given.slots, object_store_memory=80_000_000)
    began = time.monotonic()
    try:
        with faults.environment(PATIENT):
            address = cluster.address
        print(f"{given.nodes} nodes after {time.monotonic() - began:.0f} s", flush=True)
        driver = psutil.Popen(
            study(folder, "many", given, given.seconds, "--backend", "ray",
                  "--address", address, "--slots", str(slots)),
            stdout=(folder / "out").open("wb"), stderr=subprocess.STDOUT,
            env={**os.environ, "RAY_TMPDIR": str(folder)},
        )  # fmt: skip
        run(folder, driver, cluster, given, slots)
        left = cluster.taken()
        print("left over:", left or "nothing")
    finally:
        cluster.end()
    same = rows(folder / "alone") == rows(folder / "many")
    print("rows equal to those of one local process:", "yes" if same else f"NO, see {folder}")


def run(
    folder: Path, driver: psutil.Popen, cluster: faults.Nodes, given: argparse.Namespace, slots: int
) -> None:
    """Watch the study, and take nodes away in its middle."""
    watch, began = Watch(folder / "many" / "record.jsonl"), time.monotonic()
    watch.until(ROW, 1, driver)
    print(f"first row after {time.monotonic() - began:.0f} s", flush=True)
    watch.until_all(slots, given.epochs * given.seconds, driver)
    print(f"every slot is there after {time.monotonic() - began:.0f} s", flush=True)
    watch.look()
    since, ended, cpu = time.monotonic(), watch.counts[END], driver.cpu_times()
    watch.until(END, max(ended + slots, given.trials // 2), driver)
    took, used = time.monotonic() - since, driver.cpu_times()
    count = watch.counts[END] - ended
    ideal = count * given.epochs * given.seconds / slots
    spent = used.user + used.system - cpu.user - cpu.system
    memory = psutil.virtual_memory()
    print(
        f"{count} trials in {took:.1f} s, ideally {ideal:.1f}; driver {spent / took:.0%} of a "
        f"core, {1000 * spent / max(1, count):.0f} ms a trial; memory {memory.used / 1e9:.1f} GB"
    )
    cluster.take(given.taken, random.Random(0))
    silence = watch.until(END, given.trials, driver)
    status = driver.wait()
    print(f"{given.taken} nodes taken: exit status {status}, longest silence {silence:.1f} s, "
          f"{time.monotonic() - began:.0f} s in all", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
