"""Damages the record of a small study in many ways, mends it, resumes the study, compares all rows.

    python benchmarks/damage.py --changes 100 --seed 0
    python benchmarks/damage.py --changes 100 --seed 0 --tables no

One slot, local; TPE with more trials than it begins with at random. A record is equal (each byte),
mended (the tables know, or trials run again), refused (nothing says what the study was), or only
torn at its end, which is no damage. "other rows" and "error" must be 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from chaos_study import STUDY

from srsgd_ray.results import RecordError, read_record
from srsgd_ray.results.lines import examine
from srsgd_ray.results.mending import mend
from srsgd_ray.study import run

SMALL = dataclasses.replace(STUDY, base={"wait": 0.0, "load": 10}, trials=14, confirm_seeds=2)
BYTES = b'0123456789,:{}"\n\r\x00\xff'
OTHERS = (b"{}\n", b"null\n", b"123\n", b'{"event": "pause"}\n', b"\n")
TIMES = {"train_seconds", "time"}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A byte changed, a line lost, doubled, moved or replaced, or the end torn off."""
    lines, kind = data.splitlines(keepends=True), rng.randrange(7)
    at = rng.randrange(len(lines) - 1)
    if kind <= 1:
        place = rng.randrange(len(data) - 1)
        other = rng.choice([b for b in BYTES if b != data[place]])
        return data[:place] + bytes([other]) + data[place + 1 :]
    if kind == 2:
        del lines[at]
    elif kind == 3:
        lines.insert(at, lines[at])
    elif kind == 4:
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
    elif kind == 5:
        lines[at] = rng.choice(OTHERS)
    else:
        lines[-1] = lines[-1][: rng.randrange(len(lines[-1]))]
    return b"".join(lines)


def heavily(data: bytes, rng: random.Random) -> bytes:
    """Three bytes of a line changed, or up to four lines lost; never the first line."""
    lines = data.splitlines(keepends=True)
    at = rng.randrange(1, len(lines) - 1)
    if rng.randrange(2):
        line = bytearray(lines[at])
        for _ in range(3):
            line[rng.randrange(len(line) - 1)] = rng.choice(b"0123456789abc")
        lines[at] = bytes(line)
    else:
        del lines[at : at + rng.randrange(1, 5)]
    return b"".join(lines)


def known(folder: Path) -> dict[str, Any]:
    """All of a study but its times."""
    return {
        trial.trial: (trial.config, trial.state, [
            {k: v for k, v in row.items() if k not in TIMES} for row in trial.rows
        ])
        for trial in read_record(folder).trials.values()
    }  # fmt: skip


def outcome(whole: Path, folder: Path, damaged: bytes) -> str:
    """What became of a copy of a study whose record was damaged."""
    shutil.copytree(whole, folder)
    record = folder / "record.jsonl"
    data = record.read_bytes()
    record.write_bytes(damaged)
    if not examine(record)[0]:
        return "torn"
    try:
        mend(folder)
    except RecordError:
        return "refused"
    if record.read_bytes() == data:
        return "equal"
    try:
        run(SMALL, results=folder.parent, name=folder.name, resume=True, backend="local")
    except Exception as error:
        print(f"{folder.name}: {error!r}")
        return "error"
    return "mended" if known(folder) == known(whole) else "other rows"


def main() -> None:
    """Print a table: of light and heavy damage, how many ended how."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", choices=("yes", "no"), default="yes")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as place:
        run(SMALL, results=place, backend="local")
        whole = Path(place) / SMALL.name
        if given.tables == "no":
            for path in whole.glob("*.parquet"):
                path.unlink()
        data = (whole / "record.jsonl").read_bytes()
        print("damage   equal  mended  refused  torn  other rows  error")
        for damage in (mutated, heavily):
            found = Counter[str]()
            for number in range(given.changes // 2):
                folder = Path(place) / f"{damage.__name__}-{number}"
                found[outcome(whole, folder, damage(data, rng))] += 1
                shutil.rmtree(folder)
            ends = ("equal", "mended", "refused", "torn", "other rows", "error")
            print(f"{damage.__name__:7}  " + "  ".join(f"{found[e]:{len(e)}}" for e in ends))


if __name__ == "__main__":
    main()
