"""How long a study will still take: from its record alone, against what recorded studies took."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from srsgd_ray.results.record import Contents
from srsgd_ray.results.remaining import remaining

# Times of real studies on two cores, with what no time depends on left out: a loop of one's own,
# pruned trials, several searches, failures, trials of many lengths. Two studies are not here: other
# work slowed their epochs fivefold on the way: at 25 % the ends were off by -41 and +186 %.
RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.jsonl.gz"))


def _contents(events: list[dict[str, Any]]) -> Contents:
    contents = Contents(events[0], [], {})
    for event in events[1:]:
        contents.apply(event)
    return contents


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.partition(".")[0])
def test_the_predicted_end_is_near_the_true_one(path: Path) -> None:
    events = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    began = events[0]["at"]
    end = max(event["at"] for event in events if event["event"] == "end")
    for part in (0.25, 0.5, 0.75):
        cut = events[: round(part * len(events))]
        now = cut[-1]["at"]
        found = remaining(_contents(cut), now)
        assert found.seconds is not None
        assert now + found.seconds - began == pytest.approx(end - began, rel=0.25), part
    whole = remaining(_contents(events), end)
    assert whole.seconds == 0
    assert (whole.ended, whole.done) == (whole.trials, whole.epochs)


def _study(**spec: Any) -> list[dict[str, Any]]:
    known = {"arms": [{"name": "a"}], "epochs": 4, "trials": 6, "confirm_seeds": 2} | spec
    header = {"event": "study", "at": 0.0, "spec": known, "budget": "passes"}
    return [header, {"event": "session", "at": 0.0, "held_workers": 2}]


def _trial(
    number: int, began: float, epochs: int, each: float, state: str = "", phase: str = "search"
) -> list[dict[str, Any]]:
    """A trial that reports each ``each`` seconds, and ends with its last row if it has a state."""
    name = f"{phase}-a-{number}"
    config = {"passes": 4, "seed": number}
    known = {"trial": name, "phase": phase, "arm": "a", "number": number, "config": config}
    found: list[dict[str, Any]] = [{"event": "trial", "at": began, **known}]
    for epoch in range(1, epochs + 1):
        at = began + each * epoch
        found.append({"event": "epoch", "at": at, "trial": name, "epoch": epoch, "time": at})
    if state:
        end = {"event": "end", "trial": name, "state": state, "reason": None, "workers": 1}
        found.append({**end, "at": began + each * epochs})
    return found


def _said(events: list[dict[str, Any]], now: float) -> float | None:
    return remaining(_contents(events[:2] + sorted(events[2:], key=lambda e: e["at"])), now).seconds


def test_slots_work_side_by_side_and_a_confirmation_waits_for_its_search() -> None:
    # Two slots, trials of 40 s: at 80 s four of six searched ones have ended, and two runs follow.
    events = _study()
    for number in range(4):
        events += _trial(number, 40.0 * (number // 2), 4, 10.0, "complete")
    assert _said(events, 80.0) == pytest.approx(40 + 40)
    events += _trial(4, 80.0, 2, 10.0)
    assert _said(events, 100.0) == pytest.approx(40 + 40)  # the other slot is idle so far
    three = _study(trials=5) + events[2:]
    assert _said(three, 100.0) == pytest.approx(20 + 40)  # the idle slot waits for the search's end


def test_the_first_trials_of_slots_do_not_tell_what_a_first_epoch_costs() -> None:
    # Workers load libraries for 100 s before their first epoch, and never again.
    events = _study(trials=4, confirm_seeds=0)
    for number in range(2):
        slow = _trial(number, 0.0, 4, 10.0, "complete")
        events += [
            slow[0],
            *({**e, "at": e["at"] + 100, "time": e["at"] + 100} for e in slow[1:-1]),
        ]
        events.append({**slow[-1], "at": 140.0})
    assert _said(events, 140.0) == pytest.approx(40)


def test_trials_that_are_stopped_are_as_long_as_the_stopped_ones_were() -> None:
    events = _study(trials=8, confirm_seeds=0)
    for number in range(4):
        events += _trial(number, 10.0 * (number // 2), 1, 10.0, "pruned")
    assert _said(events, 20.0) == pytest.approx(4 * 10 / 2)


def test_nothing_is_said_before_anything_was_measured_and_0_after_the_end() -> None:
    events = _study(trials=2, confirm_seeds=0)
    assert _said(events, 5.0) is None
    found = remaining(_contents(events), 5.0)
    assert (found.trials, found.epochs, found.ended, found.done) == (2, 8, 0, 0)
    for number in range(2):
        events += _trial(number, 0.0, 4, 1.0, "complete" if number else "failed")
    assert _said(events, 9.0) == 0.0


def test_a_study_that_was_resumed_counts_this_session_only() -> None:
    events = _study(trials=4, confirm_seeds=0)
    for number in range(2):
        events += _trial(number, 0.0, 4, 1.0, "complete")
    events.append({"event": "session", "at": 1000.0, "held_workers": 2})
    for number in range(2, 4):
        events += _trial(number, 1000.5, 2, 20.0)
    assert _said(events, 1040.5) == pytest.approx(2 * 20, abs=1)
    waited = events[:-2]  # the second one has reported once
    assert _said(waited, 1041.0) is not None
