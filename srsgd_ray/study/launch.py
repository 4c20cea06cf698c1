"""The command line of every study script."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from srsgd_ray import analysis
from srsgd_ray.backends import BACKENDS
from srsgd_ray.knobs import knob_types
from srsgd_ray.results import read_record, read_trials
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.check import place_of
from srsgd_ray.study.extend import edited
from srsgd_ray.study.progress import all_output_to
from srsgd_ray.study.result import FINISHED, INTERRUPTED, OUT_OF_BUDGET, PLANNED, barren
from srsgd_ray.study.run import Options, draw_figures, execute
from srsgd_ray.study.schedulers import SCHEDULERS
from srsgd_ray.study.search import SEARCHERS
from srsgd_ray.study.shorten import select, smoke, with_epochs
from srsgd_ray.study.spec import Study

__all__ = ["STATUS", "launch", "settings", "shown"]

STATUS = {FINISHED: 0, PLANNED: 0, OUT_OF_BUDGET: 3, INTERRUPTED: 130}
STUDY_FLAGS = (
    "trials",
    "seed",
    "searcher",
    "scheduler",
    "confirm_seeds",
    "confirm_on",
    "protocol",
)


def launch(
    study: Study,
    argv: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    finish: Callable[[Path], object] | None = None,
    resume_by_folder: bool = False,
) -> int:
    """Run ``study`` as the command line says; returns the exit status.

    0: finished. 1: all trials of an arm failed. 2: refused, with one message. 3: budget spent,
    130: interrupted, both with the command that resumes.

    Args:
        study: the study.
        argv: words of the command line; None: of this process.
        prog: the command, as messages call it; None: the script.
        finish: called with the study's folder when it is finished, before its figures are drawn.
        resume_by_folder: the command that resumes is ``prog`` alone.
    """
    try:
        script = _as_written(study)
        parser = _parser(study, prog)
    except ValueError as told:
        error = _in_full(study, told)
        place = place_of(error, getattr(study, "place", ""))
        print(f"{prog or _prog()}: {shown(place)}{error}", file=sys.stderr)
        return 2
    given = parser.parse_args(argv)
    name = given.name or study.name + ("-smoke" if given.smoke else "")
    options = Options(
        results=Path(given.results),
        storage=given.storage,
        backend=given.backend,
        address=given.address,
        slots=_default(given.slots, 1 if given.smoke else None),
        workers_per_trial=_default(given.workers_per_trial, 1 if given.smoke else None),
        cpus_per_worker=given.cpus_per_worker,
        gpus_per_worker=given.gpus_per_worker,
        autoscaling=given.autoscaling,
        silence_limit=given.silence_limit,
        figures=not given.no_figures,
        plan="only" if given.plan else "no" if given.smoke else "yes",
        budget_hours=given.budget_hours,
    )
    folder = options.results / name
    try:
        chosen = _resolve(study, given, folder)
        status = execute(
            chosen,
            options,
            name=name,
            resume=given.resume,
            script=script,
            say=_say,
            redirect=all_output_to,
        )
    except KeyboardInterrupt:
        status = INTERRUPTED
    except ValueError as error:
        print(f"{parser.prog}: {_where(study, error)}{error}", file=sys.stderr)
        return 2
    resume = _resume_command(parser.prog, sys.argv[1:] if argv is None else argv)
    if resume_by_folder:
        resume = parser.prog
    if status == PLANNED:
        return 0
    if status in (INTERRUPTED, OUT_OF_BUDGET):
        begun = (folder / RECORD).exists()
        more = ", and a larger --budget-hours if you like," if status == OUT_OF_BUDGET else ""
        _say(f"\nStopped. Go on{more} with:\n  {resume}" if begun else "\nStopped before it began.")
        return STATUS[status]
    if finish is not None:
        finish(folder)
    _finish(folder, options, chosen)
    return _failures(folder) or STATUS[status]


def _prog() -> str:
    script = Path(sys.argv[0])
    return f"python {script}" if script.suffix == ".py" else script.name


def _as_written(study: object) -> dict[str, Any]:
    """The study as its script has it; raises ValueError for what is no study at all."""
    if not isinstance(study, Study):
        raise ValueError(
            f"launch takes a Study, but got {study!r}. A comma at the end of `STUDY = Study(...),` "
            f"makes a tuple of it."
        )
    from srsgd_ray.study.check import check_types

    check_types(study)
    return study.to_dict()


def _in_full(study: object, error: ValueError) -> ValueError:
    """What a whole check of the study says, which knows the arm; else the error itself."""
    try:
        if isinstance(study, Study):
            study.check()
    except ValueError as own:
        return own
    return error


def _where(study: Study, error: ValueError) -> str:
    """The line of the script, if the study is wrong as it stands there, whatever the options."""
    try:
        study.check()
    except ValueError as own:
        if str(own) == str(error):
            return shown(place_of(own, study.place))
    return ""


def shown(place: str) -> str:
    """``FILE:LINE: `` with the file as seen from here, to begin a message; "" for nothing."""
    file, _, line = place.rpartition(":")
    if not file:
        return ""
    path = Path(file)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{line}: "


def _failures(folder: Path) -> int:
    """Say which arms came to nothing; 1 if there are any, else 0."""
    found = barren(folder)
    for arm, reason in found.items():
        print(f"Every trial of arm {arm!r} failed. The first, {reason}", file=sys.stderr)
    return 1 if found else 0


def _default(given: int | None, otherwise: int | None) -> int | None:
    return otherwise if given is None else given


def _say(text: str) -> None:
    print(text, flush=True)


def _parser(study: Study, prog: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog or _prog(),
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


def _resolve(study: Study, given: argparse.Namespace, folder: Path) -> Study:
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


def _resume_command(prog: str, argv: Sequence[str]) -> str:
    gone = ("--resume", "--smoke")
    words = [w for w in argv if w not in gone and not w.startswith("--budget-hours=")]
    if "--budget-hours" in words:
        at = words.index("--budget-hours")
        del words[at : at + 2]
    if "--smoke" in argv and "--name" not in argv:
        words = ["--smoke", *words]
    return shlex.join([*prog.split(), *words, "--resume"])


def _finish(folder: Path, options: Options, study: Study) -> None:
    """The table, where everything lies, and what to do next."""
    _say("\n" + analysis.render(read_trials(folder)))
    if options.figures:
        for line in draw_figures(folder):
            _say(line)
    _say(f"\nTables:    {folder}/trials.parquet, {folder}/epochs.parquet")
    _say(f"Log:       {folder}/log.txt")
    if (folder / "optuna.db").exists():
        _say(f"Trials:    optuna-dashboard sqlite:///{folder}/optuna.db")
    _say("More seeds: the same command with --resume and a larger --confirm-seeds")
