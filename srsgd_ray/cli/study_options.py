"""The options of a study script, and the study that they make of the one in the script."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_type_hints

from srsgd_ray.cli.parser import Argument, argument, field_argument, given_of, pairs
from srsgd_ray.knobs import knob_types
from srsgd_ray.results import read_record
from srsgd_ray.study.extend import edited
from srsgd_ray.study.options import Options
from srsgd_ray.study.schedulers import SCHEDULERS
from srsgd_ray.study.search import SEARCHERS
from srsgd_ray.study.shorten import select, smoke, with_epochs
from srsgd_ray.study.spec import Study

__all__ = ["describe", "options_of", "resolve", "study_arguments"]

RUN = "what is run (a resumed study keeps what it was started with)"
STUDY_FIELDS = (
    "trials", "seed", "searcher", "scheduler", "confirm_seeds", "confirm_on", "protocol",
)  # fmt: skip


def describe(study: Study) -> str:
    """What the study does, for ``--help``."""
    names = ", ".join(arm.name for arm in study.arms[:20])
    more = f" and {len(study.arms) - 20} more" if len(study.arms) > 20 else ""
    if not _searches(study):
        what = f"Each arm ({names}{more}) is one configuration, run over several seeds."
    else:
        best = "points of each one's front" if study.pareto else "the best configuration of each"
        what = (
            f"Each arm ({names}{more}) gets the same trials; then {best} is run again over several "
            f"seeds and compared on the test set."
        )
    return f"{study.question}\n{what}\nWhat stands in brackets is the default."


def study_arguments(study: Study) -> list[Argument]:
    """What the command line of a study takes."""
    found = [
        argument(f"--{key}", nargs="+", metavar="X", help=f"only these: {', '.join(values)} [all]")
        for key, values in _labels(study).items()
    ]
    if study.protocols:
        found += [_named("--protocol", study.protocols, study.protocol)]
    if _searches(study):
        found += [
            _whole("--trials", help=f"search trials of each arm [{study.trials}]"),
            _named("--searcher", SEARCHERS, study.searcher),
            _named("--scheduler", SCHEDULERS, study.scheduler),
        ]
    budget = study.work.budget
    if budget is not None:
        found.append(
            _whole(
                *dict.fromkeys(["--epochs", f"--{budget.field.replace('_', '-')}"]), dest="epochs",
                help=f"{budget.unit} of the longest trial; others scale with it "
                f"[{_longest(study)}]",
            )
        )  # fmt: skip
    found += [
        _whole("--seed", help=f"seed of the search [{study.seed}]"),
        _whole(
            *(["--confirm-seeds"] if study.trials else ["--seeds", "--confirm-seeds"]),
            dest="confirm_seeds",
            help=f"runs of each configuration that is judged [{study.confirm_seeds}]",
        ),
        argument(
            "--confirm-on", metavar="SET",
            help=f"what those are trained on: train, train+validation [{study.confirm_on}]",
        ),
    ]  # fmt: skip
    types = knob_types(study.work.Config)
    found += [field_argument(field, types[field.name]) for field in _flagged(study)]
    found += [
        argument(
            "--set", nargs="+", metavar="KNOB=VALUE",
            help="other values of knobs that no arm fixes and no space searches",
        ),
        argument(
            "--smoke", action="store_true",
            help="a minute's work on generated data where it needs any, to try a machine or a "
            "cluster",
        ),
    ]  # fmt: skip
    found = [dataclasses.replace(each, group=RUN) for each in found]
    hints = get_type_hints(Options)
    for field in dataclasses.fields(Options):
        if field.metadata:
            found.append(field_argument(field, hints[field.name], field.metadata["group"]))
    return [
        *found,
        argument(
            "--name", metavar="NAME", group="where",
            help=f"folder of this study in it [{study.name}]",
        ),
        argument(
            "--resume", action="store_true", group="where", help="resume the study of that name"
        ),
        argument(
            "--plan", action="store_const", const="only", group="on what",
            help="only say what it will cost, and end",
        ),
    ]  # fmt: skip


def _whole(*flags: str, **settings: Any) -> Argument:
    return argument(*flags, type=int, metavar="N", **settings)


def _named(flag: str, names: Iterable[str], default: str) -> Argument:
    return argument(flag, metavar="NAME", help=f"{', '.join(names)} [{default}]")


def _searches(study: Study) -> bool:
    return any(study.trials_of(arm.name) for arm in study.arms)


def _longest(study: Study) -> int:
    return max(study.epochs_of(arm.name) for arm in study.arms)


def _flagged(study: Study) -> list[dataclasses.Field[Any]]:
    """The knobs whose metadata ask for an option."""
    return [f for f in dataclasses.fields(study.work.Config) if f.metadata.get("flag")]


def _labels(study: Study) -> dict[str, list[str]]:
    """What the arms can be selected by, with the values there are."""
    found: dict[str, dict[str, None]] = {}
    for arm in study.arms:
        for key, value in arm.labels.items():
            found.setdefault(key, {})[value] = None
    return {key: list(values) for key, values in found.items()}


def options_of(given: argparse.Namespace) -> Options:
    """Where and on what the study is to run; a smoke run takes one slot and one worker."""
    smoke = {"slots": 1, "workers_per_trial": 1, "plan": "no"} if given.smoke else {}
    return Options(**{**smoke, **given_of(given, dataclasses.fields(Options))})


def resolve(study: Study, given: argparse.Namespace, folder: Path) -> Study:
    """The study with the options taken in; a resumed one as recorded, where no option differs."""
    labels = list(_labels(study))
    if given.resume:
        header = read_record(folder).header
        if header["spec"]["name"] != study.name:
            raise ValueError(
                f"{folder} holds the study {header['spec']['name']!r}, not {study.name!r}. "
                f"Resume it with its own script, or choose another --name."
            )
        study = edited(study, header)
    study = select(study, {key: values for key in labels if (values := getattr(given, key))})
    if given.smoke and not given.resume:
        study = smoke(study)
    base = dict(study.base)
    for field in _flagged(study):
        value = getattr(given, field.name, None)
        if value is not None:
            path = field.metadata["flag"] == "path" and value != "generated"
            base[field.name] = str(Path(value).resolve()) if path else value
    base |= pairs("--set", given.set or [], "lr=0.1")
    fields = [f for f in dataclasses.fields(Study) if f.name in STUDY_FIELDS]
    study = dataclasses.replace(study, **given_of(given, fields), base=base)
    epochs = getattr(given, "epochs", None)
    if epochs is None or (given.resume and epochs == _longest(study)):
        return study
    return with_epochs(study, epochs)
