"""``srsgd-ray lmdb``: makes, checks and describes databases of images."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from srsgd_ray.image_lmdb import Options, build, convert
from srsgd_ray.image_lmdb.info import info
from srsgd_ray.image_lmdb.verify import KINDS, Verdict, verify

__all__ = ["lmdb_command"]

PROG = "srsgd-ray lmdb"
PLAIN_EVERY = 10.0  # seconds between two lines where the output is no terminal
SHOWN = 50  # problems of a kind that are printed


class Ended(BaseException):
    """A signal asked this process to end."""


def lmdb_command(argv: Sequence[str]) -> int:
    """Do what the words after ``srsgd-ray lmdb`` ask for.

    Returns:
        The exit status: 2 after a message for bad input, 1 if ``verify`` found something, 130 or
        143 if it was interrupted.
    """
    given = _parser().parse_args(argv)
    try:
        with _ending():
            return int({"verify": _verify, "info": _info}.get(given.what, _make)(given))
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        print(f"{PROG} {given.what}: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Ended) as end:
        print(f"\n{PROG} {given.what}: interrupted.", file=sys.stderr)
        if given.what in ("build", "convert"):
            words = shlex.join(word for word in argv if word != "--force")
            print(f"What was written stays. Go on with: {PROG} {words}", file=sys.stderr)
        return 143 if isinstance(end, Ended) else 130


@contextmanager
def _ending() -> Iterator[None]:
    """SIGTERM raises, as SIGINT does, so that workers are ended and nothing is left half."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Ended

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROG, description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    for name, text, source in (
        (
            "build",
            "a database of image files",
            "a folder tree, its train and val, or a tar",
        ),
        ("convert", "a database of another one", "the original's, Caffe's or ours, or a pair"),
    ):
        make = commands.add_parser(
            name,
            allow_abbrev=False,
            help=text,
            epilog=f"example: {PROG} {name} /data/imagenet /data/lmdb --repack",
        )
        make.add_argument("source", type=Path, help=source)
        make.add_argument("destination", type=Path, help="NAME.lmdb; for train and val a folder")
        make.add_argument(
            "--store", default="encoded", help="encoded (files) or decoded (pixels) [encoded]"
        )
        make.add_argument("--largest-side", type=int, metavar="N", help="scale larger images down")
        make.add_argument("--quality", type=int, metavar="Q", help="encode every image anew, 1-100")
        make.add_argument(
            "--repack", action="store_true", help="restart markers in JPEG files, without loss"
        )
        make.add_argument(
            "--on-corrupt",
            default="stop",
            help="unreadable images: stop, skip (and list), or keep where they decode [stop]",
        )
        make.add_argument(
            "--force", action="store_true", help="replace a database, begin a half-built one anew"
        )
        _workers(make)
    check = commands.add_parser("verify", help="look at every image, say what is wrong")
    check.add_argument("path", type=Path, help="a database or folder tree")
    check.add_argument("--against", type=Path, metavar="SOURCE", help="what it must be the same as")
    check.add_argument("--all", action="store_true", help=f"all problems, not {SHOWN} of a kind")
    _workers(check)
    tell = commands.add_parser("info", help="what it holds")
    tell.add_argument("path", type=Path, help="a database or folder tree")
    return parser


def _workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=0, help="processes [one for each CPU]")


def _make(given: argparse.Namespace) -> int:
    options = Options(
        given.store, given.largest_side, given.quality, given.repack, given.on_corrupt
    )
    make = build if given.what == "build" else convert
    with _Bar() as bar:
        made = make(
            given.source,
            given.destination,
            options,
            workers=given.workers,
            force=given.force,
            progress=bar.tell,
        )
    for done in made:
        there = ", was there already and stays" if done.kept else ""
        _say(f"{done.path}: {done.samples:,} images, {done.bytes / 1e9:.3f} GB{there}")
        if done.skipped:
            _say(
                f"{len(done.skipped)} images could not be decoded and were left out; they are "
                f"listed in {done.path}.skipped.txt: {', '.join(done.skipped[:5])}"
                f"{' ...' * (len(done.skipped) > 5)}"
            )
    return 0


def _verify(given: argparse.Namespace) -> int:
    if given.workers < 0:
        raise ValueError(f"0 <= --workers must hold, but got {given.workers}. Correct it.")
    workers = given.workers or len(os.sched_getaffinity(0))
    with _Bar() as bar:
        found = verify(
            given.path,
            against=given.against,
            workers=workers,
            progress=lambda done, count: bar.tell(given.path.name, done, count, 0),
        )
    _print_problems(found, None if given.all else SHOWN)
    return 1 if found.problems else 0


def _print_problems(found: Verdict, most: int | None) -> None:
    for kind, text in KINDS.items():
        of_kind = [problem.text for problem in found.problems if problem.kind == kind]
        if of_kind:
            _say(f"{len(of_kind)} x {kind} ({text}):")
            _say("\n".join(f"  {line}" for line in of_kind[:most]))
            if len(of_kind) > len(of_kind[:most]):
                _say(f"  ... and {len(of_kind) - len(of_kind[:most])} more: --all shows them")
    for name, earlier in found.doubled[:most]:
        _say(f"note: {name} has the bytes of {earlier}")
    _say(
        f"{found.samples:,} images looked at, {len(found.problems)} problems, "
        f"{len(found.doubled)} with the bytes of another"
    )


def _info(given: argparse.Namespace) -> int:
    for name, text in info(given.path).items():
        _say(f"{name:28} {text}")
    return 0


def _say(text: str) -> None:
    """Print, also names that are no UTF-8, which a strict terminal would refuse."""
    print(text.encode(errors="backslashreplace").decode())


class _Bar:
    """Progress on standard error: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._began: dict[str, tuple[float, int]] = {}
        self._tasks: dict[str, Any] = {}
        self._told = 0.0

    def __enter__(self) -> _Bar:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=self._console,
            )  # fmt: skip
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, name: str, done: int, count: int, size: int) -> None:
        """``done`` of ``count`` images, ``size`` bytes written so far."""
        now = time.monotonic()
        # The first call tells how far an earlier session came.
        began, before = self._began.setdefault(name, (now, done))
        rate = (done - before) / (now - began) if now > began else 0.0
        text = f"{rate:,.0f} images/s" + (f", {size / 1e6:,.0f} MB" if size else "")
        if self._bar is not None:
            if name not in self._tasks:
                self._tasks[name] = self._bar.add_task(name, total=count, completed=done, rate="")
            self._bar.update(self._tasks[name], completed=done, rate=text)
        elif now - self._told > PLAIN_EVERY or done == count:
            self._told = now
            left = f", {(count - done) / rate:,.0f} s left" if rate and done < count else ""
            print(f"{name}: {done:,} of {count:,}, {text}{left}", file=sys.stderr, flush=True)
