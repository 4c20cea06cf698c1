"""The verb that writes results in the formats of other tools."""

from __future__ import annotations

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add


def _export(add: Add) -> None:
    from srsgd_ray.export import TARGETS

    formats = "; ".join(f"{name}: {target.what}" for name, target in TARGETS.items())
    place = "folder [FOLDER/export/FORMAT; of tensorboard FOLDER/tensorboard, as of --tensorboard]"
    add("folders", nargs="+", metavar="FOLDER", help="of studies, such as results/NAME")
    add("--to", required=True, metavar="FORMAT", help=formats)
    add("--out", metavar="PLACE", help=place)


VERBS = {
    "export": Verb(
        "write a study for other tools: CSV, LaTeX, TensorBoard, MLflow and more",
        "exports",
        _export,
        "Nothing is sent anywhere. What was exported before is completed, and never doubled.",
        resumed=list,
    ),
}
