"""Verbs for databases of images."""

from __future__ import annotations

from pathlib import Path

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add


def _make(add: Add, source: str) -> None:
    corrupt = "unreadable images: stop, skip (and list), or keep where they decode [stop]"
    force = "replace a database, or a half-built one of other options"
    add("source", type=Path, help=source)
    add("destination", type=Path, help="NAME.lmdb; for train and val a folder")
    add("--store", default="encoded", help="encoded (files) or decoded (pixels) [encoded]")
    add("--largest-side", type=int, metavar="N", help="scale larger images down")
    add("--quality", type=int, metavar="Q", help="encode every image anew, 1-100")
    add("--on-corrupt", default="stop", help=corrupt)
    add("--force", action="store_true", help=force)
    _workers(add)


def _verify(add: Add) -> None:
    _path(add)
    add("--against", type=Path, metavar="SOURCE", help="what it must equal")
    add("--all", action="store_true", help="all problems, not the first of a kind")
    _workers(add)


def _path(add: Add) -> None:
    add("path", type=Path, help="a database, or a folder tree of images")


def _workers(add: Add) -> None:
    add("--workers", type=int, default=0, help="processes [one for each CPU]")


VERBS = {
    "lmdb build": Verb(
        "make an LMDB database of image files",
        "lmdb",
        lambda add: _make(add, "a folder tree, its train and val, or a tar"),
        "example: srsgd-ray lmdb build /data/imagenet /data/lmdb",
        resumed=list,
    ),
    "lmdb convert": Verb(
        "make an LMDB database of another one",
        "lmdb",
        lambda add: _make(add, "the original's, Caffe's or ours, or a pair"),
        "example: srsgd-ray lmdb convert /data/train_faster_imagefolder.lmdb /data/train.lmdb",
        resumed=list,
    ),
    "lmdb verify": Verb("read every image of a database, say what is wrong", "lmdb", _verify),
    "lmdb info": Verb("what a database holds", "lmdb", _path),
}
