"""``srsgd-ray VERB ...``: from the words to the function that does the work."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from srsgd_ray.cli.declared import VERBS
from srsgd_ray.cli.guard import guarded
from srsgd_ray.cli.parser import new_parser, parse, plainly
from srsgd_ray.knobs import one_of
from srsgd_ray.typed import typed


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status (2 after a message for bad input).

    Args:
        argv: the words after ``srsgd-ray``; None: of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    length = 2 if words[:1] == ["lmdb"] and len(words) > 1 else 1
    name, rest = " ".join(words[:length]), words[length:]
    if not words or words[length - 1] in ("-h", "--help"):
        lines = ["usage: srsgd-ray COMMAND ...\n\nRuns studies, and reports their results.\n"]
        lines += [f"  {name:14}{verb.help}" for name, verb in VERBS.items()]
        return guarded("srsgd-ray", lambda: print("\n".join(lines))) or (0 if words else 2)
    if name not in VERBS:
        return guarded("srsgd-ray", lambda: one_of("command", name, VERBS))
    prog, verb = f"srsgd-ray {name}", VERBS[name]

    def work() -> int | None:
        parser = new_parser(prog, verb.help, verb.more)
        verb.arguments(plainly(parser.add_argument))
        given = parse(parser, rest, rest=verb.rest)
        module = importlib.import_module(f"srsgd_ray.cli.{verb.module}")
        status: int | None = getattr(module, f"{name.split()[-1]}_verb")(given)
        return status

    def resume() -> None:
        if verb.resumed is not None:
            command = typed("srsgd-ray", *name.split(), *verb.resumed(rest))
            print(f"What was written stays. Resume with: {command}", file=sys.stderr)

    return guarded(prog, work, resume)
