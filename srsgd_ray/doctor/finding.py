"""A finding, and looks that end in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from srsgd_ray.backends.limit import begin

OK, WARNING, ERROR = LEVELS = ("ok", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """What a look found.

    Attributes:
        level: one of ``LEVELS``. An error will end a study, a warning may.
        what: was looked at.
        value: that was found.
        cure: what can be done, with the command to type; "" where nothing must be.
    """

    level: str
    what: str
    value: str
    cure: str = ""


@dataclass(frozen=True)
class Look:
    """One look: its name, what finds, and the seconds that it may take."""

    what: str
    find: Callable[[], Sequence[Finding]]
    limit: float = 15.0


def examined(looks: Sequence[Look]) -> Iterator[Finding]:
    """The findings of all looks, in their order; they are done at the same time.

    A look that hangs or fails is a finding itself.
    """
    begun = [(look, begin(look.find)) for look in looks]
    for look, wait in begun:
        try:
            yield from wait(look.limit)
        except TimeoutError as error:
            cure = "Look for a dead file system (df) or an overloaded machine (top)."
            yield Finding(ERROR, look.what, str(error), cure)
        except Exception as error:
            yield Finding(WARNING, look.what, f"could not look: {error!r}")


def gigabytes(count: float) -> str:
    """Bytes for a reader, such as ``1.5 GB``."""
    return f"{count / 1e9:.1f} GB"
