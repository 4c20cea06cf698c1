"""``srsgd-ray train``: one training run, whose knobs are options."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srsgd_ray.cli.pages import report_written
from srsgd_ray.cli.parser import given_of, pairs
from srsgd_ray.config import TrainConfig
from srsgd_ray.knobs import knob_types
from srsgd_ray.results import Record, columns_to_plain, read_record
from srsgd_ray.study.arm import Arm
from srsgd_ray.study.requests import Attended
from srsgd_ray.study.spec import Study
from srsgd_ray.training.single import run_once


def train_verb(given: argparse.Namespace) -> int:
    """Train once; returns 1 if the run diverged."""
    types = knob_types(TrainConfig)
    values = {
        name: value
        if types[name] != dict[str, Any]
        else pairs(f"--{name.replace('_', '-')}", value, "width=32")
        for name, value in given_of(given, dataclasses.fields(TrainConfig)).items()
    }
    return _train(TrainConfig.from_dict(values).check(), Path(given.out), given.resume)


def resume_training(folder: Path, words: Sequence[str]) -> int:
    """Resume the run that ``train`` began in a folder, with its knobs."""
    if words:
        raise ValueError(
            f"a training run goes on as it was started, but got {words[0]}. Leave it out."
        )
    return _train(TrainConfig.from_dict(read_record(folder).header["config"]), folder, True)


def _train(config: TrainConfig, out: Path, resume: bool) -> int:
    study = study_of(config, out.resolve().name)
    header = {
        "study": study.name,
        "id": uuid.uuid4().hex[:8],
        "spec": study.to_dict(),
        "columns": columns_to_plain(study.columns()),
        "config": config.to_dict(),
        "phase": "search" if study.trials else "confirm",
    }
    complete = run_once(config, out, resume, header, _attended)
    if os.environ.get("RANK", "0") == "0":
        print(report_written(out))
    return 0 if complete else 1


class _OneRun:
    """What requests ask of a study's controller, for a training run."""

    def __init__(self, record: Record) -> None:
        self.record = record

    @property
    def finished(self) -> bool:
        """Whether its trial has ended."""
        return all(trial.end is not None for trial in self.record.trials.values())

    def drop(self, *trial: str) -> None:
        """Refuse: the trial is the run."""
        raise ValueError("a training run ends as a whole: name no trial, or stop it by Ctrl-C")


def _attended(record: Record) -> Attended:
    """Hears `srsgd-ray stop FOLDER`; SIGTERM, for a shell's background has no Ctrl-C."""
    run: Any = _OneRun(record)
    return Attended(run, lambda: os.kill(os.getpid(), signal.SIGTERM))


def study_of(config: TrainConfig, name: str) -> Study:
    """The study of one trial that a run is to all who read its folder.

    The trial is a confirmation run if it reads the test set, and else of a search that has nothing
    to search.
    """
    held_out = config.train_on == "train" and config.validation_fraction > 0
    usual = TrainConfig().to_dict()
    knobs = {
        knob: value
        for knob, value in config.to_dict().items()
        if knob != "seed" and (value != usual[knob] or knob == "lr_milestones")
    }
    return Study(
        name=name,
        question=f"How does one run of {config.optimizer} on {config.dataset} end?",
        arms=(Arm(config.optimizer, fixed=knobs),),
        trials=int(not config.evaluate_test),
        confirm_seeds=int(config.evaluate_test),
        confirm_on=config.train_on,
        seed=config.seed,
        confirm_seed=config.seed,
        metric="" if held_out else "train_error",
    )
