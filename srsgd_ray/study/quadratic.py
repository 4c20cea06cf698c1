"""The quadratic's studies from the command line: Figure 2 again, and the search of a schedule."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srsgd_ray.config import one_of
from srsgd_ray.problems.quadratic import CASES, METHODS, SCHEDULES
from srsgd_ray.problems.quadratic_results import (
    agreement_table,
    agreements,
    read_table,
)
from srsgd_ray.results import Record, RecordError, provenance, read_record
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.cluster import ray_cluster
from srsgd_ray.study.progress import all_output_to, open_log
from srsgd_ray.study.quadratic_figure2 import Figure2
from srsgd_ray.study.quadratic_report import report
from srsgd_ray.study.quadratic_search import QuadraticSearch
from srsgd_ray.study.quadratic_tuning import Jobs, check_slots, do_jobs
from srsgd_ray.study.spec import check_name

__all__ = ["launch_quadratic", "launch_quadratic_search", "run_quadratic"]

INTERRUPTED = 130
LEAST = {"iterations": 1, "seeds": 1, "trials": 1, "confirm_seeds": 2, "seed": 0}
LEAST_SEARCHED = 2000  # iterations of a search: its phases must have room
Spec = dict[str, Any]


@dataclass(frozen=True)
class _Kind:
    """One of the two studies: what it runs by default and for a trial run, and its last word."""

    name: str
    question: str
    spec: Spec
    smoke: Spec
    jobs: Callable[[Record, Mapping[str, Any]], Jobs]
    closing: Callable[[Path], str]


def _agreement(folder: Path) -> str:
    found = agreements(read_table(folder, "runs"), read_table(folder, "curves"))
    head = "Mean gap |f - f*| over the last 1,000 iterations (published: of 50,000):\n"
    return head + agreement_table(found)


FIGURE2 = _Kind(
    "figure2_quadratic",
    "Figure 2 of the paper: five methods on the quadratic, with three kinds of gradient.",
    {
        "iterations": 50_000,
        "seeds": 10,
        "cases": list(CASES),
        "methods": list(METHODS),
        "schedule": "as_published",
    },
    {"iterations": 2000, "seeds": 2},
    Figure2,
    _agreement,
)
SEARCH = _Kind(
    "quadratic_search",
    "Was the published restart schedule a good one for the quadratic?",
    {"iterations": 50_000, "trials": 60, "confirm_seeds": 20, "cases": list(CASES), "seed": 0},
    {"iterations": 2000, "trials": 3, "confirm_seeds": 3},
    QuadraticSearch,
    lambda folder: report(read_table(folder, "search")),
)
HELP = {
    "iterations": "of each run",
    "seeds": "runs of each noisy curve, with the seeds 0, 1, ...",
    "cases": f"of {', '.join(CASES)}",
    "methods": f"of {', '.join(METHODS)}; each in quotes",
    "schedule": f"of SRNAG: {', '.join(SCHEDULES)}",
    "trials": "trials of each arm in each case",
    "confirm_seeds": "runs of each chosen setting with noise, with seeds from 1000 on",
    "seed": "of the search",
}


def launch_quadratic(argv: Sequence[str] | None = None) -> int:
    """Run the study of Figure 2 as the command line says; returns the exit status.

    0: finished. 1: some jobs failed. 2: refused, with one message. 130: interrupted.
    """
    return _launch(FIGURE2, argv)


def launch_quadratic_search(argv: Sequence[str] | None = None) -> int:
    """Run the search of a schedule; otherwise as :func:`launch_quadratic`."""
    return _launch(SEARCH, argv)


def _launch(kind: _Kind, argv: Sequence[str] | None) -> int:
    parser = _parser(kind)
    given = parser.parse_args(argv)
    name = given.name or kind.name + ("-smoke" if given.smoke else "")
    flags = {key: getattr(given, key) for key in kind.spec if getattr(given, key) is not None}
    folder = Path(given.results) / name
    try:
        check_name(name)
        spec = _resolve(kind, folder, flags, given.smoke, given.resume)
        status = run_quadratic(kind, spec, folder, given.resume, given.slots, given.address)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except ValueError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    if status and not (folder / RECORD).exists():
        print("\nStopped before it began.")
    elif status:
        words = [w for w in (sys.argv[1:] if argv is None else argv) if w != "--resume"]
        print(f"\nGo on with:\n  {shlex.join([*parser.prog.split(), *words, '--resume'])}")
    return status


def _parser(kind: _Kind) -> argparse.ArgumentParser:
    script = Path(sys.argv[0])
    parser = argparse.ArgumentParser(
        prog=f"python {script}" if script.suffix == ".py" else script.name,
        description=kind.question + " What stands in brackets is the default.",
    )
    add = parser.add_argument
    for key, value in kind.spec.items():
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, list):
            add(flag, nargs="+", metavar="NAME", help=f"{HELP[key]} [all]")
        elif isinstance(value, int):
            add(flag, type=int, metavar="N", help=f"{HELP[key]} [{value}]")
        else:
            add(flag, metavar="NAME", help=f"{HELP[key]} [{value}]")
    add("--smoke", action="store_true", help="tiny: only to see that it runs")
    add("--slots", type=int, metavar="N", help="jobs at a time [one a CPU]")
    add("--address", default="local", help="Ray cluster: auto, a URL, or local [local]")
    add("--results", default="results", metavar="DIR", help="folder of all results [results]")
    add("--name", metavar="NAME", help=f"folder of this study in it [{kind.name}]")
    add("--resume", action="store_true", help="go on with the study of that name: what is missing")
    return parser


def _resolve(kind: _Kind, folder: Path, flags: Spec, smoke: bool, resume: bool) -> Spec:
    """The study that is meant, checked; a resumed one is the recorded one."""
    spec = {**kind.spec, **(kind.smoke if smoke else {})}
    if resume:
        header = read_record(folder).header
        if header.get("kind") != kind.name:
            raise RecordError(
                f"{folder} holds another kind of study. Resume it with its own script, or choose "
                f"another --name."
            )
        spec = header["spec"]
        differ = [key for key, value in flags.items() if spec[key] != value]
        if differ:
            raise RecordError(
                f"{folder} was started with other values of {', '.join(differ)}. Resume it "
                f"without them, or choose another --name."
            )
    elif (folder / RECORD).exists():
        raise RecordError(
            f"{folder} already holds a study. Go on with it by --resume, or choose another --name."
        )
    return _check({**spec, **flags}, kind)


def _check(spec: Spec, kind: _Kind) -> Spec:
    for key, least in LEAST.items():
        if kind is SEARCH and key == "iterations":
            least = LEAST_SEARCHED
        if key in spec and spec[key] < least:
            raise ValueError(
                f"{least} <= {key} must hold, but got {key}={spec[key]}. "
                f"The default is {kind.spec[key]}."
            )
    for key, valid in (("cases", CASES), ("methods", METHODS)):
        for name in spec.get(key, ()):
            one_of(key[:-1], name, valid)
        if len(set(spec.get(key, ()))) != len(spec.get(key, ())):
            raise ValueError(f"{key} must be different, but got {spec[key]}. Remove the doubles.")
    if "schedule" in spec:
        one_of("schedule", spec["schedule"], SCHEDULES)
    return spec


def run_quadratic(
    kind: _Kind, spec: Spec, folder: Path, resume: bool, slots: int | None, address: str
) -> int:
    """Do what is missing of a study, on the Ray that is up or on one of its own."""
    folder = folder.resolve()
    if slots is not None and slots < 1:
        raise ValueError(f"1 <= slots must hold, but got slots={slots}. Leave it out to use all.")
    open_log(folder)
    print(f"{kind.name}: {kind.question}\nResults in {folder}", flush=True)
    with all_output_to(folder / "log.txt") as screen, ray_cluster(address) as nodes:
        places = check_slots(nodes, slots)
        header = {"study": folder.name, "kind": kind.name, "spec": spec}
        with Record.reopen(folder) if resume else Record.create(folder, header) as record:
            record.session(**provenance())
            jobs = kind.jobs(record, spec)
            try:
                if not jobs.finished:
                    do_jobs(jobs, folder, places, screen)
            finally:
                jobs.write_tables()
            finished, lost = jobs.finished, jobs.lost
    print("\n" + kind.closing(folder))
    for line in lost:
        print(f"failed: {line}", file=sys.stderr)
    print(f"\nTables in {folder}")
    return INTERRUPTED if not finished else 1 if lost else 0
