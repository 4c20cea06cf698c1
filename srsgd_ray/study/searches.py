"""The searches of a study, as its record has them."""

from __future__ import annotations

from srsgd_ray.results import Record
from srsgd_ray.study.search import Search
from srsgd_ray.study.spec import Study


def searches_of(study: Study, record: Record) -> dict[tuple[str, int], Search]:
    """A search for each arm that has one and each number; none has asked for anything yet."""
    contents = record.contents
    prior = contents.header.get("prior", ())
    return {
        (arm.name, number): Search(
            contents.header["study"],
            arm.name,
            arm.searched,
            goals=study.goals(),
            searcher=study.searcher,
            trials=study.trials_of(arm.name),
            seed=study.search_seed(number),
            fixed=study.fixed_of(arm.name),
            enqueue=dict(enumerate(arm.enqueue)) | contents.enqueued.get((arm.name, number), {}),
            number=number,
            spaces=contents.header.get("spaces", 1),
            prior=[one for one in prior if one["arm"] == arm.name],
        )
        for number in range(study.searches)
        for arm in study.arms
        if study.trials_of(arm.name)
    }
