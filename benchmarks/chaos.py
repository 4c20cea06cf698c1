"""Kills -9 at random moments of a small study, and whether what is left in the end is all of it.

    python benchmarks/chaos.py --kills 20 --seed 0
    python benchmarks/chaos.py --kills 7 --seed 0 --backend ray

Each kill has a study of its own: ten trials of four epochs, a checkpoint after each, on one slot or
two. The victim is found by whose child it is, the moment is drawn: after so many events of the
record, and a part of an epoch's time. The study is resumed until it is finished, and its rows are
compared with those of a study that nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from optuna.distributions import FloatDistribution

from srsgd_ray.knobs import knob
from srsgd_ray.results import read_epochs, read_record
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study import Arm, Study, launch
from srsgd_ray.trainable import Metric, Run, as_trainable

EPOCHS, EPOCH_S = 4, 0.1
TIMES = {"train_seconds", "time"}
LOCAL = ("driver", "worker", "driver in a resume", "worker, then driver")
RAY = ("driver", "Tune actor", "worker", "GCS", "raylet", "dashboard agent", "runtime-env agent")
MARKS = {
    "GCS": "gcs_server", "raylet": "/raylet", "dashboard agent": "dashboard/agent.py",
         "runtime-env agent": "runtime_env/agent/main", "worker": "backends.ray.process",
}  # fmt: skip
HEADS = (
    "slots", "victim", "tried", "survived", "lost", "doubled", "stuck", "next event s", "left over",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """A walk that goes where its random numbers lead."""

    x: float = knob(0.5, "size of a step")
    epochs: int = knob(EPOCHS, "reports", "epochs")


class Walk:
    """A place that depends on every step so far, and a load, so that storing it takes a while."""

    def __init__(self) -> None:
        self.at, self.load = 0.0, list(range(100_000))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        vars(self).update(state)


@as_trainable(metrics=(Metric("far", better="higher", split="validation"),
                       Metric("test_far", better="higher", split="test")))  # fmt: skip
def walk(config: Config, run: Run) -> None:
    """Walk on; the generator's state is in the checkpoint, as an image study's is."""
    place = Walk()
    for epoch in range(run.resume(place=place), config.epochs):
        time.sleep(EPOCH_S)
        place.at += config.x * random.random()
        final = place.at if run.final and epoch + 1 == config.epochs else None
        run.report(far=place.at, test_far=final)


STEPS = SearchSpace("x", "?", {"x": FloatDistribution(0.1, 1.0)}, {"x": (0.2, 0.5, 0.9)})
STUDY = Study(
    name="chaos", question="Does a study survive this?", trainable=walk, baseline="b", trials=3,
    arms=(Arm("a", STEPS), Arm("b", STEPS)), confirm_seeds=2,
)  # fmt: skip


@dataclass
class Campaign:
    """Studies in one folder, on one backend, and what they should have come to."""

    folder: Path
    backend: str
    slots: int
    patience: float  # seconds without an event after which a study counts as stuck

    def __post_init__(self) -> None:
        self.seen: set[psutil.Process] = set()  # every process that our drivers had
        began = time.monotonic()
        self.finish("whole", self.start("whole"))
        self.seconds = time.monotonic() - began
        self.whole, self.events = self.rows("whole"), len(self.lines("whole"))

    def start(self, name: str, *more: str) -> psutil.Popen:
        """A driver, as a user starts it."""
        # With several slots a search asks in another order: a grid is the same in any.
        chosen = ["--searcher", "tpe" if self.slots == 1 else "grid", "--slots", str(self.slots)]
        words = ["--backend", self.backend, "--results", str(self.folder), "--name", name]
        with (self.folder / f"{name}.out").open("ab") as out:
            command = [sys.executable, __file__, "drive", *words, *chosen, "--no-figures", *more]
            return psutil.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def lines(self, name: str) -> list[bytes]:
        """The whole lines of a study's record."""
        path = self.folder / name / "record.jsonl"
        text = path.read_bytes() if path.exists() else b""
        return text[: text.rfind(b"\n") + 1].splitlines()

    def rows(self, name: str) -> dict[str, Any]:
        """What each trial reported, and how it ended, without what a clock says."""
        return {
            t.trial: ([{k: v for k, v in r.items() if k not in TIMES} for r in t.rows], t.state)
            for t in read_record(self.folder / name).trials.values()
        }

    def watch(self, name: str, driver: psutil.Popen, until: Callable[[int], bool]) -> bool:
        """Wait until so many events are there; False if the driver ended first.

        Raises:
            TimeoutError: if nothing happens for too long.
        """
        count, heard = len(self.lines(name)), time.monotonic()
        while not until(count):
            if driver.poll() is not None:
                return False
            self.look(driver)
            time.sleep(0.05)
            if (now := len(self.lines(name))) != count:
                count, heard = now, time.monotonic()
            elif time.monotonic() - heard > self.patience:
                raise TimeoutError(f"no event for {self.patience:g} s after {count}")
        return True

    def look(self, driver: psutil.Popen) -> list[psutil.Process]:
        """The processes that descend from a driver."""
        try:
            found = driver.children(recursive=True)
        except psutil.Error:
            found = []
        self.seen.update(found)
        return list(found)

    def victim(self, kind: str, driver: psutil.Popen, dice: random.Random) -> psutil.Process | None:
        """A process of that kind among a driver's own; None if there is none at the moment."""
        if kind == "driver":
            return driver
        found = []
        for process in self.look(driver):
            try:
                words = " ".join(process.cmdline())
                mark = MARKS["worker" if kind == "Tune actor" else kind]
                if self.backend == "local":
                    mark = "multiprocessing.spawn"
                if mark in words:
                    found.append(process.parent() if kind == "Tune actor" else process)
            except psutil.Error:
                continue
        return dice.choice(found) if found else None

    def finish(self, name: str, driver: psutil.Popen) -> None:
        """Wait for a driver, and resume what it leaves until the study is finished."""
        for _ in range(6):
            self.watch(name, driver, lambda _: False)
            if driver.wait() == 0:
                return
            begun = (self.folder / name / "record.jsonl").exists()
            driver = self.start(name, *["--resume"] * begun)
        raise TimeoutError(f"not finished after 6 resumes, the last with {driver.returncode}")

    def kill(self, name: str, kind: str, dice: random.Random) -> dict[str, Any]:
        """One study with one kill, or two; what came of it."""
        first, *second = [part.strip() for part in kind.split(", then ")]
        victim, told = first.removesuffix(" in a resume"), {}
        driver, ended = self.start(name), 0.0
        try:
            at = dice.randrange(2, self.events - 6)
            self.watch(name, driver, lambda count: count >= at)
            time.sleep(dice.uniform(0, 1.5 * EPOCH_S))
            if first.endswith("in a resume"):
                driver.kill()
                driver.wait()
                driver = self.start(name, "--resume")
                more = len(self.lines(name)) + dice.randrange(3)
                self.watch(name, driver, lambda count: count >= more)
                time.sleep(dice.uniform(0, 1.5 * EPOCH_S))
            while (process := self.victim(victim, driver, dice)) is None:
                if driver.poll() is not None:
                    return {"missed": True}
                time.sleep(0.05)
            self.look(driver)
            told = {k: rows for k, (rows, _) in self.rows(name).items()}
            ended, had = time.monotonic(), len(self.lines(name))
            process.kill()
            for _ in second:
                time.sleep(dice.uniform(0, 1))
                driver.kill()
            # What a driver still writes on its way out is no recovery.
            if victim == "driver" or second or not self.watch(name, driver, lambda n: n > had):
                driver.wait()
                had = len(self.lines(name))
                driver = self.start(name, "--resume")
                self.watch(name, driver, lambda n: n > had + 1)
            recovered = time.monotonic() - ended
            self.finish(name, driver)
        except TimeoutError as error:
            print(f"{name}, {kind}: stuck, {error}", file=sys.stderr)
            for process in [*self.look(driver), driver]:
                process.kill()
            return {"stuck": True, "left": self.left()}
        return {**self.compared(name, told), "recovered": recovered, "left": self.left()}

    def compared(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        """What the finished study lacks of the undisturbed one, has twice, or has otherwise."""
        now, events = self.rows(name), [json.loads(line) for line in self.lines(name)]
        kept = all(now[t][0][: len(rows)] == rows for t, rows in told.items() if t in now)
        whole = {(t, r["epoch"]) for t, (rows, _) in self.whole.items() for r in rows}
        there = Counter((e["trial"], e["epoch"]) for e in events if e["event"] == "epoch")
        table = read_epochs(self.folder / name)
        alike = now == self.whole and kept and len(table) == len(whole)
        doubled = sum(there.values()) - len(there) + int(table.duplicated(["trial", "epoch"]).sum())
        return {"lost": len(whole - set(there)), "doubled": doubled, "other": not alike}

    def left(self) -> int:
        """Processes of ended drivers that are there some seconds later; they are ended then."""
        alive = [p for p in self.seen if p.is_running()]
        _, alive = psutil.wait_procs(alive, timeout=8)
        for process in alive:
            print("left over:", process.pid, process.cmdline()[:4], file=sys.stderr)
            process.kill()
        self.seen.clear()
        return len(alive)


def conduct(
    folder: Path, backend: str, slots: int, kinds: Sequence[str], dice: random.Random
) -> list[tuple[Any, ...]]:
    """Kill once for each of ``kinds``; a row of the table for each kind of victim."""
    campaign = Campaign(folder, backend, slots, 60.0 if backend == "local" else 180.0)
    found: dict[str, list[dict[str, Any]]] = {}
    for number, kind in enumerate(kinds):
        done = campaign.kill(f"k{number:03d}", kind, dice)
        print(f"{slots} slots, {kind}: {done}", file=sys.stderr, flush=True)
        found.setdefault(kind, []).append(done)
    table = []
    for kind, each in found.items():
        sound = sum(
            "recovered" in d and not (d["lost"] or d["doubled"] or d["other"]) for d in each
        )
        took = sorted(d["recovered"] for d in each if "recovered" in d)
        times = f"{took[len(took) // 2]:.1f} ({took[-1]:.1f})" if took else "-"
        sums = [sum(int(d.get(key, 0)) for d in each) for key in ("lost", "doubled", "stuck")]
        tried = sum("missed" not in d for d in each)
        table.append((slots, kind, tried, sound, *sums, times, sum(d.get("left", 0) for d in each)))
    return table


def main() -> None:
    if sys.argv[1:2] == ["drive"]:
        sys.exit(launch(STUDY, sys.argv[2:], command=["python", __file__, "drive"]))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=("local", "ray"), default="local")
    given = parser.parse_args()
    dice, table = random.Random(given.seed), []
    parts = {1: RAY} if given.backend == "ray" else {1: (LOCAL[0], LOCAL[2]), 2: LOCAL}
    for slots, kinds in parts.items():
        many = given.kills // len(parts) + (slots == 1) * (given.kills % len(parts))
        with tempfile.TemporaryDirectory() as folder:
            chosen = [kinds[n % len(kinds)] for n in range(many)]
            table += conduct(Path(folder), given.backend, slots, chosen, dice)
    print("| " + " | ".join(HEADS) + " |\n|" + "---|" * len(HEADS))
    for row in table:
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
