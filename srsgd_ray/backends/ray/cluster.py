"""Ray, started here or joined, and the orderly end of a run on it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from srsgd_ray.backends.ray.head import check_address, no_cluster, watched
from srsgd_ray.backends.ray.left import check_room, noted
from srsgd_ray.backends.signals import handled, on_interrupt

logger = logging.getLogger(__name__)

SETTLE = 3.0  # seconds
_LOCK = threading.Lock()
_HELD: list[int] = []  # of a Ray that was connected to here: how many studies are on it
_NOTE = ExitStack()  # open while a Ray runs that was started here


@contextmanager
def ray_cluster(
    address: str, quiet: bool = False, lost: Callable[[str], object] = logger.error
) -> Iterator[list[dict[str, float]]]:
    """Ray, started here or joined; yields the resources of its nodes.

    Args:
        address: ``local`` to start one, ``auto`` or a URL to join. A process that is connected
            already stays where it is; of several studies in its threads the last one leaves it.
        quiet: nothing that Ray and its workers say is printed.
        lost: called in another thread with what happened if the cluster's head or this machine's
            part of it is gone; Ray ends the process some 40 s later, or never.

    Raises:
        ValueError: if none answers.
    """
    # Nothing may leave this machine, and Ray must not start a Train run of its own address.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # what is printed goes to a file
    os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")  # nobody reads Tune's snapshot
    # Ray would start a worker for each core; Tune's actors, of another environment, use none.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    # What a shell has for another program must not move the workers, or take Ctrl-C from us.
    os.environ |= {"RAY_CHDIR_TO_TRIAL_DIR": "0", "TUNE_DISABLE_SIGINT_HANDLER": "1"}
    import ray

    check_address(address)
    with _LOCK:
        if not ray.is_initialized():
            _NOTE.enter_context(_connect(address, quiet))
            _HELD.append(0)
        if _HELD:
            _HELD[0] += 1
    try:
        with watched(_vital(), lost) if _HELD else nullcontext():
            yield _nodes()
    finally:
        with _LOCK:
            if _HELD:
                _HELD[0] -= 1
                if not _HELD[0]:
                    _HELD.clear()
                    _NOTE.close()
                    ray.shutdown()


def _connect(address: str, quiet: bool) -> AbstractContextManager[object]:
    """Start Ray or join it; what notes, within it, that it is ours, if it was started."""
    import ray

    if address == "local":
        check_room()
    # A terminal that closes ends the study in order, and not Ray's processes before that.
    with warnings.catch_warnings(), handled({signal.SIGHUP: signal.SIG_IGN}):
        warnings.simplefilter("ignore")
        try:
            # Without its dashboard, Ray never frees the workers of a stopped Train run.
            own = True if address == "local" else None
            started: Any = _staying(
                ray.init,
                address=address,
                log_to_driver=not quiet,
                include_dashboard=own,
                logging_level=logging.ERROR if quiet else logging.INFO,
            )
        except Exception as error:  # Ray raises that very class where a node is slow to start
            raise no_cluster(address, error) from error
    return noted(Path(started["session_dir"])) if own else nullcontext()


def _staying(call: Callable[..., Any], **more: Any) -> Any:
    """``call``, in the main thread or in one that stays: Ray's processes end with their starter."""
    if threading.current_thread() is threading.main_thread():
        return call(**more)
    done: Future[Any] = Future()

    def stay() -> None:
        try:
            done.set_result(call(**more))
        except BaseException as error:
            done.set_exception(error)
        threading.Event().wait()

    threading.Thread(target=stay, daemon=True, name="ray").start()
    return done.result()


def _vital() -> dict[str, str]:
    """Where the head's store (GCS) and this machine's raylet listen, by what they are."""
    import ray

    here = ray.get_runtime_context()
    found = {"the head of the Ray cluster": here.gcs_address}
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["NodeID"] == here.get_node_id():
            place = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
            found["this machine's part of Ray (its raylet)"] = place
    return found


def _nodes() -> list[dict[str, float]]:
    import ray

    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def alone() -> bool:
    """Whether this process connected to Ray for the one study that it has on it."""
    return _HELD == [1]


def free_resources() -> list[dict[str, float]]:
    """What nobody holds of each node; what was just left is waited for, as Ray hears of it late."""
    from ray._private.state import available_resources_per_node

    ask: Callable[[], dict[str, dict[str, float]]] = available_resources_per_node
    whole = sum(node.get("CPU", 0.0) for node in _nodes())
    until = time.monotonic() + SETTLE
    while True:
        free: list[dict[str, float]] = list(ask().values())
        cpus = sum(node.get("CPU", 0.0) for node in free)
        if cpus >= whole or time.monotonic() > until:
            return free
        time.sleep(0.2)


@contextmanager
def gentle_stop(act: Callable[[], object]) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM call ``act``, which ends the Tune run in order.

    Tune's own handler for Ctrl-C is off: it says nothing while its actors leave, which takes some
    15 s, and a second Ctrl-C then ends in a traceback.
    """

    def stop(count: int) -> None:
        if count == 1:
            act()
        elif count > 2:
            raise KeyboardInterrupt

    with on_interrupt(stop):
        yield
