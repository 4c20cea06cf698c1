"""The protocol between a slot's Tune actor and its workers, without Ray."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from srsgd_ray.backends import Assignment
from srsgd_ray.backends.ray.channel import CLOSE, Channel

SHORT = 0.02


@pytest.fixture
def box() -> Channel:
    return Channel()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as made:
        yield made


def row(epoch: int) -> dict[str, Any]:
    return {"kind": "row", "row": {"epoch": epoch}}


def trouble(reason: str) -> dict[str, Any]:
    return {"kind": "end", "state": "trouble", "reason": reason}


AHEAD = Assignment("t", {}, 0, 9, 0, False, runs_ahead=True)
END = {"kind": "end", "state": "complete"}


def test_a_trial_from_hand_to_end(box: Channel, pool: ThreadPoolExecutor) -> None:
    assert box.next(0, SHORT) is None
    serial = box.assign({"config": 1}, known_epochs=0)
    assert box.next(0, SHORT) == (serial, {"config": 1})
    box.report(serial, row(1))
    assert box.take(SHORT) == row(1)
    assert box.continues(serial, 1, SHORT) is None  # Tune has not decided
    waiting = pool.submit(box.continues, serial, 1, 5)
    time.sleep(SHORT)
    box.release(1)
    assert waiting.result(5) is True
    box.report(serial, END)
    assert box.take(SHORT) == END
    assert box.next(serial, SHORT) is None
    assert box.next(0, SHORT) is None  # an ended trial is not begun again


def test_a_stopped_trial_leaves_no_work(box: Channel, pool: ThreadPoolExecutor) -> None:
    serial = box.assign({}, 0)
    box.report(serial, row(1))
    waiting = pool.submit(box.continues, serial, 1, 5)
    time.sleep(SHORT)
    box.cancel()
    assert waiting.result(5) is False
    box.report(serial, row(2))
    assert box.take(SHORT) is None  # a late row of the old trial goes nowhere
    again = box.assign({"config": 2}, 0)
    assert box.next(serial, SHORT) == (again, {"config": 2})


def test_a_trial_that_runs_ahead_waits_for_the_release_of_the_epoch_before(box: Channel) -> None:
    serial = box.assign(AHEAD, 0)
    box.report(serial, row(1))
    assert box.continues(serial, 1, SHORT) is True  # Tune has not decided
    box.report(serial, row(2))
    assert box.continues(serial, 2, SHORT) is None
    box.release(1)
    assert box.continues(serial, 2, SHORT) is True
    box.cancel()
    assert box.continues(serial, 2, SHORT) is True  # what one worker was told holds for the others
    assert box.continues(serial, 3, SHORT) is False


def test_the_next_trial_stops_the_one_before(box: Channel, pool: ThreadPoolExecutor) -> None:
    old = box.assign({}, 0)
    waiting = pool.submit(box.continues, old, 1, 5)
    time.sleep(SHORT)
    box.assign({}, 0)
    assert waiting.result(5) is False


def test_a_worker_group_that_died_begins_the_trial_again(box: Channel) -> None:
    serial = box.assign({"config": 1}, known_epochs=2)
    box.begin(serial)
    box.report(serial, row(2))  # known already
    box.report(serial, row(3))
    assert box.take(SHORT) == row(3)
    box.report(serial, trouble("boom"))
    assert box.take(SHORT) is None  # not final: the group comes back
    assert box.next(0, SHORT) == (serial, {"config": 1})
    box.begin(serial)
    for epoch in (1, 2, 3):
        box.report(serial, row(epoch))  # reported again from the checkpoint
    box.report(serial, row(4))
    assert box.take(SHORT) == row(4)
    assert box.continues(serial, 2, SHORT) is True
    pulse = box.heartbeat()
    assert (pulse["groups"], pulse["trouble"], pulse["epoch"]) == (2, "boom", 4)


def test_the_same_error_twice_ends_the_trial(box: Channel) -> None:
    serial = box.assign({}, 0)
    box.report(serial, trouble("shapes do not fit (a.py:3)"))
    assert box.take(SHORT) is None
    box.report(serial, trouble("out of memory"))
    assert box.take(SHORT) is None
    box.report(serial, trouble("out of memory"))
    assert box.take(SHORT) == {"kind": "end", "state": "failed", "reason": "out of memory"}
    assert box.next(0, SHORT) is None


def test_signs_of_life_reset_the_silence(box: Channel) -> None:
    serial = box.assign({}, 0)
    time.sleep(0.2)
    assert box.heartbeat()["silent"] >= 0.19
    box.touch(serial, 7)
    pulse = box.heartbeat()
    assert pulse["silent"] < 0.19
    assert pulse["step"] == 7
    box.touch(serial - 1, 9)  # of an earlier trial
    assert box.heartbeat()["step"] == 7


def test_close_reaches_waiting_workers(box: Channel, pool: ThreadPoolExecutor) -> None:
    waiting = pool.submit(box.next, 0, 5)
    time.sleep(SHORT)
    box.close()
    found = waiting.result(5)
    assert found is not None
    assert found[1] == CLOSE


def test_errors_that_differ_end_the_trial_at_the_fourth(box: Channel) -> None:
    serial = box.assign({}, 0)
    for number in range(4):
        assert box.next(0, SHORT) == (serial, {})
        box.begin(serial)
        assert box.take(0) is None
        box.report(serial, trouble(f"node {number} is gone"))
    assert box.take(SHORT) == {"kind": "end", "state": "failed", "reason": "node 3 is gone"}
    assert box.next(0, SHORT) is None
