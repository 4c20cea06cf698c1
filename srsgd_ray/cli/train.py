"""``srsgd-ray train``: one training run, whose knobs are options."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from srsgd_ray.cli.parser import given_of, pairs
from srsgd_ray.config import TrainConfig
from srsgd_ray.knobs import knob_types
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
    config = TrainConfig.from_dict(values).check()
    return 0 if run_once(config, Path(given.out), given.resume) else 1
