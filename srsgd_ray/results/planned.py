"""What a study has planned, whether all of it has ended, and which trials a longer one leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from srsgd_ray.results.contents import Contents


class Planned(NamedTuple):
    """What an arm was to be given: runs and trials of each search, and searches."""

    seeds: int
    searches: int
    trials: int


def planned(spec: Mapping[str, Any], arm: str) -> Planned | None:
    """What a study's ``spec`` gives an arm; None if it says nothing."""
    own: Mapping[str, Any] = {a["name"]: a for a in spec.get("arms", [])}.get(arm, {})
    seeds, trials = (
        spec.get(name) if own.get(name) is None else own[name]
        for name in ("confirm_seeds", "trials")
    )
    return None if seeds is None else Planned(seeds, int(spec.get("searches") or 1), trials or 0)


def asks_more(was: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Whether a spec asks more of arms that another one has, or searches them elsewhere."""
    then = {arm["name"]: arm for arm in was.get("arms", [])}
    return any(
        planned(spec, arm["name"]) != planned(was, arm["name"])
        or arm.get("space") != then[arm["name"]].get("space")
        for arm in spec.get("arms", [])
        if arm["name"] in then
    )


def superseded(contents: Contents) -> set[str]:
    """The trials that stay in the tables and count for nothing more: the one place that decides.

    A search trial, where the space was changed to one that does not hold it. A confirmation run,
    where its search was continued and has selected another configuration since.
    """
    found = set(contents.header.get("outside", ()))
    for trial in contents.trials.values():
        selected = contents.selected.get(trial.search)
        if trial.confirms and selected and trial.confirms not in selected.get(trial.arm, ()):
            found.add(trial.trial)
    return found


def look_seen(contents: Contents) -> bool:
    """Whether results of the study's latest look may have been seen.

    An extension that confirms nothing new, since the winners stay, was no look. With several
    searches it was: what they show together is another thing after each of them went on.
    """
    return any(
        trial.look == contents.look
        and (trial.end is not None if trial.phase == "confirm" else trial.search > 0)
        for trial in contents.trials.values()
    ) and any(trial.phase == "confirm" and trial.end for trial in contents.trials.values())


def look_ended(contents: Contents) -> bool:
    """Whether all that was to be searched and confirmed has been run, and has ended.

    A search without a complete trial has nothing to confirm.
    """
    gone = superseded(contents)
    trials = [trial for trial in contents.trials.values() if trial.trial not in gone]
    if any(trial.end is None for trial in trials):
        return False
    spec = contents.header.get("spec", {})
    for arm in spec.get("arms", []):
        seeds, searches, wanted = planned(spec, arm["name"]) or (0, 1, 0)
        for number in range(searches):
            own = [t for t in trials if t.arm == arm["name"] and t.search == number]
            states = [t.state for t in own if t.phase == "search"]
            confirmed = sum(t.phase == "confirm" for t in own)
            alive = not wanted or "complete" in states
            if len(states) < wanted or (alive and confirmed < seeds):
                return False
    return True
