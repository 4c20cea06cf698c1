"""The command line of every study script."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srsgd_ray import analysis
from srsgd_ray.config import GENERATED
from srsgd_ray.results import read_record, read_trials
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.run import INTERRUPTED, OUT_OF_BUDGET, Options, draw_figures, run_study
from srsgd_ray.study.search import SEARCHERS
from srsgd_ray.study.shorten import select, smoke, with_epochs
from srsgd_ray.study.spec import SCHEDULERS, Study

__all__ = ["launch"]

STUDY_FLAGS = (
    "trials",
    "seed",
    "searcher",
    "scheduler",
    "confirm_seeds",
    "confirm_on",
    "protocol",
)


def launch(study: Study, argv: Sequence[str] | None = None) -> int:
    """Run ``study`` as the command line says; returns the exit status.

    0: finished. 2: refused, with one message. 3: budget spent, 130: interrupted, both with the
    command that resumes.
    """
    parser = _parser(study)
    given = parser.parse_args(argv)
    name = given.name or study.name + ("-smoke" if given.smoke else "")
    options = Options(
        results=Path(given.results),
        storage=given.storage,
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
        status = run_study(chosen, options, name=name, resume=given.resume, say=_say)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except ValueError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    resume = _resume_command(parser.prog, sys.argv[1:] if argv is None else argv)
    if given.plan and status == 0:
        return status
    if status in (INTERRUPTED, OUT_OF_BUDGET):
        begun = (folder / RECORD).exists()
        more = ", and a larger --budget-hours if you like," if status == OUT_OF_BUDGET else ""
        _say(f"\nStopped. Go on{more} with:\n  {resume}" if begun else "\nStopped before it began.")
        return status
    _finish(folder, options, resume)
    return status


def _default(given: int | None, otherwise: int | None) -> int | None:
    return otherwise if given is None else given


def _say(text: str) -> None:
    print(text, flush=True)


def _parser(study: Study) -> argparse.ArgumentParser:
    script = Path(sys.argv[0])
    parser = argparse.ArgumentParser(
        prog=f"python {script}" if script.suffix == ".py" else script.name,
        description=f"{study.question} {_what(study)} What stands in brackets is the default.",
    )

    def group(title: str) -> Any:
        return parser.add_argument_group(title).add_argument

    add = group("what is run (a resumed study keeps what it was started with)")
    for key, values in _labels(study).items():
        add(f"--{key}", nargs="+", metavar="X", help=f"only these arms: {', '.join(values)} [all]")
    if study.protocols:
        add("--protocol", metavar="NAME", help=f"{', '.join(study.protocols)} [{study.protocol}]")
    if study.trials:
        add("--trials", type=int, metavar="N", help=f"search trials of each arm [{study.trials}]")
        add("--searcher", metavar="NAME", help=f"{', '.join(SEARCHERS)} [{study.searcher}]")
        add("--scheduler", metavar="NAME", help=f"{', '.join(SCHEDULERS)} [{study.scheduler}]")
    add(
        "--epochs",
        type=int,
        metavar="N",
        help=f"epochs of the longest trial; milestones scale with it [{study.epochs}]",
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
    add("--data-dir", metavar="DIR", help="folder of the CIFAR archives, or of ImageNet")
    add(
        "--bad-images", metavar="X", help="ImageNet: at an unreadable image stop, or skip it [stop]"
    )
    add(
        "--checkpoint-steps",
        type=int,
        metavar="N",
        help="steps between checkpoints within an epoch [after each epoch only]",
    )
    add(
        "--sync-batch-norm",
        action="store_true",
        help="batch statistics over all workers of a trial (GPUs) [each worker's own]",
    )
    add(
        "--smoke",
        action="store_true",
        help="a minute's work on generated data of the real layout, to try a machine or a cluster",
    )
    add = group("on what")
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


def _resolve(study: Study, given: argparse.Namespace, folder: Path) -> Study:
    """The study with the flags taken in; a resumed one as recorded, where no flag says else."""
    keys = list(_labels(study))
    if given.resume:
        recorded = read_record(folder).header["spec"]
        if recorded["name"] != study.name:
            raise ValueError(
                f"{folder} holds the study {recorded['name']!r}, not {study.name!r}. "
                f"Resume it with its own script, or choose another --name."
            )
        study = Study.from_dict(recorded)
    study = select(study, {key: values for key in keys if (values := getattr(given, key))})
    if given.smoke and not given.resume:
        study = smoke(study)
    flags = {flag: getattr(given, flag, None) for flag in STUDY_FLAGS}
    changes: dict[str, Any] = {flag: v for flag, v in flags.items() if v is not None}
    base = dict(study.base)
    if given.data_dir is not None:
        base["data_dir"] = _data_dir(given.data_dir)
    for name in ("bad_images", "checkpoint_steps"):
        if getattr(given, name) is not None:
            base[name] = getattr(given, name)
    if given.sync_batch_norm:
        base["sync_batch_norm"] = True
    study = dataclasses.replace(study, **changes, base=base)
    if given.epochs is not None and not (given.resume and given.epochs == study.epochs):
        study = with_epochs(study, given.epochs)
    return study


def _data_dir(given: str) -> str:
    return given if given == GENERATED else str(Path(given).resolve())


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
    if not study.trials:
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


def _finish(folder: Path, options: Options, resume: str) -> None:
    """The table, where everything lies, and what to do next."""
    _say("\n" + analysis.render(read_trials(folder)))
    if options.figures:
        for line in draw_figures(folder):
            _say(line)
    _say(f"\nTables:    {folder}/trials.parquet, {folder}/epochs.parquet")
    _say(f"Log:       {folder}/log.txt")
    _say(f"Trials:    optuna-dashboard sqlite:///{folder}/optuna.db")
    _say("More seeds or trials need a new study: --name NAME --confirm-seeds N --trials N")
