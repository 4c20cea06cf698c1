"""The protocol between a slot's Tune actor and its workers, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from srsgd_ray.backends.ray.channel import CLOSE, Channel

SHORT = 0.02


def play(scene: Callable[[Channel], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(scene(Channel()), 10)

    asyncio.run(run())


def row(epoch: int) -> dict[str, Any]:
    return {"kind": "row", "row": {"epoch": epoch}}


def test_a_trial_from_hand_to_end() -> None:
    async def scene(box: Channel) -> None:
        assert await box.next(0, SHORT) is None
        serial = await box.assign({"config": 1}, known_epochs=0)
        assert await box.next(0, SHORT) == (serial, {"config": 1})
        await box.report(serial, row(1))
        assert await box.take(SHORT) == row(1)
        assert await box.may_go_on(serial, 1, SHORT) is None  # Tune has not decided
        waiting = asyncio.create_task(box.may_go_on(serial, 1, 5))
        await asyncio.sleep(SHORT)
        await box.release(1)
        assert await waiting is True
        await box.report(serial, {"kind": "end"})
        assert await box.take(SHORT) == {"kind": "end"}
        assert await box.next(serial, SHORT) is None
        assert await box.next(0, SHORT) is None  # an ended trial is not begun again

    play(scene)


def test_a_stopped_trial_leaves_no_work() -> None:
    async def scene(box: Channel) -> None:
        serial = await box.assign({}, 0)
        await box.report(serial, row(1))
        waiting = asyncio.create_task(box.may_go_on(serial, 1, 5))
        await asyncio.sleep(SHORT)
        await box.cancel()
        assert await waiting is False
        await box.report(serial, row(2))
        assert await box.take(SHORT) is None  # a late row of the old trial goes nowhere
        again = await box.assign({"config": 2}, 0)
        assert await box.next(serial, SHORT) == (again, {"config": 2})

    play(scene)


def test_the_next_trial_stops_the_one_before() -> None:
    async def scene(box: Channel) -> None:
        old = await box.assign({}, 0)
        waiting = asyncio.create_task(box.may_go_on(old, 1, 5))
        await asyncio.sleep(SHORT)
        await box.assign({}, 0)
        assert await waiting is False

    play(scene)


def test_a_worker_group_that_died_begins_the_trial_again() -> None:
    async def scene(box: Channel) -> None:
        serial = await box.assign({"config": 1}, known_epochs=2)
        await box.begin(serial)
        await box.report(serial, row(2))  # known already
        await box.report(serial, row(3))
        assert await box.take(SHORT) == row(3)
        await box.report(serial, {"kind": "trouble", "error": "boom"})
        assert await box.take(SHORT) is None  # not final: the group comes back
        assert await box.next(0, SHORT) == (serial, {"config": 1})
        await box.begin(serial)
        for epoch in (1, 2, 3):
            await box.report(serial, row(epoch))  # told again from the checkpoint
        await box.report(serial, row(4))
        assert await box.take(SHORT) == row(4)
        assert await box.may_go_on(serial, 2, SHORT) is True
        pulse = await box.heartbeat()
        assert (pulse["groups"], pulse["trouble"], pulse["epoch"]) == (2, "boom", 4)

    play(scene)


def test_the_same_error_twice_ends_the_trial() -> None:
    async def scene(box: Channel) -> None:
        serial = await box.assign({}, 0)
        await box.report(serial, {"kind": "trouble", "error": "shapes do not fit (a.py:3)"})
        assert await box.take(SHORT) is None
        await box.report(serial, {"kind": "trouble", "error": "out of memory"})
        assert await box.take(SHORT) is None
        await box.report(serial, {"kind": "trouble", "error": "out of memory"})
        assert await box.take(SHORT) == {"kind": "error", "error": "out of memory"}
        assert await box.next(0, SHORT) is None

    play(scene)


def test_signs_of_life_reset_the_silence() -> None:
    async def scene(box: Channel) -> None:
        serial = await box.assign({}, 0)
        await asyncio.sleep(0.2)
        assert (await box.heartbeat())["silent"] >= 0.19
        await box.touch(serial, 7)
        pulse = await box.heartbeat()
        assert pulse["silent"] < 0.19
        assert pulse["step"] == 7
        await box.touch(serial - 1, 9)  # of an earlier trial
        assert (await box.heartbeat())["step"] == 7

    play(scene)


def test_close_reaches_waiting_workers() -> None:
    async def scene(box: Channel) -> None:
        waiting = asyncio.create_task(box.next(0, 5))
        await asyncio.sleep(SHORT)
        await box.close()
        found = await waiting
        assert found is not None
        assert found[1] == CLOSE

    play(scene)
