"""``srsgd-ray best``: the winners of a study as configurations to paste, or as a script."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from srsgd_ray import analysis, restarts
from srsgd_ray.analysis import Winner
from srsgd_ray.config import TrainConfig
from srsgd_ray.knobs import make, one_of
from srsgd_ray.restarts import RestartSchedule
from srsgd_ray.results import read_epochs, read_trials, schema_of
from srsgd_ray.results.one import OneTrial, read_trial
from srsgd_ray.trainable import find
from srsgd_ray.typed import typed

FORMATS = ("text", "json")
WIDTH = 88  # of a line of code
RESTARTED = ("srsgd", "nesterov_no_restart", "adaptive_restart")  # all of them the class SRSGD
SCRIPT = '''\
"""{what}

{origin}
"""

from srsgd_ray.testing import play
from srsgd_ray.trainable import find

WORK = find({found})
CONFIG = {config}

if __name__ == "__main__":
    on = {{"threads": {threads}, "device": {device!r}}}
    run = play(WORK, CONFIG, seed={seed}, final={final}, show=print, **on)
    print(run.state, run.reason or "")
    raise SystemExit(run.state != "complete")
'''


def best_verb(given: argparse.Namespace) -> None:
    """Print the best configuration of each arm, or write a script that trains one of them."""
    one_of("format", given.format, FORMATS)
    folder = Path(given.folder)
    trials = read_trials(folder)
    names = analysis.arms(trials)
    if given.arm is not None:
        one_of("arm", given.arm, names, f" of {folder}")
    found, without = _winners(trials, names if given.arm is None else [given.arm])
    if given.script is not None:
        _write_script(folder, trials, found, given)
    elif given.format == "json":
        print(json.dumps({w.arm: _plain(folder, trials, w) for w in found}, indent=2))
    else:
        print("\n\n\n".join([*(_code(folder, trials, w) for w in found), *without]))


def _winners(trials: pd.DataFrame, names: list[str]) -> tuple[list[Winner], list[str]]:
    """The winners of arms, and why others have none.

    Raises:
        ValueError: if none has one.
    """
    found, without = [], []
    for arm in names:
        try:
            found.append(analysis.winner(trials, arm))
        except ValueError as error:
            without.append(str(error))
    if not found:
        raise ValueError(without[0] if without else "no trial has begun. Resume the study.")
    return found, [textwrap.indent(textwrap.fill(text, WIDTH), "# ") for text in without]


def _said(trials: pd.DataFrame, won: Winner) -> list[str]:
    """What it is, and what the confirmation says of it, as sentences."""
    name, schema = analysis.arm_label(won.arm), schema_of(trials)

    def measured(metric: str, value: float) -> str:
        return f"{analysis.in_words(metric)} {value:.4g} {schema[metric].unit}".rstrip()

    if won.found:
        among = f"the best of {won.trials} search trials" if won.trials > 1 else "its one trial"
        lines = [f"{name}: {measured(won.metric, won.value)} in {won.found}, {among}."]
    else:
        lines = [f"{name}: one configuration, which was not searched."]
    known = won.confirmed
    if known is None:
        said = "Not confirmed: as the best of many trials it looks better than it is."
        return [*lines, *([said] if won.trials > 1 else [])]
    ends = f" (95 % interval {known.low:.4g} to {known.high:.4g})" if known.n > 1 else ""
    seeds = f"{known.n} seed{'s' * (known.n > 1)}"
    return [*lines, f"Confirmed over {seeds}: {measured(won.confirm_metric, known.mean)}{ends}."]


def _code(folder: Path, trials: pd.DataFrame, won: Winner) -> str:
    """Python that makes the configuration, and the optimizer of image classification."""
    one = read_trial(folder, won.trial)
    config = _config(one)
    module, name = type(config).__module__, type(config).__qualname__
    lines = [f"# {text}" for text in _said(trials, won)]
    lines += [f"# the module {module} lies in {one.folder}"] * bool(one.folder)
    lines += [f"from {module} import {name.partition('.')[0]}", ""]
    lines += [f"config = {_call(config, name)}", *_optimizer(folder, won, config)]
    return "\n".join(lines)


def _config(one: OneTrial) -> Any:
    work = find(one.trainable, one.folder)
    return make(work.Config, work.knobs_in(one.trial.config))


def _call(config: Any, name: str) -> str:
    """The call of a class of that name that makes a configuration: what is not as by default."""
    given = {
        field.name: value
        for field in dataclasses.fields(config)
        if (value := getattr(config, field.name)) != _default(field)
    }
    return _written(name, given)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _written(function: str, given: dict[str, Any], first: str = "") -> str:
    """A call with keywords, on a line of its own each where one line is too long."""
    words = [first] * bool(first) + [f"{name}={_source(value)}" for name, value in given.items()]
    short = f"{function}({', '.join(words)})"
    if len(short) < WIDTH - len("optimizer = "):
        return short
    return f"{function}(\n" + "".join(f"    {word},\n" for word in words) + ")"


def _source(value: Any) -> str:
    """Python that is a value again, infinities too."""
    if isinstance(value, RestartSchedule):
        return _schedule(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_source, value))}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_source(item)}' for key, item in value.items())}}}"
    return repr(value)


def _schedule(schedule: RestartSchedule) -> str:
    if schedule == restarts.never():
        return "restarts.never()"
    given = {f.name: getattr(schedule, f.name) for f in dataclasses.fields(schedule)}
    changed = {f.name for f in dataclasses.fields(schedule) if given[f.name] != f.default}
    return _written("restarts.RestartSchedule", {n: v for n, v in given.items() if n in changed})


def _optimizer(folder: Path, won: Winner, config: Any) -> list[str]:
    """The optimizer alone, for a loop of one's own; of image classification."""
    if not isinstance(config, TrainConfig):
        return []
    try:
        steps = analysis.steps_per_epoch(read_epochs(folder), won.trial)
    except ValueError:  # an interrupted epoch: nothing can be said in steps
        return []
    if config.optimizer in RESTARTED and not config.sam_rho:
        imports = ["from srsgd_ray import restarts", "from srsgd_ray.optim import SRSGD"]
        given: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
        given["restart"] = config.restart_schedule(steps)
        if config.optimizer == "adaptive_restart":
            given["adaptive"] = True
        call = _written("SRSGD", {**given, **config.optimizer_options}, "params")
    else:
        imports = ["from srsgd_ray.optim import build_optimizer"]
        call = f"build_optimizer(params, config, steps_per_epoch={steps})"
    return ["", "", f"# The optimizer alone; an epoch has {steps} steps.{_lr(config, steps)}",
            *imports, "", f"optimizer = {call}"]  # fmt: skip


def _lr(config: TrainConfig, steps: int) -> str:
    """How the learning rate changes, which is not the optimizer's work."""
    if config.lr_schedule != "steps" or config.warmup_epochs:
        return f" Its lr follows lr_schedule={config.lr_schedule!r} of the configuration."
    if not config.lr_milestones:
        return ""
    at = ", ".join(str(epoch * steps) for epoch in config.lr_milestones)
    return f" Its lr is multiplied by {config.lr_gamma:g} before steps {at}."


def _plain(folder: Path, trials: pd.DataFrame, won: Winner) -> dict[str, Any]:
    """A winner as JSON holds it."""
    one = read_trial(folder, won.trial)
    found = {"trial": won.found, "metric": won.metric, "value": won.value, "trials": won.trials}
    known: dict[str, Any] = {"metric": won.confirm_metric}
    if won.confirmed is not None:
        for name, value in dataclasses.asdict(won.confirmed).items():
            known[name] = value if math.isfinite(value) else None
    return {
        "trial": won.trial,
        "trainable": one.trainable,
        "config": one.trial.config,
        "search": found if won.found else None,
        "confirmation": known if won.confirmed is not None else None,
    }


def _write_script(
    folder: Path, trials: pd.DataFrame, found: list[Winner], given: argparse.Namespace
) -> None:
    """Write a script that trains one winner.

    Raises:
        ValueError: if it is not said which one, or the file is there or has the trainable's name.
    """
    path = Path(given.script)
    if len(found) > 1:
        names = ", ".join(won.arm for won in found)
        raise ValueError(f"a script trains one configuration. Add --arm with one of: {names}.")
    if path.exists() and not given.force:
        raise ValueError(f"{path} is there already. Name another file, or add --force.")
    one = read_trial(folder, found[0].trial)
    if path.stem == one.trainable.partition(":")[0].partition(".")[0]:
        raise ValueError(
            f"{path.name} would hide the module of the trainable, {one.trainable}, which it must "
            f"import. Choose another name."
        )
    path.write_text(_script(folder, trials, found[0], one), encoding="utf-8")
    print(f"{path}: {_said(trials, found[0])[0]}\nTrain it with: {typed('python', path)}")


def _script(folder: Path, trials: pd.DataFrame, won: Winner, one: OneTrial) -> str:
    config, session = _config(one), one.trial.session
    said = _said(trials, won)
    workers = int((one.trial.end or {}).get("workers") or 1)
    origin = [f"As {won.trial} of {folder}, whose rows it repeats bit for bit on a like machine."]
    if workers > 1:
        origin = [f"As {won.trial} of {folder}, which ran on {workers} workers: here is one."]
    if session.get("commit"):
        origin.append(f"It ran at commit {session['commit']} of srsgd_ray.")
    return SCRIPT.format(
        what="\n".join(said),
        origin="\n".join(origin),
        found=", ".join(map(repr, filter(None, (one.trainable, one.folder)))),
        config=_call(config, "WORK.Config"),
        seed=one.trial.config["seed"],
        final=one.trial.phase == "confirm",
        threads=int(session.get("threads") or 1),
        device="cuda" if session.get("gpus_per_worker") else "cpu",
    )
