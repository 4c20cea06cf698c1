"""Known points that a search tries next: added to a study that runs, or that is interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from srsgd_ray.knobs import one_of
from srsgd_ray.results import Record
from srsgd_ray.results.contents import Contents
from srsgd_ray.study.check import check_point
from srsgd_ray.study.spec import Study


def enqueue(
    study: Study, record: Record, arm: str, point: Mapping[str, Any]
) -> tuple[tuple[str, int], int, str]:
    """Plan a point as an arm's next trial, or as the one after those that were planned so before.

    It takes the place of a trial that the sampler would have proposed: their number stays.

    Args:
        study: as it goes on.
        record: of it, which says so from then on.
        arm: name of the arm.
        point: values of searched knobs; those that it leaves out are sampled.

    Returns:
        The search (arm and number), the number of the trial within it, and what was done, as a
        line.

    Raises:
        ValueError: see :func:`plan_point`.
    """
    search, number = plan_point(study, record.contents, arm, point)
    record.enqueue(arm, search, number, point)
    text = ", ".join(f"{name}={value}" for name, value in point.items())
    of = f" of search {search}" if study.searches > 1 else ""
    return (arm, search), number, (
        f"{text} is tried as trial {number + 1} of {study.trials_of(arm)} of {arm}{of}: it uses "
        f"up one of them"
    )  # fmt: skip


def plan_point(
    study: Study, contents: Contents, arm: str, point: Mapping[str, Any]
) -> tuple[int, int]:
    """The search that a point would belong to, and the number of its trial in it.

    Raises:
        ValueError: if there is no such arm, the point is not in its space, or no trial is left.
    """
    one_of("searched arm", arm, [a.name for a in study.arms if study.trials_of(a.name)])
    if not point:
        raise ValueError("a point needs a value of a searched knob, such as lr=0.1.")
    if study.searcher == "grid":
        raise ValueError(
            "searcher='grid' tries the points of its grid and no others. Add values to the grid of "
            "a new study, or use another searcher."
        )
    check_point(study, point, study.arm(arm))
    for search in range(study.searches):
        number = _free(study, contents, arm, search)
        if number is not None:
            return search, number
    raise ValueError(
        f"all {study.trials_of(arm)} trials of {arm} have begun or are planned. Extend the study "
        f"first: srsgd-ray extend FOLDER --trials N."
    )


def _free(study: Study, contents: Contents, arm: str, search: int) -> int | None:
    """The number of a search's first trial that has not begun and has no known point."""
    mine = [t for t in contents.trials.values()
            if (t.phase, t.arm, t.search) == ("search", arm, search)]  # fmt: skip
    outside = contents.header.get("outside", ())
    left = study.trials_of(arm) - sum(t.trial not in outside for t in mine)
    planned = {*contents.enqueued.get((arm, search), ()), *range(len(study.arm(arm).enqueue))}
    numbers = range(len(mine), len(mine) + left)
    return next((number for number in numbers if number not in planned), None)
