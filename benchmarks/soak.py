"""What grows with the number of trials of one study: memory, time a trial, folders and files.

    python benchmarks/soak.py --trials 2000 --backend ray --out results/soak
    python benchmarks/soak.py --trials 2000 --backend local --out results/soak
    python benchmarks/soak.py --draw results/soak --png docs/reliability/soak.png

The study (``benchmarks/sleeping.py``, trials of one epoch that waits for nothing, two slots) is
started as a user starts it, in a process of its own that is watched from outside; each sample is
a row of ``OUT/BACKEND.csv``. With ``--draw`` the samples of both backends become a picture.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

SCRIPT = Path(__file__).with_name("sleeping.py")
END = b'"event": "end"'


def size(place: Path) -> tuple[int, int]:
    """Bytes on the disk, and files, of a file or a folder."""
    files = (
        [place]
        if place.is_file()
        else [Path(a, f) for a, _, found in os.walk(place) for f in found]
    )
    total = 0
    for file in files:
        try:
            total += file.lstat().st_blocks * 512
        except OSError:  # gone since
            continue
    return total, len(files)


def soak(backend: str, trials: int, slots: int, out: Path, more: list[str]) -> None:
    """Run the study and write a sample about each hundredth of it."""
    ray = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))  # sockets need a short path
    shutil.rmtree(out / backend, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(SCRIPT), "--backend", backend, "--slots", str(slots), "--trials",
               str(trials), "--results", str(out), "--name", backend, "--no-figures", *more]  # fmt: skip
    samples: list[dict[str, Any]] = []
    record, ended, last = out / backend / "record.jsonl", 0, -1
    driver = psutil.Popen(command, env={**os.environ, "RAY_TMPDIR": str(ray)},
                          stdout=subprocess.DEVNULL, stderr=sys.stderr)  # fmt: skip
    file = None
    while driver.poll() is None:
        time.sleep(0.2)
        if file is None and record.exists():
            file = record.open("rb")
        if file is not None:
            ended += file.read().count(END)  # one cut in two is missed by one sample only
        if ended - last < max(1, trials // 100):
            continue
        try:
            used = driver.memory_full_info()
            cpu = sum(driver.cpu_times()[:2])
        except psutil.Error:
            break
        last, folder = ended, out / backend
        of = {
            name: size(folder / name)[0]
            for name in (
                "record.jsonl",
                "log.txt",
                "output.txt",
                "optuna.db",
                "trials.parquet",
                "epochs.parquet",
            )
        }
        storage = [p for p in folder.glob("checkpoints-*")]
        samples.append({
            "trials": ended, "time": time.time(), "driver_uss": used.uss, "driver_rss": used.rss,
            "driver_cpu": cpu, "children_rss": sum(_rss(c) for c in driver.children(recursive=True)),
            "ray": size(ray)[0], "ray_files": size(ray)[1], **of,
            "storage": sum(size(p)[0] for p in storage), "storage_files": sum(size(p)[1] for p in storage),
        })  # fmt: skip
        pd.DataFrame(samples).to_csv(out / f"{backend}.csv", index=False)
    shutil.rmtree(ray, ignore_errors=True)
    print(f"{backend}: exit status {driver.wait()}, {len(samples)} samples")


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def main() -> None:
    """Soak, or draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--backend", choices=("ray", "local"), default="ray")
    parser.add_argument("--out", type=Path, default=Path("results/soak"))
    given, more = parser.parse_known_args()
    soak(given.backend, given.trials, given.slots, given.out, more)


if __name__ == "__main__":
    main()
