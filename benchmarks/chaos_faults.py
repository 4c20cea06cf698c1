"""Whom `chaos.py` kills, when, and what a killed study leaves on the machine."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

MARK = "CHAOS"  # variable of the environment that all processes of a study, or of a cluster, have
# What is half written, and seconds that writing it takes about.
IN = {"checkpoint": ("checkpoints-*/*/.*/*", 0.01), "Parquet file": ("*.tmp", 0.001)}
TITLES = {
    "worker": r"backends\.(ray\.process|processes) |ray::RayTrainWorker",
    "Tune actor": r"ray::WarmTrainable",
    "Train controller": r"ray::TrainController",
    "raylet": r"/raylet/raylet ",
    "GCS": r"/gcs_server ",
    "dashboard agent": r"dashboard/agent\.py|ray::DashboardAgent",
    "runtime-env agent": r"runtime_env/agent/main|ray::RuntimeEnvAgent",
}
ANY = tuple(kind for kind in TITLES if kind != "Train controller")
STAYS = (
    r"ray::IDLE|ray::\w*Agent|/agent|/raylet |/gcs_server |/dashboard/|ray-dashboard|_private/|"
    r"multiprocessing|ray::TrainStateActor|ray::_AutoscalingCoordinatorActor"
)
DEAD = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def title(process: psutil.Process) -> str:
    """The command line of a process; "" once it is gone."""
    try:
        return "" if process.status() in DEAD else " ".join(process.cmdline()) + " "
    except psutil.Error:
        return ""


def below(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    """These processes and all that descend from them, the dead ones left out."""
    found = set()
    for process in processes:
        with suppress(psutil.Error):
            found |= {process, *process.children(recursive=True)}
    return {process for process in found if title(process)}


def marked(mark: str) -> set[psutil.Process]:
    """The processes with that mark in their environment, and what descends from them."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, ValueError):
            if process.environ().get(MARK) == mark:
                found.add(process)
    return below(found)


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill -9 all of them, one right after the other."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def named(kind: str, family: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The processes of a kind, in the order in which they began."""
    found = [p for p in family if re.search(TITLES[kind], title(p))]
    return sorted(found, key=lambda p: p.pid)


def node_of(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    """All processes of the node on which the slot is."""
    family = list(processes)
    for actor in named("Tune actor", family):
        with suppress(psutil.Error):
            for parent in actor.parents():
                if re.search(TITLES["raylet"], title(parent)):
                    return below([parent])
    return set()


def frozen(
    folder: Path, what: str, writers: Iterable[psutil.Process], dice: random.Random
) -> int | None:
    """Stop these processes in the middle of writing such a file; None if none is being written.

    Returns:
        How many bytes of it are written.
    """
    pattern, lasts = IN[what]
    for path in folder.glob(pattern):
        time.sleep(dice.choice((0, dice.uniform(0, lasts))))
        with suppress(psutil.Error, OSError):
            for process in writers:
                process.send_signal(signal.SIGSTOP)
            for process in writers:
                while process.status() not in (psutil.STATUS_STOPPED, *DEAD):
                    time.sleep(0.0005)
            if path.exists():
                return path.stat().st_size
        for process in writers:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)
    return None


class Nodes:
    """Ray's own cluster for tests: a head without CPUs and worker nodes, on this machine."""

    def __init__(self, folder: Path, count: int = 2, cpus: int = 2, **more: Any) -> None:
        self._mark, self._count = str(folder / "cluster"), count
        self._node = {"num_cpus": cpus, **more}
        self._cluster: Any = None

    @property
    def address(self) -> str:
        """Of the head; whatever is missing of the cluster is started before."""
        with environment({MARK: self._mark, "RAY_TMPDIR": str(Path(self._mark).parent)}):
            from ray.cluster_utils import Cluster

            if self._cluster is None:
                with socket.create_server(("127.0.0.1", 0)) as free:
                    port = free.getsockname()[1]  # another Ray here may have the usual one
                head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": port}
                self._cluster = Cluster(initialize_head=True, head_node_args=head)
            alive = {p.pid for p in named("raylet", marked(self._mark))}
            for node in list(self._cluster.worker_nodes):
                if node.all_processes["raylet"][0].process.pid not in alive:
                    self._cluster.remove_node(node, allow_graceful=False)
            while len(self._cluster.worker_nodes) < self._count:
                self._cluster.add_node(**self._node)
        return str(self._cluster.address)

    def take(self, count: int, dice: random.Random) -> None:
        """Take so many worker nodes away, any of them, at once and without a word."""
        for node in dice.sample(list(self._cluster.worker_nodes), count):
            self._cluster.remove_node(node, allow_graceful=False)

    def family(self) -> set[psutil.Process]:
        """Its processes."""
        return marked(self._mark) if self._cluster is not None else set()

    def head(self) -> set[psutil.Process]:
        """The processes of its head node; this process knows it no longer."""
        self._cluster.global_state.disconnect()
        every = self._cluster.head_node.all_processes.values()
        return below(psutil.Process(info.process.pid) for infos in every for info in infos)

    def taken(self) -> list[str]:
        """What is still reserved, and which processes of a study still run, after some seconds."""
        state, deadline = self._cluster.global_state, time.monotonic() + 10
        while True:
            groups = state.placement_group_table().values()
            said = [f"group {g['placement_group_id']}" for g in groups if g["state"] != "REMOVED"]
            total, free = state.cluster_resources(), state.available_resources()
            missing = {k: total[k] - free.get(k, 0) for k in ("CPU",) if total.get(k)}
            said += [f"{count:g} {name}" for name, count in missing.items() if count > 1e-6]
            said += [t[:80] for p in self.family() if (t := title(p)) and not re.search(STAYS, t)]
            if not said or time.monotonic() > deadline:
                return said
            time.sleep(0.5)

    def end(self) -> None:
        """End all of it, also what did not start as a whole; the next use starts another."""
        kill(marked(self._mark))
        if self._cluster is not None:
            for node in self._cluster.list_all_nodes():  # its shutdown() would ask the dead head
                node.kill_all_processes(check_alive=False, allow_graceful=False)
            self._cluster = None


@contextmanager
def environment(more: dict[str, str]) -> Iterator[None]:
    """Have these variables for a while."""
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
