"""The verb that brings data to a machine."""

from __future__ import annotations

from pathlib import Path

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add


def _fetch(add: Add) -> None:
    add("source", help="a folder, or a URI such as s3://BUCKET/data, with SHA256SUMS or CIFAR")
    add("folder", type=Path, help="on this machine's disk, made if it is missing")


VERBS = {
    "fetch": Verb(
        "copy data sets to this machine's disk, once and checked",
        "fetch",
        _fetch,
        "example: srsgd-ray fetch s3://BUCKET/imagenet /data/lmdb",
        resumed=list,
    ),
}
