"""``srsgd-ray VERB ...``: from the words to the function that does the work."""

from __future__ import annotations

import importlib
import shutil
import sys
import textwrap
from collections.abc import Sequence

from srsgd_ray.cli.declared import GROUPS, VERBS
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
        return guarded("srsgd-ray", lambda: print(_help())) or (0 if words else 2)
    if words == ["--version"]:
        return guarded("srsgd-ray", lambda: print(_versions()))
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


def _help() -> str:
    """All verbs, each with its line."""
    lines = ["usage: srsgd-ray COMMAND ...\n\nRuns studies, and reports their results."]
    others = [name for name in VERBS if not any(name in names for names in GROUPS.values())]
    for title, group in {**GROUPS, "Other": others}.items():
        names = [name for name in group if name in VERBS]
        lines += [f"\n{title}:"] * bool(names)
        lines += [
            textwrap.fill(
                VERBS[name].help,
                max(40, shutil.get_terminal_size().columns),
                initial_indent=f"  {name:14}",
                subsequent_indent=" " * 16,
            )
            for name in names
        ]
    ends = "srsgd-ray COMMAND --help says what a command takes, srsgd-ray --version what is here."
    return "\n".join([*lines, "", ends])


def _versions() -> str:
    """What a report of an error must name."""
    from srsgd_ray.results import provenance

    own = provenance()
    commit = f" (commit {own['commit']})" if own["commit"] else ""
    names = {"Python": "python", "torch": "torch", "ray": "ray", "optuna": "optuna"}
    found = [f"{name} {own[f'{key}_version'] or 'missing'}" for name, key in names.items()]
    return f"srsgd-ray {own['srsgd_ray_version']}{commit}\n{', '.join(found)}"
