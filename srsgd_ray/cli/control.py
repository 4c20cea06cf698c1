"""``srsgd-ray rerun | stop | skip | enqueue | retry``: acts on trials of a study that is there."""

from __future__ import annotations

import argparse
from pathlib import Path

from srsgd_ray.cli.parser import pairs
from srsgd_ray.knobs import one_of

SHOWN = 20  # differences that are printed


def rerun_verb(given: argparse.Namespace) -> int:
    """Repeat a trial; 0 if it is the same bit for bit, else 1."""
    from srsgd_ray.backends import BACKENDS
    from srsgd_ray.study.rerun import rerun

    one_of("backend", given.backend, BACKENDS)
    if given.threads is not None and given.threads < 1:
        raise ValueError(f"--threads >= 1 must hold, but got {given.threads}.")
    found = rerun(Path(given.folder), given.trial, backend=given.backend, threads=given.threads)
    for it in found.differences[:SHOWN]:
        print(f"epoch {it.epoch}, {it.column}: {it.recorded!r} is recorded, {it.again!r} now")
    if more := found.differences[SHOWN:]:
        print(f"... and {len(more)} more")
    for line in found.surroundings:
        print(line)
    what = f"{found.epochs} epochs of {', '.join(found.columns)}"
    what += "".join(f", and its {name}" for name in found.artifacts)
    verdict = "equal, bit for bit" if found.equal else f"{len(found.differences)} differences"
    print(f"{given.trial}: {verdict}. Compared: {what}.")
    return 0 if found.equal else 1


def stop_verb(given: argparse.Namespace) -> None:
    """End a study in order, or one of its trials."""
    from srsgd_ray.study.control import end_trial, stop_study

    folder, limit = Path(given.folder), _limit(given)
    if given.trial is None:
        print(f"{folder}: {stop_study(folder, limit)}.")
    else:
        print(f"{end_trial(folder, 'stop', given.trial, limit=limit)}.")


def skip_verb(given: argparse.Namespace) -> None:
    """Mark a trial as failed."""
    from srsgd_ray.study.control import end_trial

    print(f"{end_trial(Path(given.folder), 'skip', given.trial, given.reason, _limit(given))}.")


def enqueue_verb(given: argparse.Namespace) -> None:
    """Have a study try a known point."""
    from srsgd_ray.study.control import enqueue

    point = pairs("KNOB=VALUE", given.point, "lr=0.1") if given.point else {}
    print(f"{enqueue(Path(given.folder), given.arm, point, _limit(given))}.")


def retry_verb(given: argparse.Namespace) -> int:
    """Mark failed trials, and resume the study."""
    from srsgd_ray.cli.studies import resume_verb
    from srsgd_ray.study.control import retry

    options = next((i for i, word in enumerate(given.words) if word.startswith("-")), None)
    names = given.words[:options]
    again = retry(Path(given.folder), names)
    print(f"Run again: {', '.join(again)}", flush=True)
    return resume_verb(argparse.Namespace(what=given.folder, words=given.words[len(names) :]))


def _limit(given: argparse.Namespace) -> float:
    if not given.wait > 0:
        raise ValueError(f"--wait > 0 must hold, but got {given.wait:g}.")
    return float(given.wait)
