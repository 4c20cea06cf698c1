"""What a user asks of a study from another terminal, or from another machine: files in its folder.

A request is ``requests/ID.json``, written whole; the driver looks once a second, deletes it when it
takes it, and answers with ``requests/ID.answer``. Each names the session that it is meant for: what
a dead driver left unread, no later one obeys.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from srsgd_ray.backends import Assignment, Trials
from srsgd_ray.backends.probe import UNSEEN, UnseenError
from srsgd_ray.knobs import one_of
from srsgd_ray.results.place import at_fault, of_place
from srsgd_ray.study.controller import Controller

FOLDER = "requests"
LOOK_EVERY = 1.0  # seconds
LET_GO = 5.0  # seconds
STOPPED, SKIPPED = "stopped by the user", "skipped by the user"
STATES = {"stop": ("pruned", STOPPED), "skip": ("failed", SKIPPED)}


def by_user(end: Mapping[str, Any]) -> bool:
    """Whether a user ended the trial that ended so."""
    return str(end.get("reason") or "").startswith((STOPPED, SKIPPED))


def end_of(kind: str, epochs: int, why: str) -> tuple[str, str]:
    """State and reason of a trial that a user has ended after so many epochs.

    ``stop``: pruned, what it reported counts for the search. ``skip``: failed, it tells nothing,
    and ``retry`` runs it again.
    """
    state, reason = STATES[kind]
    return state, f"{reason} at epoch {epochs}{f': {why}' if why else ''}"


class Attended(Trials):
    """A study's trials as a backend runs them, with an ear for requests.

    A context: within it a thread takes requests. A trial that is to end does so where it reports
    next, as if a scheduler stopped it; one that only waits to be resumed ends at once.

    Args:
        controller: of the study.
        stop: ends the whole run in order, from any thread.
    """

    def __init__(self, controller: Controller, stop: Callable[[], None]) -> None:
        self._controller, self._stop = controller, stop
        record = controller.record
        self._place, self._trials = record.folder / FOLDER, record.trials
        self._session = record.contents.sessions[-1]["at"]
        self._lock, self._over = threading.RLock(), threading.Event()
        self._running: set[str] = set()
        self._asked: dict[str, dict[str, Any]] = {}  # requests about trials that run
        self._to_stop: list[dict[str, Any]] = []
        self._broken: Exception | None = None
        self.gave_up = False
        self._thread = threading.Thread(target=self._listen, daemon=True, name="requests")

    def __reduce__(self) -> tuple[Any, ...]:
        return self._controller.__reduce__()

    def check(self) -> None:
        """Raise what went wrong while the study's files were written, if anything did."""
        if self._broken is not None:
            raise self._broken

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """Errors of the study's own files stop it: they are no trial's, in which they come up."""
        with self._lock:
            try:
                self.check()
                yield
            except Exception as error:
                self.broke(error)

    def broke(self, error: Exception) -> None:
        """The study's own files cannot be written: it stops."""
        if self._broken is None:
            self._broken = of_place(error, self._place.parent)
            self._stop()

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nobody else stores anything meanwhile; whoever hangs in it is waited for LET_GO s."""
        held = self._lock.acquire(timeout=LET_GO)
        try:
            yield
        finally:
            if held:
                self._lock.release()

    def __enter__(self) -> Attended:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        for request in self._to_stop:
            done = "finished" if self._controller.finished else "stopped in order"
            self._answer(request, f"the study has {done}")
        for trial, request in self._asked.items():
            self._refuse(request, f"the study was stopped first: {trial} waits to be resumed")

    @property
    def finished(self) -> bool:
        """See :class:`srsgd_ray.backends.Trials`, here and below."""
        with self._lock:  # it may note what is confirmed
            return self._controller.finished

    def next(self) -> Assignment | None:
        """The next trial."""
        assignment = None
        with self._storing():
            assignment = self._controller.next()
            if assignment is not None:
                self._running.add(assignment.trial)
        return assignment

    def epoch(self, trial: str, row: Mapping[str, Any]) -> None:
        """A row."""
        with self._storing():
            self._controller.epoch(trial, row)

    def continues(self, trial: str, row: Mapping[str, Any]) -> bool:
        """Whether neither a user nor the scheduler ends it here."""
        goes_on = trial not in self._asked
        with self._storing():
            goes_on &= self._controller.continues(trial, row)
        return goes_on

    def artifact(self, trial: str, name: str, columns: Mapping[str, list[Any]]) -> None:
        """A table."""
        with self._storing():
            self._controller.artifact(trial, name, columns)

    def ended(self, trial: str, state: str, reason: str | None = None, **facts: Any) -> None:
        """An end, by a user if one has asked for it."""
        with self._storing():
            if state == "failed" and (full := at_fault(str(reason))) is not None:
                raise full  # the trial is sound: it goes on when there is room
            if state == UNSEEN:
                raise UnseenError(reason)
            self._running.discard(trial)
            request = self._asked.pop(trial, None)
            if request is not None and state == "pruned":
                epochs = len(self._trials[trial].rows)
                state, reason = end_of(request["kind"], epochs, request.get("why", ""))
            self._controller.ended(trial, state, reason, **facts)
            if request is not None:
                self._answer(request, self._end_said(trial))

    def waits(self, trials: Mapping[str, float], need: str, over: bool = False) -> None:
        """Trials without workers."""
        with self._storing():
            self._controller.waits(trials, need, over)
        if over:
            self.gave_up = self._stop() is None

    def _listen(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            for path in sorted(self._place.glob("*.json")) if self._place.is_dir() else ():
                self._take(path)

    def _take(self, path: Path) -> None:
        try:
            request = {**json.loads(path.read_text(encoding="utf-8")), "id": path.stem}
            path.unlink()
        except (OSError, ValueError, TypeError):
            return  # withdrawn, or not ours
        if request.get("session") != self._session:
            self._refuse(request, "the study was taken up anew meanwhile. Ask again")
            return
        try:
            with self._lock:
                said = self._act(request)
        except ValueError as error:
            self._refuse(request, str(error))
            return
        except Exception as error:  # such as a request of another version: others will be heard
            logging.getLogger(__name__).exception("a request could not be met: %s", request)
            self._refuse(request, f"that failed in the study's process: {error!r}")
            return
        if said:
            self._answer(request, said)
        elif not request.get("trial"):
            self._to_stop.append(request)
            self._stop()

    def _act(self, request: dict[str, Any]) -> str:
        """Do what is asked; what to answer at once, or "" if the end of something is awaited."""
        kind = request["kind"]
        if kind == "enqueue":
            return self._controller.enqueue(request["arm"], request["point"])
        one_of("request", kind, STATES)
        if not (name := request.get("trial")):
            return ""
        check_running(self._trials, name)
        if name in self._running:
            self._asked[name] = request
            return ""
        epochs = len(self._trials[name].rows)
        self._controller.drop(name, *end_of(kind, epochs, request.get("why", "")))
        return self._end_said(name)

    def _end_said(self, name: str) -> str:
        return end_said(self._trials, name)

    def _answer(self, request: Mapping[str, Any], said: str, done: bool = True) -> None:
        with suppress(OSError):  # nobody may wait any more
            write(self._place / f"{request['id']}.answer", {"done": done, "said": said})

    def _refuse(self, request: Mapping[str, Any], why: str) -> None:
        self._answer(request, why, done=False)


def check_running(trials: Mapping[str, Any], name: str) -> None:
    """Raise ValueError unless a trial of that name has begun and has not ended."""
    one_of("trial", name, trials)
    if trials[name].end is not None:
        raise ValueError(f"{end_said(trials, name)}: it has ended already.")


def end_said(trials: Mapping[str, Any], name: str) -> str:
    """How a trial has ended, in a line."""
    end = trials[name].end
    return ", ".join(filter(None, [f"{name} is {end['state']}", end.get("reason")]))


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a small JSON file whole: a reader sees all of it or nothing."""
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    partial.write_text(json.dumps(dict(content)), encoding="utf-8")
    partial.replace(path)


class Unanswered(ValueError):
    """Nobody has taken a request within its time; it was withdrawn."""


def ask(folder: Path, session: float, request: Mapping[str, Any], limit: float) -> str | None:
    """Ask the driver of a study for something, and wait.

    Args:
        folder: of the study.
        session: when the session began that is meant.
        request: ``kind``, and what belongs to it.
        limit: seconds to wait for the driver to take it, and for it to be done after that.

    Returns:
        What the driver says; None: it has taken the request, and is not done within the limit.

    Raises:
        Unanswered: if nobody takes it.
        ValueError: what the driver says if it refuses.
    """
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    path = place / f"{uuid.uuid4().hex[:12]}.json"
    answer = path.with_suffix(".answer")
    try:
        write(path, {**request, "session": session})
        for waits_for in ("taken", "done"):
            deadline = time.monotonic() + limit
            while time.monotonic() < deadline:
                if answer.is_file():
                    found = json.loads(answer.read_text(encoding="utf-8"))
                    if not found["done"]:
                        raise ValueError(f"{found['said'].rstrip('.')}.")
                    return str(found["said"])
                if waits_for == "taken" and not path.exists():
                    break
                time.sleep(0.1)
            else:
                if waits_for == "taken":
                    raise Unanswered(
                        f"no process that works on {folder} has answered within {limit:g} s, and "
                        f"nothing was changed. If it is gone, resume the study first."
                    )
        return None
    finally:
        for file in (path, answer):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            place.rmdir()
