"""``srsgd-ray lmdb``: makes, checks and describes databases of images."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from srsgd_ray.image_lmdb import Options, build, convert
from srsgd_ray.image_lmdb.info import info
from srsgd_ray.image_lmdb.losses import told
from srsgd_ray.image_lmdb.verify import KINDS, Verdict, verify
from srsgd_ray.progress import Pace, Progress, duration

SHOWN = 50  # problems of a kind that are printed


def build_verb(given: argparse.Namespace) -> None:
    """Make a database of image files."""
    _make(build, given)


def convert_verb(given: argparse.Namespace) -> None:
    """Make a database of another one."""
    _make(convert, given)


def _make(make: Callable[..., Sequence[Any]], given: argparse.Namespace) -> None:
    options = Options(given.store, given.largest_side, given.quality, given.on_corrupt)
    with Progress(sys.stderr) as progress:
        made = make(
            given.source,
            given.destination,
            options,
            workers=given.workers,
            force=given.force,
            progress=_shown(progress),
        )
    for done in made:
        there = ", was there already and stays" if done.kept else ""
        print(f"{done.path}: {done.samples:,} images, {done.bytes / 1e9:.3f} GB{there}")
        for line in told(done.lost, done.samples):
            print(f"note: {line}")
        if done.skipped:
            print(
                f"{len(done.skipped)} images could not be decoded and were left out; they are "
                f"listed in {done.path}.skipped.txt: {', '.join(done.skipped[:5])}"
                f"{' ...' * (len(done.skipped) > 5)}"
            )


def _shown(progress: Progress) -> Callable[[str, int, int, int], None]:
    """Shows ``done`` of ``count`` images of a database, and ``size`` bytes written so far."""
    paces: dict[str, Pace] = {}

    def show(name: str, done: int, count: int, size: int) -> None:
        rate, left = paces.setdefault(name, Pace())(done, count)
        parts = [f"{name}: {done:,} of {count:,}", f"{rate:,.0f} images/s"]
        parts += [f"{size / 1e6:,.0f} MB"] if size else []
        parts += [f"{duration(left)} left"] if left else []
        progress.show((", ".join(parts), done, count), name, last=done == count)

    return show


def verify_verb(given: argparse.Namespace) -> int:
    """Print what is wrong with a database or folder tree; 1 if anything is."""
    if given.workers < 0:
        raise ValueError(f"0 <= --workers must hold, but got {given.workers}. Correct it.")
    with Progress(sys.stderr) as progress:
        show = _shown(progress)
        found = verify(
            given.path,
            against=given.against,
            workers=given.workers or len(os.sched_getaffinity(0)),
            progress=lambda done, count: show(given.path.name, done, count, 0),
        )
    _print_problems(found, None if given.all else SHOWN)
    return 1 if found.problems else 0


def _print_problems(found: Verdict, most: int | None) -> None:
    for kind, text in KINDS.items():
        of_kind = [problem.text for problem in found.problems if problem.kind == kind]
        if of_kind:
            print(f"{len(of_kind)} x {kind} ({text}):")
            print("\n".join(f"  {line}" for line in of_kind[:most]))
            if len(of_kind) > len(of_kind[:most]):
                print(f"  ... and {len(of_kind) - len(of_kind[:most])} more: --all shows them")
    for name, earlier in found.doubled[:most]:
        print(f"note: {name} has the bytes of {earlier}")
    for line in told(found.lost, found.samples):
        print(f"note: {line}")
    print(
        f"{found.samples:,} images checked, {len(found.problems)} problems, "
        f"{len(found.doubled)} with the bytes of another"
    )


def info_verb(given: argparse.Namespace) -> None:
    """Print what a database or folder tree holds."""
    for name, text in info(given.path).items():
        print(f"{name:28} {text}")
