"""The verb that looks at the machine."""

from __future__ import annotations

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add


def _doctor(add: Add) -> None:
    add("folder", nargs="?", metavar="FOLDER", help="of a study: look at it, too")
    add("--mend", action="store_true", help="mend its record; the damaged file stays beside it")
    add("--address", metavar="A", help="Ray cluster whose nodes are asked: auto or a URL")
    add("--storage", metavar="URI", help="that is written and read, from here and from every node")


VERBS = {
    "doctor": Verb(
        "look for what may keep a study from running here, with cures",
        "doctor",
        _doctor,
        "Each look ends in time, and nothing is changed without --mend. Exit status 1 if an error "
        "was found.",
    ),
}
