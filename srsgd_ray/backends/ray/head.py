"""The head of a cluster: whether one answers, and, while a study runs, that it is still there.

Ray itself waits for minutes for a port where no Ray listens, and a minute for a head that is gone,
and then ends the whole process without a word. Whoever asks the head something waits in Ray's C++
code meanwhile, where no signal and no exception reaches it: another thread has the last word.
For the driver's own raylet Ray waits for ever: it never starts again, and Tune asks on for a node.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

ANSWER = 10.0  # seconds within which a cluster's port must take a connection
LOST_AFTER = 15.0  # seconds without an answer, well below Ray's own 60
EVERY = 2.0  # seconds between two looks
CURE = (
    "Start one there with `ray start --head`, correct --address, or leave it out to start Ray on "
    "this machine. If one is there, it may ask for a token: set RAY_AUTH_MODE=token."
)


def check_address(address: str) -> None:
    """Raise ValueError, within seconds, if no Ray listens at ``host:port``; ``auto`` is believed.

    A Ray that wants TLS is only asked for a connection.
    """
    if address.startswith(("http://", "https://")):
        raise ValueError(
            f"--address must be host:port of a Ray head, such as 10.0.0.1:6379, or auto, but got "
            f"{address}, as of a dashboard. Correct it, or submit the study there with `ray job "
            f"submit --address {address}`."
        )
    place = address.rpartition("//")[2]
    if not place.rpartition(":")[2].isdecimal():
        return
    why = unanswered(place, ANSWER)
    if why is None and os.environ.get("RAY_USE_TLS", "0") == "0":
        import grpc

        with grpc.insecure_channel(place, [("grpc.enable_http_proxy", 0)]) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=ANSWER)
            except grpc.FutureTimeoutError:
                why = TimeoutError(
                    f"what listens there is no Ray, or did not answer in {ANSWER:g} s"
                )
    if why is not None:
        raise no_cluster(address, why) from why


def no_cluster(address: str, why: Exception) -> ValueError:
    """The one message that no cluster is there, or that none could be started."""
    said = " ".join(str(why).split()).rstrip(".")
    if address == "local":
        return ValueError(
            f"Ray could not be started on this machine: {said}. Look for the cause with "
            f"`srsgd-ray doctor`, and try again."
        )
    return ValueError(f"no Ray cluster answers at address={address!r}: {said}. {CURE}")


@contextmanager
def watched(places: Mapping[str, str], lost: Callable[[str], object]) -> Iterator[None]:
    """Call ``lost``, once and in a thread of its own, when one of the places no longer answers.

    Args:
        places: what a study cannot do without, in words, and its ``host:port``.
        lost: is given what happened, as a sentence.
    """
    over = threading.Event()

    def watch() -> None:
        heard = dict.fromkeys(places, time.monotonic())
        while not over.wait(EVERY):
            for what, place in places.items():
                if (why := unanswered(place, EVERY)) is None:
                    heard[what] = time.monotonic()
                elif (silent := time.monotonic() - heard[what]) > LOST_AFTER:
                    lost(f"{what} at {place} is gone: no answer for {silent:.0f} s ({why}). "
                         f"Every finished epoch is kept.")  # fmt: skip
                    return

    threading.Thread(target=watch, daemon=True, name="head").start()
    try:
        yield
    finally:
        over.set()


def unanswered(address: str, limit: float) -> OSError | None:
    """Why a ``host:port`` takes no connection within ``limit`` seconds; None if it does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=limit).close()
    except OSError as error:
        return error
    return None
