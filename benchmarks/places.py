"""Places that fail under a small study: does it say so once, go on or stop in order, and resume?

    python benchmarks/places.py --backend local
    python benchmarks/places.py --backend ray --only "a full"

Each act is a study of its own, that of `chaos.py` on one slot, under which something fails after
eight lines of its record. The place is mended, the command that the study printed is typed, and the
rows are compared with those of a local study that nobody disturbed.

Disks are tmpfs, or ext4 on a loop device, which turns read-only by an error of its own. They are
mounted in a mount namespace of this script, over /dev/shm too; that needs root. The bucket is
moto's, behind a proxy. The clock is `time.time` of all Python processes; that of Ray's C++ is true.
An act that needs what is not here is left out, and named.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import chaos_faults as faults
import psutil
from chaos_campaign import SCRIPT, Campaign
from chaos_cases import SETTINGS, in_markdown
from chaos_study import EAT
from slow_bucket import Bucket

from srsgd_ray.doctor import examined, study
from srsgd_ray.results import read_epochs, read_trials

AT = 8  # lines of the record after which a place fails
MOUNTS = "PLACES_MOUNTS"  # variable of the environment: this is a mount namespace of our own
JUMPING = """
import time
true = time.time
time.time = lambda: true() + float(open({ahead!r}).read() or 0)
"""  # libfaketime 0.9.10 breaks time.sleep, or locks, of Python 3.11
MESSAGE = rf"(?m)^python {re.escape(SCRIPT)}: |^Traceback| is gone: no answer"
HEADS = ("what", "seconds", "status", "messages", "how to resume", "resumed", "left over")


class Scene:
    """One act: a study, and the places that it needs."""

    def __init__(self, campaign: Campaign, backend: str, name: str, bucket: Bucket) -> None:
        self.campaign, self.name, self.bucket = campaign, name, bucket
        self.setting = {"local": "local", "ray": "Ray"}[backend]
        self.folder, self.storage = campaign.folder / name, campaign.folder / f"{name}-storage"
        self.driver: Any = None
        self.since = 0.0
        self.left: list[str] = []

    def start(self, *words: str, **own: str) -> None:
        """Start the study, with more words and variables."""
        more = self.campaign.words(self.name, self.setting)
        self.driver = self.campaign.typed(self.name, [sys.executable, SCRIPT, *more, *words], own)
        self.since = time.time()

    def begin(self, what: str = "", *words: str, **own: str) -> None:
        """Start the study, with a place for ``checkpoints`` if so, and wait until it is at work."""
        self.start(*["--storage", str(self.storage)] * (what == "checkpoints"), *words, **own)
        self.wait(AT)
        self.since = time.time()

    def place(self, what: str) -> Path:
        """Where results, or checkpoints, are."""
        return {"results": self.folder, "checkpoints": self.storage}[what]

    def wait(self, lines: int) -> None:
        """Wait for so many lines of the record.

        Raises:
            ValueError: if the study ends before.
        """
        there = self.campaign.watch(self.name, self.setting, self.driver, lambda n: n >= lines)
        if not there:
            raise ValueError(f"ended before line {lines}: {self.out()[-500:]}")

    def kill(self, kind: str = "driver") -> None:
        """Kill -9 the driver, or what is named so of its Ray."""
        family = self.campaign.family(self.name, self.driver)
        faults.kill([self.driver] if kind == "driver" else faults.named(kind, family))

    def out(self) -> str:
        """What the study has printed."""
        path = self.campaign.folder / f"{self.name}.out"
        return path.read_text(errors="replace") if path.exists() else ""

    @contextmanager
    def disk(self, place: Path, size: str = "64m", kind: str = "tmpfs") -> Iterator[Path]:
        """A small disk over a place: tmpfs, or one of ext4 whose errors make it read-only."""
        image = str(self.campaign.folder / f"{place.name}.image")
        if kind == "ext4":
            Path(image).touch()
            os.truncate(image, 64 << 20)
            typed("mkfs.ext4", "-q", image)
        place.mkdir(parents=True, exist_ok=True)
        options = {"tmpfs": f"size={size}", "ext4": "loop,errors=remount-ro"}[kind]
        try:
            typed("mount", "-t", kind, "-o", options, image, str(place))
            shutil.rmtree(place / "lost+found", ignore_errors=True)
            yield place
        finally:
            typed("umount", "-l", str(place))

    def finished(self) -> list[str]:
        """Resume by the command that was printed; what is then not as it should be."""
        said = re.findall(r"Stopped\. Resume.* with:\n  (.*)\n", self.out())
        command = (said or [f"python -m srsgd_ray resume {self.folder} --no-figures"])[-1]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.driver = self.campaign.typed(self.name, ["bash", "-c", command], {"PATH": path})
        self.campaign.finish(self.name, self.setting, self.driver)
        return self.wrong(self.name)

    def wrong(self, name: str) -> list[str]:
        """What is not as it should be of a finished study: rows, or what the doctor finds."""
        same = self.campaign.rows(name) == self.campaign.whole[False][0]
        looks = examined(study.looks(self.campaign.folder / name))
        found = [f"{each.what}: {each.value}" for each in looks if each.level != "ok"]
        return found + ["other rows"] * (not same)


def typed(*command: str) -> None:
    """Type a command."""
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """A disk without room."""
    path = disk / "fill"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    yield
    path.unlink()


# An act fails a place and yields; then it is mended and yields; then its disks go.
Act = Callable[[Scene], Iterator[None]]


def full(s: Scene, what: str) -> Iterator[None]:
    """A disk that fills."""
    with s.disk(s.place(what)) as disk:
        s.begin(what)
        with filled(disk):
            yield
        yield


def full_aside(s: Scene, what: str, before: bool) -> Iterator[None]:
    """A disk for temporary files, or for shared memory, that is full, before it starts or then."""
    place = Path("/dev/shm") if what == "shm" else s.campaign.folder / "t"
    own = {} if what == "shm" else {"TMPDIR": str(place), "RAY_TMPDIR": str(place)}
    own |= {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "100000000"}  # else as large as it can
    with s.disk(place, "300m") as disk:
        if not before:
            s.begin(**own)
        with filled(disk):
            if before:
                s.start(**own)
            yield
        yield


def read_only(s: Scene, what: str) -> Iterator[None]:
    """A disk that turns read-only by an error of its own."""
    with s.disk(s.place(what), kind="ext4") as disk:
        s.begin(what)
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        (device,) = (Path(source).name for source, place, *_ in mounts if place == str(disk))
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")
        yield
        typed("umount", str(disk))
        typed("mount", "-o", "loop", str(s.campaign.folder / f"{disk.name}.image"), str(disk))
        yield


def vanished(s: Scene, what: str) -> Iterator[None]:
    """A folder that is gone."""
    s.begin(what)
    place, aside = s.place(what), s.campaign.folder / "away"
    place.rename(aside)
    yield
    shutil.rmtree(place, ignore_errors=True)  # what a trial may have made there meanwhile
    aside.rename(place)
    yield


def moved(s: Scene) -> Iterator[None]:
    """A folder that is somewhere else now."""
    s.begin()
    s.kill()
    yield
    s.name += "-moved"
    s.folder = s.folder.rename(s.campaign.folder / s.name)
    yield


def copied(s: Scene) -> Iterator[None]:
    """A folder that is there twice, with one place for checkpoints: each is the whole study."""
    s.begin("checkpoints")
    s.kill()
    yield
    first, s.name = s.name, f"{s.name}-copy"
    s.folder = Path(shutil.copytree(s.folder, s.campaign.folder / s.name))
    stored = sorted(s.storage.rglob("*"))
    s.left += s.finished()
    s.left += ["another's checkpoints"] * (sorted(s.storage.rglob("*")) != stored)
    s.name, s.folder = first, s.campaign.folder / first
    yield


def two_drivers(s: Scene) -> Iterator[None]:
    """The same command typed twice at once."""
    s.start()
    drivers = [s.driver]
    s.start()
    drivers.append(s.driver)
    while all(driver.poll() is None for driver in drivers):
        time.sleep(0.05)
    drivers.sort(key=lambda driver: driver.poll() is None)
    s.driver = drivers[0]
    yield
    s.campaign.watch(s.name, s.setting, drivers[1], lambda _: False, 0.1)
    s.left += [f"the other ended with {drivers[1].wait()}"] * bool(drivers[1].wait())
    yield


def stolen(s: Scene) -> Iterator[None]:
    """The record is deleted, and its lock with it, and another driver begins in its place."""
    s.begin()
    first = s.driver
    (s.folder / "record.jsonl").unlink()
    s.start()
    thief, s.driver = s.driver, first
    yield
    s.campaign.finish(s.name, s.setting, thief)
    yield


def clock(s: Scene) -> Iterator[None]:
    """A clock that is set back by an hour, and later forward by a day."""
    at = s.campaign.folder / "clock"
    at.mkdir()
    (at / "ahead").write_text("0")
    (at / "sitecustomize.py").write_text(JUMPING.format(ahead=str(at / "ahead")))
    s.begin(PYTHONPATH=os.pathsep.join([str(at), *os.environ.get("PYTHONPATH", "").split(":")]))
    (at / "ahead").write_text("-3600")
    s.wait(2 * AT)
    (at / "ahead").write_text("86400")
    yield
    table, times = read_trials(s.folder), read_epochs(s.folder)["time"]  # those are the worker's
    if not (table["ended"] - table["started"]).between(0, 600).all():
        s.left.append("absurd times")
    if times.max() - times.min() < 86_400:
        s.left.append("no jump")
    yield


def database(s: Scene, junk: bytes, killed: bool) -> Iterator[None]:
    """optuna.db is lost, or other bytes lie there, while the study runs or after a kill -9."""
    s.begin()
    while not (path := s.folder / "optuna.db").exists():
        time.sleep(0.01)
    if killed:
        s.kill()
        s.driver.wait()
    path.write_bytes(junk) if junk else path.unlink()
    yield
    yield


def truncated(s: Scene) -> Iterator[None]:
    """A checkpoint of which half is there."""
    s.begin()
    while not (found := list(s.folder.glob("checkpoints-*/*/checkpoint.pt"))):
        time.sleep(0.001)
    s.kill()
    yield
    os.truncate(found[0], found[0].stat().st_size // 2)
    yield


def bucket(s: Scene, how: str, rate: float = 0.0, lasts: float = 0.0) -> Iterator[None]:
    """A bucket that fails, or is slow (bytes/s), for so long, or until the study has ended."""
    s.bucket.fail("", 0)
    os.environ |= s.bucket.KEYS  # the resume is typed there, too
    s.begin("", "--storage", s.bucket.uri(s.name))
    s.bucket.fail(how, rate, lasts)
    s.campaign.patience = 1000
    yield
    s.campaign.patience = 0
    s.bucket.fail("", 0)
    yield
    s.left += s.bucket.objects(s.name)


def memory(s: Scene) -> Iterator[None]:
    """A trial that takes so much memory, once, that Ray's monitor kills its slot."""
    now = psutil.virtual_memory()
    share = (now.total - now.available + 2e9) / now.total
    s.start(**{EAT: str(s.campaign.folder / "eaten"), "RAY_memory_usage_threshold": f"{share:.3f}"})
    yield
    s.left += ["nothing was killed"] * (
        "low on memory" not in (s.folder / "output.txt").read_text()
    )
    yield


def stays(s: Scene, kind: str) -> Iterator[None]:
    """A part of Ray is killed -9; what of it is there a minute later, and does the doctor know?"""
    s.begin("", "--set", "wait=1")  # else it is finished before it misses anything
    s.kill(kind)
    yield
    time.sleep(max(0.0, s.since + 60 - time.time()))
    there = {p: faults.title(p) for p in s.campaign.family(s.name, s.driver)}
    own = os.environ | {"RAY_TMPDIR": str(s.campaign.folder)}
    command = [sys.executable, "-m", "srsgd_ray", "doctor"]
    said = subprocess.run(command, capture_output=True, text=True, env=own, check=False).stdout
    print(f"a minute after {kind}: {[(p.pid, name[:50]) for p, name in there.items()]}, {said}")
    yield
    print("\n".join(re.findall("Ended what.*", s.out())) or "The next start ended nothing.")


ROOT, RAY = "root", "Ray"
ACTS: tuple[tuple[str, str, Act], ...] = (
    ("a full disk for results", ROOT, partial(full, what="results")),
    ("a full disk for checkpoints", ROOT, partial(full, what="checkpoints")),
    ("a full temporary folder, before", ROOT, partial(full_aside, what="tmp", before=True)),
    ("a full temporary folder, meanwhile", ROOT, partial(full_aside, what="tmp", before=False)),
    ("a full /dev/shm, before", ROOT, partial(full_aside, what="shm", before=True)),
    ("a full /dev/shm, meanwhile", ROOT, partial(full_aside, what="shm", before=False)),
    ("a read-only folder of results", ROOT, partial(read_only, what="results")),
    ("a read-only folder of checkpoints", ROOT, partial(read_only, what="checkpoints")),
    ("a vanished folder of results", "", partial(vanished, what="results")),
    ("a vanished folder of checkpoints", "", partial(vanished, what="checkpoints")),
    ("kill -9, and the folder moved", "", moved),
    ("kill -9, and the folder copied", "", copied),
    ("two drivers at once", "", two_drivers),
    ("the record deleted, and another driver in its place", "", stolen),
    ("a clock that jumps", "", clock),
    ("optuna.db lost meanwhile", "", partial(database, junk=b"", killed=False)),
    ("optuna.db overwritten meanwhile", "", partial(database, junk=b"x" * 9999, killed=False)),
    ("kill -9, and optuna.db lost", "", partial(database, junk=b"", killed=True)),
    ("kill -9, and optuna.db overwritten", "", partial(database, junk=b"x" * 9999, killed=True)),
    ("kill -9, and a checkpoint cut off", "", truncated),
    ("a bucket that answers 503 for 10 s", "", partial(bucket, how="503", lasts=10)),
    ("a bucket that stays away", "", partial(bucket, how="away")),
    ("a bucket of 1.6 MB/s", "", partial(bucket, how="", rate=1.6e6)),
    ("a bucket of 0.13 MB/s, too slow for its client", "", partial(bucket, how="", rate=1.3e5)),
    ("a trial that takes too much memory, once", RAY, memory),
    *((f"kill -9 of {kind}, and a minute", RAY, partial(stays, kind=kind))
      for kind in ("driver", "GCS", "raylet")),
)  # fmt: skip


def row_of(scene: Scene, what: str, act: Act) -> tuple[Any, ...]:
    """Perform an act; a row of the table."""
    campaign = scene.campaign
    campaign.seen.clear()
    with closing(act(scene)) as steps:  # type: ignore[type-var]
        next(steps)
        campaign.watch(scene.name, scene.setting, scene.driver, lambda _: False, 0.1)
        status, ended, out = scene.driver.wait(), time.time(), scene.out()
        campaign.family(scene.name, scene.driver)
        began = scene.since
        print(f"--- {what}: {status}\n{out}", file=sys.stderr, flush=True)
        many = len(re.findall(MESSAGE, out))
        next(steps)
        if status < 0:
            began = time.time()
        wrong = scene.finished() if status else scene.wrong(scene.name)
        seconds = campaign.silence(scene.name, began) if status <= 0 else ended - began
        campaign.family(scene.name, scene.driver)
        left = [*campaign.left(scene.name, scene.setting, campaign.whole[False][1])]
        next(steps, None)
    left += [*map(str, scene.storage.rglob("*.*")), *scene.left]
    left = [each for each in left if "set-aside" not in each]
    print(f"{what}: {wrong} {left}", file=sys.stderr, flush=True)
    told = "yes" if "Resume with" in out else "-"
    how = "; ".join(wrong) or "equal"
    return what, f"{seconds:.0f}", status, many, told, how, len(left)


def perform(folder: Path, backend: str, only: str, here: Sequence[str]) -> list[tuple[Any, ...]]:
    """Perform all acts that match; the table."""
    campaign, table = Campaign(folder, {name: SETTINGS[name] for name in ("local", "Ray")}), []
    with Bucket() as place:
        for number, (what, need, act) in enumerate(ACTS):
            if not re.search(only, what):
                continue
            if need and need not in here:
                print(f"left out, for want of {need}: {what}", file=sys.stderr)
                continue
            scene = Scene(campaign, backend, f"p{number}", place)
            try:
                table.append(row_of(scene, what, act))
            except KeyboardInterrupt:
                break
            except Exception as error:  # the next act may be told about all the same
                campaign.family(scene.name, scene.driver)
                table.append((what, "-", "-", "-", "-", repr(error)[:300], "-"))
            finally:
                campaign.end()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backend", choices=("local", "ray"), default="local")
    parser.add_argument("--only", default="", help="acts that match this expression")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    unshare = ["unshare", "--mount"]
    root = os.getuid() == 0 and not subprocess.run([*unshare, "true"], check=False).returncode
    if root and MOUNTS not in os.environ:
        os.environ[MOUNTS] = "1"
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    here = [ROOT] * root + [RAY] * (given.backend == "ray")
    began, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="places-") as folder:
        table = perform(Path(folder), given.backend, given.only, here)
    print(in_markdown(HEADS, table))
    minutes = (time.monotonic() - began) / 60
    print(f"\n{minutes:.0f} minutes, load {load:.1f} before and {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
