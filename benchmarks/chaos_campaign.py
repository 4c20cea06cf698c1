"""One study after the other that `chaos.py` kills, and whether all of it is there in the end."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import chaos_faults as faults
import psutil
from chaos_cases import CHECKPOINT, LINE, TABLE, Case
from chaos_study import TEAR

from srsgd_ray.results import read_epochs, read_record

WAIT = 0.06  # seconds an epoch
TIMES = {"train_seconds", "time"}
WORKERS = "all workers"
SCRIPT = str(Path(__file__).with_name("chaos_study.py"))


@dataclass
class Campaign:
    """Studies in one folder, and what they should have come to."""

    folder: Path
    settings: dict[str, tuple[str, Sequence[str]]]
    wait: float = WAIT
    patience: float = 0.0  # seconds without an event that are no standstill, if more than usual

    def __post_init__(self) -> None:
        self.nodes = faults.Nodes(self.folder)
        # Of an undisturbed local study, by whether it is a grid: its rows and its files.
        self.whole: dict[bool, tuple[dict[str, Any], set[str]]] = {}
        self.seen: set[psutil.Process] = set()  # processes of the study that is being killed
        for setting, (backend, _) in self.settings.items():
            if backend == "local":
                name = f"whole-{len(self.whole)}"
                self.finish(name, setting, self.start(name, setting))
                self.whole[self.grid(setting)] = self.rows(name), self.files_of(name)
        self.events = len(self.lines("whole-0"))

    def grid(self, setting: str) -> bool:
        """Whether its search is a grid: several slots ask another one in another order."""
        return "grid" in self.settings[setting][1]

    def start(self, name: str, setting: str, *more: str, tear: int = 0) -> Any:
        """A driver, as a user starts it."""
        own = {TEAR: str(tear)} if tear else {}
        return self.typed(name, [sys.executable, SCRIPT, *self.words(name, setting), *more], own)

    def typed(self, name: str, command: Sequence[str], more: Mapping[str, str]) -> Any:
        """A command of a study, with more in its environment."""
        own = {faults.MARK: str(self.folder / name), "RAY_TMPDIR": str(self.folder)}
        own |= {"TMPDIR": str(self.folder / "tmp"), **more}
        (self.folder / "tmp").mkdir(exist_ok=True)
        with (self.folder / f"{name}.out").open("ab") as out:
            return psutil.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=os.environ | own
            )

    def words(self, name: str, setting: str) -> list[str]:
        """The options of a driver."""
        backend, words = self.settings[setting]
        where = ["--backend", backend, "--results", str(self.folder), "--name", name]
        where += ["--address", self.nodes.address] if setting.startswith("cluster") else []
        return [*where, *words, "--no-figures", "--set", f"wait={self.wait}"]

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

    def files_of(self, name: str) -> set[str]:
        """The files of a study, and those for a moment, but for what Ray and wandb leave."""
        own, tmp = self.folder / name, self.folder / "tmp"
        brief = {p.name for p in tmp.iterdir() if not re.search("^pymp-|wandb-", p.name)}
        return {str(p.relative_to(own)) for p in own.rglob("*")} | brief

    def family(self, name: str, driver: Any) -> set[psutil.Process]:
        """All processes of a study, Ray's among them."""
        self.seen |= faults.marked(str(self.folder / name)) | faults.below([driver])
        return {p for p in self.seen if faults.title(p)} | self.nodes.family()

    def watch(
        self, name: str, setting: str, driver: Any, until: Callable[[int], bool], nap: float = 0.02
    ) -> bool:
        """Wait until so many events are there; False if the driver ended first.

        Raises:
            TimeoutError: if nothing happens for too long.
        """
        calm = max(self.patience, 60 if self.settings[setting][0] == "local" else 300)
        count, heard = len(self.lines(name)), time.monotonic()
        while not until(count):
            if driver.poll() is not None:
                return False
            time.sleep(nap)
            if (now := len(self.lines(name))) != count:
                count, heard = now, time.monotonic()
                continue
            # A process that gets a fiftieth of a core takes a minute and more to import torch.
            patience = calm * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
            if time.monotonic() - heard > patience:
                raise TimeoutError(f"no event for {patience:.0f} s after {count}")
        return True

    def resumed(self, name: str, setting: str, **more: int) -> Any:
        """A driver that goes on."""
        begun = (self.folder / name / "record.jsonl").exists()
        return self.start(name, setting, *["--resume"] * begun, **more)

    def finish(self, name: str, setting: str, driver: Any) -> None:
        """Wait for a driver, and resume what it leaves until the study is finished."""
        for _ in range(6):
            self.watch(name, setting, driver, lambda _: False, 0.1)
            if driver.wait() == 0:
                return
            driver = self.resumed(name, setting)
        raise TimeoutError("not finished after 6 resumes")

    def end(self) -> None:
        """End all processes of the study and of the cluster."""
        faults.kill(p for p in self.seen if faults.title(p))
        self.nodes.end()

    def attack(self, name: str, case: Case, dice: random.Random) -> dict[str, Any]:
        """A study with one kill, or several one after the other; what came of it."""
        setting, *kinds = case
        self.seen.clear()
        driver: Any = None
        done: dict[str, Any] = {"told": {}, "wrong": []}
        try:
            for number, kind in enumerate(kinds):
                most = self.events // 2 if TABLE in kind or kinds[1:] else self.events - 8
                at = dice.randrange(2, most) if number == 0 else dice.randrange(3, 9)
                tear = at if kind == LINE else 0
                if driver is None or driver.poll() is not None:
                    at += len(self.lines(name))
                    driver = self.resumed(name, setting, tear=tear)
                if not self.strike(name, setting, driver, kind, at, dice, done):
                    return {"missed": True}
            self.finish(name, setting, driver)
        except TimeoutError as error:
            print(f"{name}, {case}: stuck, {error}", file=sys.stderr)
            faults.kill(self.family(name, driver) - self.nodes.family())
            driver.wait()
            if setting.startswith("cluster"):
                self.nodes.end()
            return {**done, "stuck": True}
        return {**done, **self.compared(name, setting, done)}

    def strike(
        self, name: str, setting: str, driver: Any, kind: str, at: int, dice: random.Random,
        done: dict[str, Any],
    ) -> bool:  # fmt: skip
        """Kill ``kind`` after so many events; False if the driver ended before that."""
        folder = self.folder / name
        if kind != LINE and not self.watch(name, setting, driver, lambda count: count >= at):
            return False
        time.sleep(dice.uniform(0, 1.5 * self.wait))
        for number, victim in enumerate(kind.split(" + ")):
            victim = dice.choice(faults.ANY) if victim == "any" else victim
            time.sleep((0.5 if kind.endswith("agent") else dice.uniform(0, 1)) * (number > 0))
            found: set[psutil.Process] = set()
            writers, asked = found, 0.0
            while not found and driver.poll() is None:
                if kind == LINE:
                    time.sleep(0.02)  # it does it itself
                elif victim in (CHECKPOINT, TABLE):
                    if time.monotonic() - asked > 1:
                        alone = victim == TABLE or setting == "local"
                        writers = {driver} if alone else self.victims(name, driver, WORKERS, dice)
                        asked = time.monotonic()
                    size = faults.frozen(folder, victim.removeprefix("in a "), writers, dice)
                    found, done["bytes"] = writers if size is not None else found, size
                    time.sleep(0.0003)
                else:
                    found = self.victims(name, driver, victim, dice)
            if not found and kind != LINE and number == 0:
                return False
            self.family(name, driver)
            done["told"].update(self.rows(name))
            done["killed"] = time.time()
            faults.kill(found)
        dead = kind == LINE or driver.pid in {process.pid for process in found}
        if dead:
            driver.wait()
        if kind == LINE and (folder / "record.jsonl").read_bytes().endswith(b"\n"):
            return False
        if kind == "head node" and setting.startswith("cluster"):
            self.watch(name, setting, driver, lambda _: False)
            self.nodes.end()
        had = len(self.lines(name))
        if not dead and not self.watch(name, setting, driver, lambda n: n > had) and driver.wait():
            said = (self.folder / f"{name}.out").read_text(errors="replace")[-2000:]
            done["wrong"] += [] if "--resume" in said else [f"ended without a word: {said[-500:]}"]
        return True

    def victims(
        self, name: str, driver: Any, kind: str, dice: random.Random
    ) -> set[psutil.Process]:
        """Whom to kill; nobody if there is none of the kind at the moment."""
        if kind == "driver":
            return {driver}
        family = self.family(name, driver)
        if kind == "machine":
            return family
        if kind == "worker node":
            return faults.node_of(family)
        if kind == "head node":
            rest = {p for p in family if p.pid != driver.pid}
            return self.nodes.head() if self.nodes.family() else rest
        found = faults.named("worker" if kind == WORKERS else kind, family)
        return set(found) if kind == WORKERS or not found else {dice.choice(found)}

    def compared(self, name: str, setting: str, done: dict[str, Any]) -> dict[str, Any]:
        """What the finished study lacks of the undisturbed one, has twice, or has otherwise."""
        now, events = self.rows(name), [json.loads(line) for line in self.lines(name)]
        want, files = self.whole[self.grid(setting)]
        kept = all(now[t][0][: len(rows)] == rows for t, (rows, _) in done["told"].items())
        whole = {(t, r["epoch"]) for t, (rows, _) in want.items() for r in rows}
        epochs = [e for e in events if e["event"] == "epoch"]
        there = Counter((e["trial"], e["epoch"]) for e in epochs)
        table = read_epochs(self.folder / name)
        wrong = list(done["wrong"])
        wrong += ["other rows"] if now != want or len(table) != len(whole) else []
        wrong += [] if kept else ["rows that had been told are others"]
        doubled = sum(there.values()) - len(there) + int(table.duplicated(["trial", "epoch"]).sum())
        found = {"lost": len(whole - set(there)), "doubled": doubled, "wrong": wrong}
        took = self.silence(name, done["killed"])
        return {**found, "seconds": took, "left": self.left(name, setting, files)}

    def silence(self, name: str, since: float) -> float:
        """The most seconds from a time on between two epochs in a record."""
        events = map(json.loads, self.lines(name))
        times = [e["at"] for e in events if e["event"] == "epoch" and e["at"] > since]
        return float(round(max((b - a for a, b in pairwise([since, *times])), default=0.0), 1))

    def left(self, name: str, setting: str, files: set[str]) -> list[str]:
        """Processes, files and reservations that are there some seconds after a study's end."""
        _, alive = psutil.wait_procs([p for p in self.seen if faults.title(p)], timeout=10)
        own = {p for p in alive if faults.title(p)} - self.nodes.family()
        said = [f"process {p.pid} {faults.title(p)[:80]}" for p in own]
        faults.kill(own)
        said += [f"file {path}" for path in sorted(self.files_of(name) ^ files)]
        return said + (self.nodes.taken() if setting.startswith("cluster") else [])
