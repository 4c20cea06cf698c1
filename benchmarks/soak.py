"""What grows with the number of trials of one study: memory, time a trial, folders and files.

    python benchmarks/soak.py --trials 2000 --backend ray --out results/soak
    python benchmarks/soak.py --trials 2000 --backend local --out results/soak
    python benchmarks/soak.py --draw docs/reliability/soak.png --out results/soak

The study (``benchmarks/sleeping.py``, trials of one epoch that waits for nothing, two slots) is
started as a user starts it, in a process of its own that is watched from outside; each sample is
a row of ``OUT/BACKEND.csv``. ``--draw`` makes a picture of the samples that are there.
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
FILES = ("record.jsonl", "log.txt", "output.txt", "optuna.db", "trials.parquet", "epochs.parquet")


def size(place: Path) -> tuple[int, int]:
    """Bytes on the disk, and files, of a file or a folder."""
    files = [Path(at, name) for at, _, names in os.walk(place) for name in names]
    files += [place] if place.is_file() else []
    total = 0
    for file in files:
        try:
            total += file.lstat().st_blocks * 512
        except OSError:  # gone since
            continue
    return total, len(files)


def sample(driver: psutil.Popen, folder: Path, ray: Path) -> dict[str, Any]:
    """What the driver and its folders take now, in bytes and seconds."""
    used, cpu = driver.memory_full_info(), driver.cpu_times()
    storage = [size(path) for path in folder.glob("checkpoints-*")]
    ray_bytes, ray_files = size(ray)
    return {
        "time": time.time(), "driver_uss": used.uss, "driver_rss": used.rss,
        "driver_cpu": cpu.user + cpu.system, "ray": ray_bytes, "ray_files": ray_files,
        **{name: size(folder / name)[0] for name in FILES},
        "storage": sum(b for b, _ in storage), "storage_files": sum(n for _, n in storage),
    }  # fmt: skip


def soak(backend: str, trials: int, slots: int, out: Path, more: list[str]) -> None:
    """Run the study and write a sample about each hundredth of it."""
    ray = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))  # sockets need a short path
    folder = out / backend
    shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, str(SCRIPT), "--backend", backend, "--slots", str(slots), "--name", backend,
        "--trials", str(trials), "--results", str(out), "--no-figures", *more,
    ]  # fmt: skip
    samples: list[dict[str, Any]] = []
    driver = psutil.Popen(
        command, env={**os.environ, "RAY_TMPDIR": str(ray)}, stdout=subprocess.DEVNULL
    )
    record, file, ended, last = folder / "record.jsonl", None, 0, -1
    while driver.poll() is None:
        time.sleep(0.2)
        if file is None and record.exists():
            file = record.open("rb")
        if file is not None:
            ended += file.read().count(END)  # one that is cut in two is missed
        if file is None or ended - last < max(1, trials // 100):
            continue
        try:
            samples.append({"trials": ended, **sample(driver, folder, ray)})
        except psutil.Error:  # it has ended
            break
        last = ended
        pd.DataFrame(samples).to_csv(out / f"{backend}.csv", index=False)
    shutil.rmtree(ray, ignore_errors=True)
    print(f"{backend}: exit status {driver.wait()}, {len(samples)} samples")


def draw(out: Path, picture: Path) -> None:
    """Draw what grows against the number of trials."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(13, 3), layout="constrained")
    for file in sorted(out.glob("*.csv")):
        rows = pd.read_csv(file)
        step = max(1, len(rows) // 20)
        pace = rows["time"].diff(step) / rows["trials"].diff(step)
        axes[0].plot(rows["trials"], rows["driver_uss"] / 1e6, label=file.stem)
        axes[1].plot(rows["trials"], pace, label=file.stem)
        axes[2].plot(rows["trials"], rows["ray"] / 1e6, label=file.stem)
        for name in FILES[:4] if file.stem == "ray" else ():
            axes[3].plot(rows["trials"], rows[name] / 1e6, label=name)
    titles = ("driver, MB of its own", "seconds a trial", "Ray's folder, MB", "files (Ray), MB")
    for ax, title in zip(axes, titles, strict=True):
        ax.set(title=title, xlabel="trials that have ended", ylim=(0, None))
        ax.legend(fontsize=7)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=80)


def main() -> None:
    """Soak, or draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--backend", choices=("ray", "local"), default="ray")
    parser.add_argument("--out", type=Path, default=Path("results/soak"))
    parser.add_argument("--draw", type=Path)
    given, more = parser.parse_known_args()
    if given.draw:
        draw(given.out, given.draw)
    else:
        soak(given.backend, given.trials, given.slots, given.out, more)


if __name__ == "__main__":
    main()
