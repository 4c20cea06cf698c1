"""The verb that trains once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add, add_field


def _train(add: Add) -> None:
    from srsgd_ray.config import TrainConfig
    from srsgd_ray.knobs import knob_types

    types = knob_types(TrainConfig)
    add("--out", default="results/run", metavar="DIR", help="folder of the results")
    add("--resume", action="store_true", help="resume the run in that folder")
    for field in dataclasses.fields(TrainConfig):
        add_field(add, field, types[field.name])


def _with_resume(words: Sequence[str]) -> list[str]:
    return [*(word for word in words if word != "--resume"), "--resume"]


VERBS = {
    "train": Verb(
        "one training run, without Ray",
        "train",
        _train,
        "What it writes is a study of one trial to the other verbs: table DIR, report DIR, watch"
        "\nDIR, resume DIR.\nUnder torchrun: torchrun --nproc-per-node 2 -m srsgd_ray.training ..."
        "\nOptions of a part, "
        "such as --model-options, are NAME=VALUE pairs (values as JSON, or as text)\nor one JSON "
        "object.",
        resumed=_with_resume,
    ),
}
