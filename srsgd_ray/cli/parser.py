"""What all commands share of argparse: the parser, options made from fields, NAME=VALUE pairs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, get_args, get_origin

from srsgd_ray.knobs import did_you_mean

METAVARS = {int: "N", float: "X", Path: "DIR"}
Add = Callable[..., argparse.Action]  # the ``add_argument`` of a parser, or of a group of options


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one message, as those of all commands."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and what was meant where that can be guessed."""
        _, unrecognized, rest = message.partition("unrecognized arguments: ")
        if unrecognized:
            word = rest.split()[0].partition("=")[0]
            message = f"unknown {'option' if word[0] == '-' else 'word'} {word!r}."
            options = [o for action in self._actions for o in action.option_strings]
            begun = [o for o in options if o.startswith(word) and len(word) > 2]
            message += did_you_mean(begun[0] if begun else word, options)
        message += "" if message[-1] in ".?" else "."
        self.exit(2, f"{self.prog}: {message} See: {self.prog} --help\n")


def new_parser(prog: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of a command.

    Names of options must be whole: the command that resumes another one is made from its words.
    """
    if "%(prog)" in description:  # then argparse takes it for a format
        description = description.replace("%", "%%")
    return Parser(
        prog=prog,
        description="\n".join(textwrap.fill(line, 79) for line in description.splitlines()),
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def parse(
    parser: argparse.ArgumentParser, words: Sequence[str], *, rest: bool = False
) -> argparse.Namespace:
    """Parse the words of a command; options may stand between positional arguments.

    With ``rest`` all words after the first are for another parser, and the last argument has them.

    Raises:
        SystemExit: 0 after ``--help``, 2 after a message.
    """
    if not rest:
        return parser.parse_intermixed_args(words)
    if words and words[0].startswith("-") and words[0] not in ("-h", "--help"):
        parser.error(f"options stand after the first argument, but got {words[0]!r} first")
    return parser.parse_args(words)


def plainly(add: Add) -> Add:
    """``add`` for helps that are texts: argparse takes them for formats.

    An option of several words that is given again adds to them: argparse would drop the first ones.
    """

    def added(*names: str, help: str, **more: Any) -> argparse.Action:
        if names[0].startswith("-") and more.get("nargs") == "+":
            more.setdefault("action", "extend")
        return add(*names, help=help.replace("%", "%%"), **more)

    return added


def add_field(add: Add, field: dataclasses.Field[Any], kind: Any) -> None:
    """Add the option of a dataclass's field: its name and type, and its metadata's ``doc`` as help.

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
    settings: dict[str, Any] = {"help": text}
    if kind is bool:
        settings["action"] = argparse.BooleanOptionalAction
    elif get_origin(kind) is dict:
        settings |= {"nargs": "+", "metavar": "NAME=VALUE"}
    elif get_origin(kind) is tuple:
        settings |= {"nargs": "*", "type": get_args(kind)[0], "metavar": "X"}
    else:
        settings |= {"type": kind, "metavar": METAVARS.get(kind, "NAME")}
    add(f"--{field.name.replace('_', '-')}", **settings)


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
                f"Write for example {example if '=' in flag else f'{flag} {example}'}."
            )
        found[name] = _value(text)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False}.get(text, text)
