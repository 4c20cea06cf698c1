"""The options of a study script, and the study that they make of the one in the script."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

from srsgd_ray.cli.parser import add_field, given_of, pairs, plainly
from srsgd_ray.knobs import knob_types
from srsgd_ray.results import read_record
from srsgd_ray.study.extend import edited
from srsgd_ray.study.options import HERE, ON, Options
from srsgd_ray.study.samplers import SEARCHERS
from srsgd_ray.study.schedulers import SCHEDULERS
from srsgd_ray.study.shorten import select, smoke, with_epochs
from srsgd_ray.study.spec import Study

RUN = "what is run (a resumed study keeps what it was started with)"
LABEL = "label "  # begins the names under which argparse keeps them: no option's name
STUDY_FIELDS = (
    "trials", "searches", "seed", "searcher", "scheduler", "confirm_seeds", "until_decided",
    "confirm_on", "protocol", "prior",
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


def add_options(parser: argparse.ArgumentParser, study: Study) -> None:
    """Add what the command line of a study takes.

    Raises:
        ValueError: if a label or a knob of the study has the name of another option.
    """
    try:
        _add_options(parser, study)
    except argparse.ArgumentError as error:
        raise ValueError(
            f"an option must mean one thing, but {error.argument_name} is an option of every study "
            f"script, and a label of an arm or a knob of this study. Rename that."
        ) from error


def _add_options(parser: argparse.ArgumentParser, study: Study) -> None:
    work, types = study.work, knob_types(study.work.Config)
    add = plainly(parser.add_argument_group(RUN).add_argument)
    for key, values in _labels(study).items():
        text = f"only these: {', '.join(values)} [all]"
        spellings = dict.fromkeys((f"--{key}", f"--{key.replace('_', '-')}"))
        add(*spellings, dest=LABEL + key, nargs="+", metavar="X", help=text)
    add("--seed", type=int, metavar="N", help=f"seed of the search [{study.seed}]")
    if _searches(study):
        trials = f"search trials of each arm [{study.trials}]"
        add("--trials", type=int, metavar="N", help=trials)
        several = f"independent searches of each arm, each one confirmed [{study.searches}]"
        add("--searches", type=int, metavar="N", help=several)
        add("--searcher", metavar="NAME", help=f"{', '.join(SEARCHERS)} [{study.searcher}]")
        prior = "folders of other studies whose trials the search knows from the start [none]"
        add("--prior", nargs="+", metavar="FOLDER", help=prior)
        add("--scheduler", metavar="NAME", help=f"{', '.join(SCHEDULERS)} [{study.scheduler}]")
    data = f"what confirmation runs are trained on: train, train+validation [{study.confirm_on}]"
    add("--confirm-on", metavar="NAME", help=data)
    if study.protocols:
        protocols = f"{', '.join(study.protocols)} [{study.protocol}]"
        add("--protocol", metavar="NAME", help=protocols)
    seeds = f"runs of each configuration that is judged [{study.confirm_seeds}]"
    flags = ["--confirm-seeds"] if study.trials else ["--seeds", "--confirm-seeds"]
    add(*flags, dest="confirm_seeds", type=int, metavar="N", help=seeds)
    most = study.until_decided or "none"
    until = f"while undecided, double the searches (or seeds) up to N pairs [{most}]"
    add("--until-decided", type=int, metavar="N", help=until)
    if work.budget is not None:
        flags = list(dict.fromkeys(["--epochs", f"--{work.budget.field.replace('_', '-')}"]))
        text = f"{work.budget.unit} of the longest trial; others scale with it [{_longest(study)}]"
        add(*flags, dest="epochs", type=int, metavar="N", help=text)
    for field in _flagged(study):
        add_field(add, field, types[field.name])
    knobs = "other values of knobs that no arm fixes and no space searches"
    smoke = "a minute's work, on generated data where it needs any, to try a machine or a cluster"
    add("--set", nargs="+", metavar="KNOB=VALUE", help=knobs)
    add("--smoke", action="store_true", help=smoke)
    groups = {name: plainly(parser.add_argument_group(name).add_argument) for name in (HERE, ON)}
    hints = get_type_hints(Options)
    for option in dataclasses.fields(Options):
        if option.metadata:
            add_field(groups[option.metadata["flag"]], option, hints[option.name])
    name = f"folder of this study in it [{study.name}]"
    groups[HERE]("--name", metavar="NAME", help=name)
    groups[HERE]("--resume", action="store_true", help="resume the study of that name")
    more = "resume it with all that is asked for now: trials, searches, seeds, arms, each in all"
    groups[HERE]("--extend", action="store_true", help=more)
    other = "with --extend: in another space, too; trials that do not fit it count no more"
    groups[HERE]("--changed-space", action="store_true", help=other)
    live = "serve the live page while it runs, and print its address"
    groups[HERE]("--watch", action="store_true", help=live)
    plan = "only say what it will cost, and end"
    groups[ON]("--plan", action="store_const", const="only", help=plan)


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


def resolve(
    study: Study, given: argparse.Namespace, folder: Path, as_recorded: bool = False
) -> Study:
    """The study with the options taken in; a resumed one as recorded, where no option differs.

    ``as_recorded``: it was made from the record, and no script was edited.
    """
    given.resume |= given.extend
    if given.changed_space and not given.extend:
        raise ValueError("--changed-space is for an extension: add --extend.")
    labels = {key: getattr(given, LABEL + key) for key in _labels(study)}
    if given.resume:
        header = read_record(folder).header
        if header["spec"]["name"] != study.name:
            raise ValueError(
                f"{folder} holds the study {header['spec']['name']!r}, not {study.name!r}. "
                f"Resume it with its own script, or choose another --name."
            )
        study = study if as_recorded else edited(study, header)
    study = select(study, {key: values for key, values in labels.items() if values})
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
