"""Kills -9 at random moments of a small study, and whether what is left in the end is all of it.

    python benchmarks/chaos.py --kills 50 --seed 0
    python benchmarks/chaos.py --kills 25 --seed 0 --backend local

Each case is a study of its own: six trials of four epochs, a checkpoint after each. The victim and
the moment are drawn: after so many lines of the record, and a part of an epoch's time, or while a
file is being written, where the writer is stopped first, so that the kill falls there. The study is
resumed until it is finished. Its rows and files are compared with those of a local study that
nobody disturbed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos_campaign import Campaign
from chaos_cases import LOCAL, RAY, SETTINGS, Case, drawn, row_of, text_of


def conduct(folder: Path, cases: Sequence[Case], dice: random.Random) -> list[tuple[Any, ...]]:
    """Kill as often as there are cases; a row of the table for each of them."""
    chosen = {"local", *(case[0] for case in cases)}
    campaign = Campaign(folder, {name: SETTINGS[name] for name in SETTINGS if name in chosen})
    found: dict[Case, list[dict[str, Any]]] = {}
    for number, case in enumerate(cases):
        kills = found.setdefault(case, [])  # a case in which nothing could be killed has 0 tried
        if not case[0].startswith("cluster"):
            campaign.nodes.end()
        for again in range(6):
            began = time.monotonic()
            try:
                done = campaign.attack(f"k{number}-{again}", case, dice)
            except KeyboardInterrupt:
                campaign.end()
                return [row_of(case, each) for case, each in found.items()]
            except Exception as error:  # such as of a cluster that does not start
                campaign.end()
                done = {"missed": True, "wrong": repr(error)}
            said = {k: v for k, v in done.items() if k not in ("told", "killed")}
            spent = time.monotonic() - began
            print(f"{number} {case} in {spent:.0f} s: {said}", file=sys.stderr, flush=True)
            if done.get("stuck") or done.get("lost") or done.get("doubled") or done.get("wrong"):
                kept = Path(tempfile.mkdtemp(prefix="chaos-kept-")) / case[0]
                kept.mkdir()
                for path in (folder / f"k{number}-{again}").glob("*.*"):
                    shutil.copy(path, kept)
                print(f"kept in {kept}", file=sys.stderr)
            if "missed" not in done:
                kills.append(done)
                break
    campaign.end()
    return [row_of(case, each) for case, each in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=("local", "ray", "both"), default="both")
    parser.add_argument("--only", default="", help="cases that hold this text")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    dice = random.Random(given.seed)
    parts = {"local": [LOCAL], "ray": [RAY], "both": [LOCAL, RAY]}[given.backend]
    cases: list[Case] = []
    for part in parts:
        only = [case for case in part if given.only in ", ".join(case)]
        cases += drawn(only, given.kills // len(parts), dice)
    began, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        table = conduct(Path(folder), cases, dice)
    print(text_of(table))
    minutes = (time.monotonic() - began) / 60
    print(f"{minutes:.0f} minutes, load {load:.1f} before and {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
