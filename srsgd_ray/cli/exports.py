"""``srsgd-ray export``: a study in the formats of other tools."""

from __future__ import annotations

import argparse


def export_verb(given: argparse.Namespace) -> None:
    """Write each study in a format; prints what was written, and the command that shows it."""
    from srsgd_ray.export import TARGETS, export

    shown = None
    for written, study in export(*given.folders, to=given.to, out=given.out):
        print(f"{study.name}: {len(study.runs)} trials in {written}")
        see = TARGETS[given.to].see
        shown = see(written, study.name) if see is not None else None
    if shown is not None:
        print(f"See it: {shown}")
