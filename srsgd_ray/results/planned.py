"""How many runs of its confirmation a study has planned, and whether they have all ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srsgd_ray.results.record import Contents


def planned(header: Mapping[str, Any], arm: str) -> tuple[int, int] | None:
    """Confirmation runs of each search of an arm, and searches; None if the record says nothing."""
    spec = header.get("spec", {})
    own = {a["name"]: a.get("confirm_seeds") for a in spec.get("arms", [])}.get(arm)
    seeds = spec.get("confirm_seeds") if own is None else own
    return None if seeds is None else (int(seeds), int(spec.get("searches") or 1))


def look_ended(contents: Contents) -> bool:
    """Whether all that was to be confirmed has been run, and has ended.

    A search without a complete trial has nothing to confirm.
    """
    trials = list(contents.trials.values())
    if any(trial.end is None for trial in trials):
        return False
    for arm in contents.header.get("spec", {}).get("arms", []):
        seeds, searches = planned(contents.header, arm["name"]) or (0, 1)
        for number in range(searches):
            own = [t for t in trials if t.arm == arm["name"] and t.search == number]
            states = [t.state for t in own if t.phase == "search"]
            confirmed = sum(t.phase == "confirm" for t in own)
            if (not states or "complete" in states) and confirmed < seeds:
                return False
    return True
