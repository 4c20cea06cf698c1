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
from srsgd_ray.results import read_record, read_trials
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.run import INTERRUPTED, Options, draw_figures, run_study
from srsgd_ray.study.search import SEARCHERS
from srsgd_ray.study.spec import SCHEDULERS, Study

__all__ = ["launch"]

SMOKE: dict[str, Any] = {"trials": 2, "epochs": 2, "confirm_seeds": 2}
STUDY_FLAGS = (
    "trials",
    "epochs",
    "seed",
    "searcher",
    "scheduler",
    "confirm_seeds",
    "confirm_on",
    "data_dir",
)


def launch(study: Study, argv: Sequence[str] | None = None) -> int:
    """Run ``study`` as the command line says; returns the exit status.

    0: finished. 2: refused, with one message. 130: interrupted, with the command that resumes.
    """
    parser = _parser(study)
    given = parser.parse_args(argv)
    name = given.name or study.name + ("-smoke" if given.smoke else "")
    options = Options(
        results=Path(given.results),
        storage=given.storage,
        address=given.address,
        slots=given.slots,
        workers_per_trial=given.workers_per_trial,
        cpus_per_worker=given.cpus_per_worker,
        gpus_per_worker=given.gpus_per_worker,
        autoscaling=given.autoscaling,
        silence_limit=given.silence_limit,
        figures=not given.no_figures,
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
    if status == INTERRUPTED:
        begun = (folder / RECORD).exists()
        _say(f"\nStopped. Go on with:\n  {resume}" if begun else "\nStopped before it began.")
        return status
    _finish(folder, options, resume)
    return status


def _say(text: str) -> None:
    print(text, flush=True)


def _parser(study: Study) -> argparse.ArgumentParser:
    script = Path(sys.argv[0])
    parser = argparse.ArgumentParser(
        prog=f"python {script}" if script.suffix == ".py" else script.name,
        description=f"{study.question} Each arm ({', '.join(a.name for a in study.arms)}) gets "
        f"the same trials and epochs; the best configuration of each is then run again over "
        f"several seeds and compared on the test set. What stands in brackets is the default.",
    )

    def group(title: str) -> Any:
        return parser.add_argument_group(title).add_argument

    add = group("what is run (a resumed study keeps what it was started with)")
    add("--trials", type=int, metavar="N", help=f"search trials of each arm [{study.trials}]")
    add("--epochs", type=int, metavar="N", help=f"epochs of each trial [{study.epochs}]")
    add("--seed", type=int, metavar="N", help=f"seed of the search [{study.seed}]")
    add("--searcher", metavar="NAME", help=f"{', '.join(SEARCHERS)} [{study.searcher}]")
    add("--scheduler", metavar="NAME", help=f"{', '.join(SCHEDULERS)} [{study.scheduler}]")
    add(
        "--confirm-seeds",
        type=int,
        metavar="N",
        help=f"runs of each arm's best configuration [{study.confirm_seeds}]",
    )
    add(
        "--confirm-on",
        metavar="SET",
        help=f"what those are trained on: train, train+validation [{study.confirm_on}]",
    )
    add("--data-dir", metavar="DIR", help="folder of the CIFAR archives")
    add("--smoke", action="store_true", help="a tiny budget, to try a machine or a cluster")
    add = group("on what")
    add(
        "--address",
        default="local",
        help="Ray cluster: auto, a URL, or local to start one [local]",
    )
    add("--slots", type=int, metavar="N", help="trials at a time [as many as fit]")
    add("--workers-per-trial", type=int, default=1, metavar="N", help="worker processes each [1]")
    add("--gpus-per-worker", type=float, default=0.0, metavar="X", help="GPUs, or a fraction [0]")
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
    add = group("where")
    add("--results", default="results", metavar="DIR", help="folder of all results [results]")
    add("--name", metavar="NAME", help=f"folder of this study in it [{study.name}]")
    add("--storage", metavar="DIR|URI", help="checkpoints, seen by every node [the study's folder]")
    add("--resume", action="store_true", help="go on with the study of that name")
    add("--no-figures", action="store_true", help="do not draw figures at the end")
    return parser


def _resolve(study: Study, given: argparse.Namespace, folder: Path) -> Study:
    """The study with the flags taken in; a resumed one as recorded, where no flag says else."""
    if given.resume:
        recorded = read_record(folder).header["spec"]
        if recorded["name"] != study.name:
            raise ValueError(
                f"{folder} holds the study {recorded['name']!r}, not {study.name!r}. "
                f"Resume it with its own script, or choose another --name."
            )
        study = Study.from_dict(recorded)
    elif given.smoke:
        study = dataclasses.replace(study, **SMOKE)
    flags = {flag: getattr(given, flag) for flag in STUDY_FLAGS}
    data_dir = flags.pop("data_dir")
    changes = {flag: value for flag, value in flags.items() if value is not None}
    if data_dir is not None:
        changes["base"] = {**study.base, "data_dir": str(Path(data_dir).resolve())}
    return dataclasses.replace(study, **changes)


def _resume_command(prog: str, argv: Sequence[str]) -> str:
    words = [word for word in argv if word not in ("--resume", "--smoke")]
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
