"""The options of a study script, and the study that they make of the one in the script."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srsgd_ray.backends import BACKENDS
from srsgd_ray.knobs import knob_types
from srsgd_ray.results import read_record
from srsgd_ray.study.extend import edited
from srsgd_ray.study.schedulers import SCHEDULERS
from srsgd_ray.study.search import SEARCHERS
from srsgd_ray.study.shorten import select, smoke, with_epochs
from srsgd_ray.study.spec import Study

__all__ = ["command", "make_parser", "resolve", "settings"]

STUDY_FLAGS = (
    "trials",
    "seed",
    "searcher",
    "scheduler",
    "confirm_seeds",
    "confirm_on",
    "protocol",
)


def command() -> str:
    """The command that runs this script."""
    script = Path(sys.argv[0])
    return f"python {script}" if script.suffix == ".py" else script.name


def make_parser(study: Study, prog: str | None) -> argparse.ArgumentParser:
    """The parser of a study's options; what stands in brackets is the default."""
    parser = argparse.ArgumentParser(
        prog=prog or command(),
        description=f"{study.question} {_what(study)} What stands in brackets is the default.",
    )

    def group(title: str) -> Any:
        return parser.add_argument_group(title).add_argument

    add = group("what is run (a resumed study keeps what it was started with)")
    for key, values in _labels(study).items():
        add(f"--{key}", nargs="+", metavar="X", help=f"only these arms: {', '.join(values)} [all]")
    if study.protocols:
        add("--protocol", metavar="NAME", help=f"{', '.join(study.protocols)} [{study.protocol}]")
    if any(study.trials_of(arm.name) for arm in study.arms):
        add("--trials", type=int, metavar="N", help=f"search trials of each arm [{study.trials}]")
        add("--searcher", metavar="NAME", help=f"{', '.join(SEARCHERS)} [{study.searcher}]")
        add("--scheduler", metavar="NAME", help=f"{', '.join(SCHEDULERS)} [{study.scheduler}]")
    work = study.work
    if work.budget is not None:
        longest = max(study.epochs_of(arm.name) for arm in study.arms)
        add(
            *dict.fromkeys(["--epochs", f"--{work.budget.field.replace('_', '-')}"]),
            dest="epochs",
            type=int,
            metavar="N",
            help=f"{work.budget.unit} of the longest trial; others scale with it [{longest}]",
        )
    add("--seed", type=int, metavar="N", help=f"seed of the search [{study.seed}]")
    add(
        *(["--confirm-seeds"] if study.trials else ["--seeds", "--confirm-seeds"]),
        dest="confirm_seeds",
        type=int,
        metavar="N",
        help=f"runs of each configuration that is judged [{study.confirm_seeds}]",
    )
    add(
        "--confirm-on",
        metavar="SET",
        help=f"what those are trained on: train, train+validation [{study.confirm_on}]",
    )
    for field in dataclasses.fields(work.Config):
        if field.metadata.get("flag"):
            _add_knob(add, field, knob_types(work.Config)[field.name])
    add(
        "--set",
        nargs="+",
        metavar="KNOB=VALUE",
        help="other values of knobs that no arm fixes and no space searches",
    )
    add(
        "--smoke",
        action="store_true",
        help="a minute's work on generated data where it needs any, to try a machine or a cluster",
    )
    add = group("on what")
    add("--backend", metavar="NAME", default="ray", help=f"{', '.join(BACKENDS)} [ray]")
    add(
        "--address",
        default="local",
        help="Ray cluster: auto, a URL, or local to start one [local]",
    )
    add("--slots", type=int, metavar="N", help="trials at a time [as many as fit]")
    published = sorted({arm.workers for arm in study.arms})
    add(
        "--workers-per-trial",
        type=int,
        metavar="N",
        help=f"worker processes each [{published[0] if len(published) == 1 else 'as published'}]",
    )
    add(
        "--gpus-per-worker",
        type=float,
        metavar="X",
        help="GPUs, or a fraction [1 if there are any, else 0]",
    )
    add("--cpus-per-worker", type=float, metavar="X", help="CPUs [an equal share]")
    add(
        "--autoscaling",
        action="store_true",
        help="it grows; give --slots, --cpus-per-worker",
    )
    add(
        "--silence-limit",
        type=float,
        default=900.0,
        metavar="S",
        help="seconds a trial may go without a finished step before it is taken up again [900]",
    )
    add("--plan", action="store_true", help="only say what it will cost, and end")
    add(
        "--budget-hours",
        type=float,
        metavar="H",
        help="stop in order after so many worker-hours (GPU-hours), all sessions together [none]",
    )
    add = group("where")
    add("--results", default="results", metavar="DIR", help="folder of all results [results]")
    add("--name", metavar="NAME", help=f"folder of this study in it [{study.name}]")
    add("--storage", metavar="DIR|URI", help="checkpoints, seen by every node [the study's folder]")
    add("--resume", action="store_true", help="go on with the study of that name")
    add("--no-figures", action="store_true", help="do not draw figures at the end")
    return parser


def _add_knob(add: Any, field: Any, kind: Any) -> None:
    """An option for a knob whose metadata ask for one."""
    flag, doc = f"--{field.name.replace('_', '-')}", field.metadata["doc"]
    if kind is bool:
        add(flag, action="store_true", default=None, help=doc)
    else:
        text = {int: "N", float: "X"}.get(kind, "X")
        text = "DIR" if field.metadata["flag"] == "path" else text
        kind = kind if kind in (int, float) else str
        add(flag, type=kind, metavar=text, help=f"{doc} [{field.default}]".replace("[]", "[none]"))


def resolve(study: Study, given: argparse.Namespace, folder: Path) -> Study:
    """The study with the flags taken in; a resumed one as recorded, where no flag says else."""
    keys = list(_labels(study))
    if given.resume:
        header = read_record(folder).header
        if header["spec"]["name"] != study.name:
            raise ValueError(
                f"{folder} holds the study {header['spec']['name']!r}, not {study.name!r}. "
                f"Resume it with its own script, or choose another --name."
            )
        study = edited(study, header)
    study = select(study, {key: values for key in keys if (values := getattr(given, key))})
    if given.smoke and not given.resume:
        study = smoke(study)
    flags = {flag: getattr(given, flag, None) for flag in STUDY_FLAGS}
    changes: dict[str, Any] = {flag: v for flag, v in flags.items() if v is not None}
    base = dict(study.base)
    for field in dataclasses.fields(study.work.Config):
        value = getattr(given, field.name, None) if field.metadata.get("flag") else None
        if value is not None:
            path = field.metadata["flag"] == "path" and value != "generated"
            base[field.name] = str(Path(value).resolve()) if path else value
    base |= settings(given.set or [])
    study = dataclasses.replace(study, **changes, base=base)
    asked = getattr(given, "epochs", None)
    if asked is not None:
        longest = max(study.epochs_of(arm.name) for arm in study.arms)
        if not (given.resume and asked == longest):
            study = with_epochs(study, asked)
    return study


def settings(words: Sequence[str]) -> dict[str, Any]:
    """``--set lr=0.1 name=text``: values as JSON, or as text where they are none."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"--set takes KNOB=VALUE, but got {word!r}. Write --set lr=0.1.")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = {"True": True, "False": False}.get(text, text)
    return found


def _labels(study: Study) -> dict[str, list[str]]:
    """What the arms can be selected by, with the values there are."""
    found: dict[str, list[str]] = {}
    for arm in study.arms:
        for key, value in arm.labels.items():
            values = found.setdefault(key, [])
            if value not in values:
                values.append(value)
    return found


def _what(study: Study) -> str:
    names = ", ".join(arm.name for arm in study.arms[:20])
    more = f" and {len(study.arms) - 20} more" if len(study.arms) > 20 else ""
    if not any(study.trials_of(arm.name) for arm in study.arms):
        return f"Each arm ({names}{more}) is one configuration, run over several seeds."
    what = "points of each one's front are" if study.pareto else "the best configuration of each is"
    return (
        f"Each arm ({names}{more}) gets the same trials; {what} then run again over several seeds "
        f"and compared on the test set."
    )
