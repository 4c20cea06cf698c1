"""Whether a place for checkpoints can be used, and is one and the same from every node."""

from __future__ import annotations

import platform
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from srsgd_ray.backends.limit import within
from srsgd_ray.backends.store import FILE_NAME, CheckpointStore, is_uri, join
from srsgd_ray.results.place import no_new_folders

LIMIT = 20.0  # seconds within which a storage must take a small file, and give it back
DRIVER = "driver"  # the file by which nodes recognise the driver's place
NOT_THERE = "does not find there what the driver wrote"
UNSEEN = "unseen"  # the state of a trial that such a machine was to run


class UnseenError(ValueError):
    """A machine whose place for checkpoints is not the driver's."""


def check_storage(location: str) -> None:
    """Write a small file below ``location``, find it there, and delete it again.

    Raises:
        ValueError: if that cannot be done; nothing is left then.
    """
    try:
        with _no_new_folders(location):
            within(LIMIT, _try, new_place(location))
    except Exception as error:
        raise ValueError(
            f"--storage must be a folder or URI that can be written, but {location} is not: "
            f"{why(error)}. Choose another, or make it first."
        ) from error


@contextmanager
def probing(location: str, text: str) -> Iterator[str]:
    """A place below ``location`` that holds the driver's file, and is gone afterwards."""
    place = new_place(location)
    with _no_new_folders(location):
        try:
            within(LIMIT, put, join(place, DRIVER), text)
            yield place
        finally:
            within(LIMIT, remove, place)


def _no_new_folders(location: str) -> AbstractContextManager[None]:
    """A bucket has no folders that would stay."""
    return nullcontext() if is_uri(location) else no_new_folders(Path(location))


def _try(place: str) -> None:
    put(place, "probe")
    if take(place) != "probe":
        raise OSError("what was written is not there")
    remove(place)


def new_place(location: str) -> str:
    """A name below ``location`` that nobody has."""
    return join(location, f".srsgd-ray-probe-{uuid.uuid4().hex[:8]}")


def put(place: str, text: str) -> None:
    """Write a file in the folder ``place``, as a checkpoint is written."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE_NAME).write_text(text, encoding="utf-8")

    CheckpointStore(place).keep(write)


def take(place: str) -> str | None:
    """What :func:`put` wrote there, or None."""
    with CheckpointStore(place).fetch() as found:
        return None if found is None else (found / FILE_NAME).read_text(encoding="utf-8")


def remove(place: str) -> None:
    """Delete the folder, if it is there."""
    CheckpointStore(place).remove()


def answer(place: str, text: str, name: str) -> str:
    """On a node: find what the driver put below ``place``, and put a file ``name`` beside it.

    Returns:
        What is wrong, or "".
    """
    if wrong := _unseen(place, text):
        return wrong
    try:
        within(LIMIT, put, join(place, name), text)
    except Exception as error:
        return _unusable(error)
    return ""


def _unseen(place: str, text: str) -> str:
    """What is wrong if the driver's file is not found below ``place``; or ""."""
    try:
        return "" if within(LIMIT, take, join(place, DRIVER)) == text else NOT_THERE
    except Exception as error:
        return _unusable(error)


def _unusable(error: Exception) -> str:
    return f"cannot use it: {why(error)}"


def why(error: Exception) -> str:
    """The first line of what an error says."""
    said = str(error).strip()
    return said.splitlines()[0] if said else repr(error)


def check_seen(root: str, text: str) -> None:
    """On a machine that begins its first trial: find what the driver put below ``root``.

    Raises:
        UnseenError: if it is not there.
    """
    if wrong := _unseen(root, text):
        raise not_shared(root, platform.node(), wrong)


def not_shared(location: str, node: str, wrong: str) -> UnseenError:
    """The one message about a node that does not use the driver's place."""
    return UnseenError(
        f"--storage must be a folder or URI that every node uses, but of {location} node {node} "
        f"{wrong}. Give a folder that every node mounts at the same path, or a bucket."
    )
