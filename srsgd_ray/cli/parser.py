"""The one parser: what a command takes is data, and argparse's parser is made from it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

__all__ = [
    "Argument",
    "Verb",
    "argument",
    "field_argument",
    "given_of",
    "pairs",
    "parse",
]

METAVARS = {int: "N", float: "X", Path: "DIR"}


@dataclass(frozen=True)
class Argument:
    """An option or a positional argument of a command.

    Attributes:
        flags: such as ``("--seeds", "--confirm-seeds")``, or the name of a positional one.
        settings: the keywords of argparse's ``add_argument``.
        group: title under which ``--help`` lists it; "" for argparse's own.
    """

    flags: tuple[str, ...]
    settings: Mapping[str, Any]
    group: str = ""


@dataclass(frozen=True)
class Verb:
    """One command.

    Attributes:
        help: what it does, in a line.
        module: of ``srsgd_ray.cli``, whose function ``VERB_verb`` does it: it takes the parsed
            words and returns the exit status, or None for 0.
        arguments: returns what it takes; called when the verb is, for it may import much.
        more: what ``--help`` says besides.
        resumed: makes the words that resume it after an interruption from those that it was given;
            None: nothing resumes it.
        refused: the errors that are messages about bad input.
    """

    help: str
    module: str
    arguments: Callable[[], Iterable[Argument]]
    more: str = ""
    resumed: Callable[[Sequence[str]], list[str]] | None = None
    refused: tuple[type[Exception], ...] = (ValueError,)


def argument(*flags: str, group: str = "", **settings: Any) -> Argument:
    """An :class:`Argument`, written as argparse's ``add_argument`` is called."""
    return Argument(flags, settings, group)


def field_argument(field: dataclasses.Field[Any], kind: Any, group: str = "") -> Argument:
    """The option of a dataclass's field: its name and type, and its metadata's ``doc`` as help.

    A dict takes NAME=VALUE pairs, a tuple several values, a bool ``--name`` and ``--no-name``; of a
    union with None the other type counts. The parsed value is None where the option was not given.
    A ``doc`` that ends in brackets states the default itself.
    """
    if isinstance(kind, UnionType):
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    default = {} if field.default is dataclasses.MISSING else field.default
    text = field.metadata["doc"]
    if not text.endswith("]"):
        text += f" [{'none' if default in ('', None) else default}]"
    settings: dict[str, Any] = {"help": text.replace("%", "%%")}
    if kind is bool:
        settings["action"] = argparse.BooleanOptionalAction
    elif get_origin(kind) is dict:
        settings |= {"nargs": "+", "metavar": "NAME=VALUE"}
    elif get_origin(kind) is tuple:
        settings |= {"nargs": "*", "type": get_args(kind)[0], "metavar": "X"}
    else:
        settings |= {"type": kind, "metavar": METAVARS.get(kind, "NAME")}
    return argument(f"--{field.name.replace('_', '-')}", group=group, **settings)


def given_of(given: argparse.Namespace, fields: Iterable[dataclasses.Field[Any]]) -> dict[str, Any]:
    """The values of the fields whose options were given."""
    found = {field.name: getattr(given, field.name, None) for field in fields}
    return {name: value for name, value in found.items() if value is not None}


def pairs(flag: str, words: Sequence[str], example: str) -> dict[str, Any]:
    """The words of an option as a dict: NAME=VALUE pairs, or one JSON object.

    A value is JSON, or text where it is none. Messages call the option ``flag``, and state
    ``example``.

    Raises:
        ValueError: for anything else.
    """
    found: dict[str, Any] = {}
    if len(words) == 1 and isinstance(whole := _value(words[0]), dict):
        return whole
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.replace(".", "_").isidentifier():
            raise ValueError(
                f"{flag} must be NAME=VALUE pairs or a JSON object, but got {word!r}. "
                f"Write for example {flag} {example}."
            )
        found[name] = _value(text)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False}.get(text, text)


def parse(
    prog: str,
    description: str,
    arguments: Iterable[Argument],
    words: Sequence[str],
    *,
    epilog: str = "",
) -> argparse.Namespace:
    """Parse the words of a command; options may stand between positional arguments.

    Names of options must be whole: the command that resumes another one is made from its words.

    Raises:
        SystemExit: 0 after ``--help``, 2 after a message.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="\n".join(textwrap.fill(line, 79) for line in description.splitlines()),
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups: dict[str, Any] = {"": parser}
    rest = False
    for each in arguments:
        if each.group not in groups:
            groups[each.group] = parser.add_argument_group(each.group)
        groups[each.group].add_argument(*each.flags, **each.settings)
        rest |= each.settings.get("nargs") == argparse.REMAINDER
    if rest and words and words[0].startswith("-") and words[0] not in ("-h", "--help"):
        parser.error(f"options stand after the first argument, but got {words[0]!r} first")
    return parser.parse_args(words) if rest else parser.parse_intermixed_args(words)
