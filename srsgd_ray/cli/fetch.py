"""``srsgd-ray fetch``: brings data sets to this machine's disk."""

from __future__ import annotations

import argparse
import sys

from srsgd_ray.backends.store import check_keys
from srsgd_ray.fetch import fetch
from srsgd_ray.progress import Pace, Progress, duration


def fetch_verb(given: argparse.Namespace) -> None:
    """Copy what is not there yet."""
    check_keys(given.source)
    paces: dict[str, Pace] = {}
    with Progress(sys.stderr) as progress:

        def shown(name: str, done: int, size: int) -> None:
            rate, left = paces.setdefault(name, Pace())(done, size)
            parts = [
                f"{name}: {done / 1e6:,.0f} of {size / 1e6:,.0f} MB",
                f"{rate / 1e6:,.0f} MB/s",
            ]
            parts += [f"{duration(left)} left"] if left else []
            progress.show((", ".join(parts), done, size), name)

        def waits() -> None:
            print(f"Another process fetches into {given.folder}: waiting.", file=sys.stderr)

        done = fetch(given.source, given.folder, shown, waits)
    for each in done:
        how = "was there already" if each.kept else "copied"
        print(f"{each.path}: {each.size / 1e9:.3f} GB, {how}, its checksum is right")
