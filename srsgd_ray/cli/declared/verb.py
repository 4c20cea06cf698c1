"""What a verb is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from srsgd_ray.cli.parser import Add


@dataclass(frozen=True)
class Verb:
    """One command.

    Attributes:
        help: what it does, in a line.
        module: of ``srsgd_ray.cli``, whose function ``VERB_verb`` does it: it takes the parsed
            words and returns the exit status, or None for 0.
        arguments: adds what it takes; called when the verb is, for it may import much.
        more: what ``--help`` says besides.
        rest: whether the words after the first are a study's own.
        resumed: makes the words that resume it after an interruption from those that it was given;
            None: nothing resumes it.
    """

    help: str
    module: str
    arguments: Callable[[Add], object]
    more: str = ""
    rest: bool = False
    resumed: Callable[[Sequence[str]], list[str]] | None = None
