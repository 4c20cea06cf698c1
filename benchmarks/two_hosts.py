"""The whole life of a cluster of one's own, on two stand-in hosts of this machine.

    sudo .venv/bin/python benchmarks/two_hosts.py

A stand-in host is a network, process, mount and host-name namespace with an sshd of its own; its
file system is this machine's, under an overlay in memory: what a host writes, its installation
included, is its own and is gone afterwards. So the environment that runs this script is the hosts'
too, and `cluster-local.yaml`'s setup commands, which run as they stand, find the 5 GB installed
(pip is told to ask no index). A folder that both hosts mount stands for NFS.

Then, as docs/cluster.md has it: `ray up` twice, doctor, a study that is refused because its
checkpoints would lie on one host, a submitted study on both hosts that `ray job stop` stops, its
resume, `ray rsync-down`, `ray down` and `ray stop` on the worker. Each step is timed; the first
that fails ends the script with status 1 and the end of what was said. It needs root, unshare, ip,
rsync, OpenSSH, and some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
HOME, SHARED = "/home/stand-in", "/mnt/shared"  # on the hosts
NAMES = ("head", "worker")
NEEDED = ("unshare", "ip", "rsync", "ssh", "ssh-keygen", "sshd")
NODE = r"""
set -e
mount -t tmpfs tmpfs $SCRATCH; cd $SCRATCH
mkdir changed work root venv venv-work
mount -t overlay overlay -o lowerdir=/,upperdir=changed,workdir=work root
for place in /dev /sys; do mount --rbind $place root$place; done
mount -t proc proc root/proc
mount -t tmpfs -o mode=1777 tmpfs root/dev/shm
mkdir -p root$PREFIX root$BASE root$SHARED root$HOST_HOME root/run/sshd
mount --bind $BASE root$BASE
mount -t overlay overlay -o lowerdir=$PREFIX,upperdir=venv,workdir=venv-work root$PREFIX
mount --bind $MOUNTED root$SHARED
rm -rf root/tmp/ray
cp -r $FILES/. root$HOST_HOME
ln -s $PREFIX root$HOST_HOME/srsgd-ray-env
sed -i "s|^root:.*|root:x:0:0:root:$HOST_HOME:/bin/bash|" root/etc/passwd
hostname $NAME
ip link set lo up
until ip link show $LINK > /dev/null 2>&1; do sleep 0.05; done
ip addr add $ADDRESS/24 dev $LINK
ip link set $LINK up
ip route add default via $GATEWAY
exec chroot root $SSHD -D -e -f $HOST_HOME/sshd_config
"""
SSHD_CONFIG = f"""
Port 22
HostKey {HOME}/.ssh/host_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile none
"""
PIP = "[global]\nno-index = true\n"
# What environment.sh would note of the environment if it had made it.
DIGEST = (
    """bash --login -c 'eval "$(sed -n "/^folder=/,/^archive=/p" $0)"; echo $digest > $1/.digest'"""
    f" {ROOT}/environment.sh {HOME}/srsgd-ray-env"
)
STUDY = (
    "python studies/quickstart.py --address auto --slots 2 --cpus-per-worker 1 --no-figures "
    f"--name both --trials 4 --confirm-seeds 2 --results {HOME}/results"
)


SECRET = "nobody-may-read-this"  # in the nodes' environment
# Ray gives a node and its agents 30 s to come up, which is short where two share a busy machine.
BASHRC = (
    f"export AWS_SECRET_ACCESS_KEY={SECRET}"
    " RAY_raylet_start_wait_time_s=300 RAY_agent_register_timeout_ms=300000\n"
)
COMMIT = "git describe --always --abbrev=40 --exclude * --dirty=+dirty"


class Failed(Exception):
    """A step that did not do what it is for."""


def say(text: str) -> None:
    """Print it at once."""
    print(text, flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is done, and how long it took."""
    began = time.monotonic()
    yield
    say(f"{time.monotonic() - began:6.1f} s  {what}")


def until(seconds: float, ready: Callable[[], Any], what: str) -> Any:
    """Wait until ``ready`` gives something."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:g} s: {what}")
        time.sleep(0.5)
    return found


def space(process: int) -> str:
    """The process namespace that a process is in."""
    return str(Path(f"/proc/{process}/ns/pid").readlink())


class Hosts:
    """Two stand-in hosts, and the machine of somebody who uses them."""

    def __init__(self, scratch: Path, net: int) -> None:
        self.scratch, self.net = scratch, net
        self.bridge = f"srsgd{net}"
        self.started: list[subprocess.Popen[bytes]] = []
        self.spaces: dict[str, str] = {}  # the process namespace of each host
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "HOME": str(scratch / "client"),
            "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "token",
            "RAY_TMPDIR": str(scratch / "client"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_UP_enable_autoscaler_v2": "0",
        }

    def address(self, name: str) -> str:
        """Of a host, or of the client."""
        return f"10.213.{self.net}.{[*NAMES, 'client'].index(name) + 1}"

    def run(self, *words: str, seconds: float = 120, status: int | None = 0) -> str:
        """What a command says; raises Failed unless it ends with ``status`` in time."""
        try:
            done = subprocess.run(
                words, cwd=ROOT, env=self.environment, timeout=seconds, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            said = (late.output or b"").decode() if isinstance(late.output, bytes) else late.output
            raise Failed(f"{' '.join(words)}: not within {seconds:g} s\n{said}") from late
        if status is not None and done.returncode != status:
            raise Failed(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}")
        return done.stdout

    def on(self, name: str, command: str, **more: Any) -> str:
        """What a command says on a host, by ssh."""
        words = "ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        key = f"{self.environment['HOME']}/.ssh/id_ed25519"
        return self.run(*words.split(), "-i", key, f"root@{self.address(name)}", command, **more)

    def start(self) -> None:
        """Make the network, the keys and the hosts."""
        files = self.scratch / "files" / ".ssh"
        client = self.scratch / "client" / ".ssh"
        shared = self.scratch / "shared"
        for folder in (files, client, shared, files.parent / ".config" / "pip"):
            folder.mkdir(parents=True)
        for key in (client / "id_ed25519", files / "host_key"):
            self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        shutil.copy(client / "id_ed25519.pub", files / "authorized_keys")
        (files.parent / "sshd_config").write_text(SSHD_CONFIG)
        (files.parent / ".config" / "pip" / "pip.conf").write_text(PIP)
        (files.parent / ".bash_profile").write_text(". ~/.bashrc\n")
        (files.parent / ".bashrc").write_text(BASHRC)
        self.run("ip", "link", "add", self.bridge, "type", "bridge")
        self.run("ip", "addr", "add", f"{self.address('client')}/24", "dev", self.bridge)
        self.run("ip", "link", "set", self.bridge, "up")
        for name in NAMES:
            self._host(name)
        until(20, lambda: all(map(self._answers, NAMES)), "the hosts' ssh")
        for name in NAMES:
            self.on(name, DIGEST)

    def _answers(self, name: str) -> bool:
        return "ok" in self.on(name, "echo ok", status=None)

    def _host(self, name: str) -> None:
        place = self.scratch / name
        place.mkdir()
        link = f"{self.bridge}{name[0]}"
        given = {
            "PATH": os.environ["PATH"], "NAME": f"stand-in-{name}", "SCRATCH": str(place),
            "PREFIX": sys.prefix, "BASE": sys.base_prefix, "HOST_HOME": HOME, "SHARED": SHARED,
            "MOUNTED": str(self.scratch / "shared"), "FILES": str(self.scratch / "files"),
            "LINK": link, "ADDRESS": self.address(name), "GATEWAY": self.address("client"),
            "SSHD": str(shutil.which("sshd")),
        }  # fmt: skip
        words = "unshare --net --mount --pid --uts --fork --kill-child bash -c"
        with (self.scratch / f"{name}.log").open("wb") as log:
            host = subprocess.Popen([*words.split(), NODE], env=given, stdout=log, stderr=log)
        self.started.append(host)
        inside = until(10, lambda: psutil.Process(host.pid).children(), f"the namespace of {name}")
        self.spaces[name] = space(inside[0].pid)
        outer, inner = f"{link}o", link
        self.run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns",
                 str(inside[0].pid))  # fmt: skip
        self.run("ip", "link", "set", outer, "master", self.bridge, "up")

    def processes(self, name: str) -> list[str]:
        """What runs on a host, but for its sshd."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if space(process.pid) == self.spaces[name]:
                    found.append(" ".join(process.cmdline()))
        return [line for line in found if line and "sshd" not in line and "bash -c" not in line]

    def end(self) -> None:
        """End the hosts, whatever runs on them, and look whether anything is left."""
        for host in self.started:
            host.kill()
            host.wait()
        for link in (*(f"{self.bridge}{name[0]}o" for name in NAMES), self.bridge):
            subprocess.run(["ip", "link", "del", link], capture_output=True)
        until(20, lambda: not any(map(self.processes, self.spaces)), "the end of all processes")
        left = [line for line in Path("/proc/mounts").read_text().splitlines()
                if str(self.scratch) in line]  # fmt: skip
        links = self.run("ip", "-brief", "link", status=None)
        if left or self.bridge in links:
            raise Failed(f"left: {left}\n{links}")


class Act:
    """The life of a cluster, step by step."""

    def __init__(self, hosts: Hosts, keep: Path | None) -> None:
        self.hosts, self.keep = hosts, keep
        self.file = hosts.scratch / "cluster-local.yaml"
        self.jobs, self.commit = "", hosts.run(*COMMIT.split()).strip()
        self.known: dict[str, list[str]] = {}

    def whole(self) -> None:
        """All of it."""
        hosts = self.hosts
        text = (ROOT / "cluster-local.yaml").read_text(encoding="utf-8")
        for name, value in {
            "HEAD-ADDRESS": hosts.address("head"),
            "[WORKER-ADDRESS, ANOTHER-ADDRESS]": f"[{hosts.address('worker')}]",
            "YOUR-USER": "root",
            "~/.ssh/id_ed25519": f"{hosts.environment['HOME']}/.ssh/id_ed25519",
        }.items():
            if name not in text:
                raise Failed(f"cluster-local.yaml no longer has {name}")
            text = text.replace(name, value)
        self.file.write_text(text, encoding="utf-8")
        hosts.run("ray", "get-auth-token", "--generate")
        (hosts.scratch / "client" / ".ray" / "auth_token").chmod(0o600)
        for which in ("first", "second"):
            with step(f"ray up, the {which} time"):
                hosts.run("ray", "up", "--yes", str(self.file), seconds=600)
            with step("both hosts are in `ray status`"):
                until(400, self._both, "both hosts active")
        with step("srsgd-ray doctor on the head: both hosts write and read the shared folder"):
            ask = f"srsgd-ray doctor --address auto --storage {SHARED}/srsgd"
            said = hosts.run("ray", "exec", str(self.file), ask, status=None)
            if len(set(re.findall(r"stand-in-(head|worker) .*\n.*writes and reads", said))) != 2:
                raise Failed(said)
        with self._tunnel():
            self._study()
        with step("ray rsync-down"):
            fetched = hosts.scratch / "fetched"
            hosts.run("ray", "rsync-down", str(self.file), f"{HOME}/results/", f"{fetched}/")
        self._look(fetched)
        with step("ray down"):
            hosts.run("ray", "down", "--yes", str(self.file))
        with step("no process of Ray is left on the head"):
            until(60, lambda: not hosts.processes("head"), "end of Ray on the head")
        with step("ray stop on the worker, where `ray down` of provider local leaves Ray"):
            hosts.on("worker", f"{HOME}/srsgd-ray-env/bin/ray stop")
            until(60, lambda: not hosts.processes("worker"), "end of Ray on the worker")

    def _both(self) -> bool:
        said = self.hosts.run("ray", "exec", str(self.file), "ray status", status=None)
        return "2 local.cluster.node" in said or len(re.findall(r"1 .*node", said)) == 2

    @contextlib.contextmanager
    def _tunnel(self) -> Iterator[None]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = ["ray", "dashboard", str(self.file), "--port", str(port)]
        log = (self.hosts.scratch / "tunnel.log").open("wb")
        tunnel = subprocess.Popen(
            words, cwd=ROOT, env=self.hosts.environment, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.jobs = f"http://127.0.0.1:{port}"
        try:
            with step("ray dashboard: the tunnel is open"):
                until(60, self._open, "a tunnel")
            yield
        finally:
            os.killpg(tunnel.pid, signal.SIGTERM)
            tunnel.wait()

    def _open(self) -> bool:
        try:
            self._job("list")
        except Failed:
            return False
        return True

    def _job(self, *words: str, **more: Any) -> str:
        return self.hosts.run("ray", "job", words[0], "--address", self.jobs, *words[1:], **more)

    def _submit(self, name: str, command: str, *more: str) -> None:
        environment = json.dumps({"env_vars": {"SRSGD_RAY_COMMIT": self.commit}})
        self._job("submit", "--submission-id", name, "--no-wait", "--working-dir", ".",
                  "--runtime-env-json", environment, "--", *command.split(), *more)  # fmt: skip

    def _ended(self, name: str) -> str:
        """How a job ended."""

        def status() -> str:
            said = self._job("status", name)
            found = re.search(r"(SUCCEEDED|FAILED|STOPPED|succeeded|failed|stopped)", said)
            return found[1].upper() if found else ""

        return str(until(600, status, f"end of job {name}"))

    def _record(self) -> list[dict[str, Any]]:
        said = self.hosts.on("head", f"cat {HOME}/results/both/record.jsonl", status=None)
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    def _study(self) -> None:
        with step("a study whose checkpoints would lie on one host is refused"):
            self._submit("refused", STUDY)
            how, said = self._ended("refused"), self._job("logs", "refused")
            wrong = "--storage must be a folder or URI that every node uses"
            there = self.hosts.on("head", f"ls {HOME}/results", status=None)
            if how != "FAILED" or wrong not in said or "both" in there:
                raise Failed(f"{how}, results: {there}\n{said}")
            say("          " + next(line for line in said.splitlines() if wrong in line))
        with step("a job has a secret of the nodes' environment; job lists show env_vars, not it"):
            self._submit("secret", "printenv AWS_SECRET_ACCESS_KEY SRSGD_RAY_COMMIT")
            how, said = self._ended("secret"), self._job("logs", "secret")
            listed = self._job("list")
            if how != "SUCCEEDED" or SECRET not in said or self.commit not in said:
                raise Failed(f"{how}\n{said}")
            if SECRET in listed or self.commit not in listed:
                raise Failed(listed)
        storage = ("--storage", f"{SHARED}/srsgd")
        with step("ray job submit, until a trial of each host has ended and one is running"):
            self._submit("both", STUDY, *storage)
            until(600, self._halfway, "trials of both hosts")
        with step("ray job stop, and the record is closed"):
            self._job("stop", "both")
            if (how := self._ended("both")) != "STOPPED":
                raise Failed(how + "\n" + self._job("logs", "both"))
            self.known = rows(self._record())
        with step("ray job submit with --resume, to the end"):
            self._submit("both-2", STUDY, *storage, "--resume")
            if (how := self._ended("both-2")) != "SUCCEEDED":
                raise Failed(how + "\n" + self._job("logs", "both-2"))
            say("          " + self._job("logs", "both-2").strip().splitlines()[-1])

    def _halfway(self) -> bool:
        ended = {event["trial"]: event for event in self._record() if event.get("event") == "end"}
        begun = {event["trial"] for event in self._record() if event.get("event") == "epoch"}
        hosts = {event.get("host") for event in ended.values()}
        return len(hosts) == 2 and len(begun) > len(ended)

    def _look(self, fetched: Path) -> None:
        from srsgd_ray.results import read_trials

        with step("what was fetched: every trial, both hosts, no row changed by stop and resume"):
            trials = read_trials(fetched / "both")
            told = trials.groupby("host")["trial"].count().to_dict()
            lines = (fetched / "both" / "record.jsonl").read_text().splitlines()
            after = rows([json.loads(line) for line in lines])
            same = all(after[trial][: len(old)] == old for trial, old in self.known.items())
            good = (trials["state"] == "complete").all() and len(trials) == 12 and same
            commits = set(trials["commit"])
            files = [path for path in fetched.rglob("*") if path.is_file()]
            if commits != {self.commit}:
                raise Failed(f"the column commit has {commits} and not {self.commit}")
            if shown := [path for path in files if SECRET.encode() in path.read_bytes()]:
                raise Failed(f"the secret is in {shown}")
            if not good or set(told) != {f"stand-in-{name}" for name in NAMES}:
                raise Failed(f"{told}, rows kept: {same}\n{trials[['trial', 'state', 'host']]}")
            say(f"          trials by host: {told}")
        if self.keep is not None:
            shutil.copytree(fetched, self.keep, dirs_exist_ok=True)


def rows(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The rows of each trial in a record."""
    found: dict[str, list[str]] = {}
    for event in events:
        if event.get("event") == "epoch":
            found.setdefault(event["trial"], []).append(json.dumps(event, sort_keys=True))
    return found


def main() -> int:
    """The act; 1 if a step failed."""
    given = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    given.add_argument("--keep", type=Path, metavar="FOLDER", help="where fetched results stay")
    options = given.parse_args()
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if os.geteuid() or missing:
        print(f"two_hosts.py needs root{' and ' if missing else ''}{', '.join(missing)}; got user "
              f"{os.geteuid()}. Run it by sudo, with iproute2, rsync and openssh-server.",
              file=sys.stderr)  # fmt: skip
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scratch = Path(tempfile.mkdtemp(prefix="srsgd-hosts-"))
    hosts = Hosts(scratch, os.getpid() % 250)
    began, status = time.monotonic(), 1
    try:
        with step(f"two stand-in hosts; {sys.prefix} is theirs, under an overlay each"):
            hosts.start()
        Act(hosts, options.keep).whole()
        status = 0
    except Failed as failed:
        first, *lines = str(failed).splitlines()
        say("\n".join([f"FAILED: {first}", *lines[-30:]]))
    finally:
        try:
            with step("the hosts are gone: no process, no mount, no interface"):
                hosts.end()
        except Failed as failed:
            status = 1
            say(f"FAILED: {failed}")
        shutil.rmtree(scratch, ignore_errors=True)
    how = "FAILED" if status else "every step did what it is for"
    say(f"{time.monotonic() - began:6.1f} s in all: {how}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
