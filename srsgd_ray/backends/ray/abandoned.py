"""Free what those who reserved it on a cluster left behind.

Ray removes a placement group once both the job and the actor that made it are dead. So one stays
that a Train controller makes for new workers a moment before it is killed itself, after Ray has
cleaned up (for as long as the cluster lives), and one of a controller that ends while its job goes
on and cannot shut its workers down, such as for Ray's memory monitor, which killed them and Train's
own actors (for as long as the job lives). Seen with Ray 2.60.
"""

from __future__ import annotations

import logging
from typing import Any

from ray import ActorID
from ray._private.state import GlobalState, state
from ray.core.generated import gcs_pb2
from ray.util.placement_group import PlacementGroup, remove_placement_group

from srsgd_ray.backends.limit import within

logger = logging.getLogger(__name__)
generated: Any = gcs_pb2  # without types

FREE_AFTER = 30.0  # seconds without workers before abandoned reservations are looked for
ANSWER = 10.0  # seconds within which Ray must answer


def free_abandoned() -> int:
    """Remove the placement groups whose makers are dead, but for detached ones; their number."""
    try:
        return int(within(ANSWER, lambda: _free_abandoned(state)))
    except Exception as error:  # Ray may be busy, or not there
        logger.warning("could not look for abandoned placement groups: %s", error)
        return 0


def _free_abandoned(ray_state: GlobalState) -> int:
    from ray._raylet import PlacementGroupID

    # The State API would need Ray's dashboard, and does not say which actor made a group.
    gcs = ray_state._connect_and_get_accessor()
    jobs = map(generated.JobTableData.FromString, gcs.get_job_table())
    ended = {job.job_id for job in jobs if job.is_dead}

    def dead(group: Any) -> bool:
        maker = ActorID(group.creator_actor_id)
        if maker.is_nil():
            return group.creator_job_id in ended
        found, actors = gcs.get_actor_info(maker), generated.ActorTableData
        return found is None or bool(actors.FromString(found).state == actors.DEAD)

    groups = map(generated.PlacementGroupTableData.FromString, gcs.get_placement_group_table())
    there = [g for g in groups if g.state != g.REMOVED and not g.is_detached]
    left = [PlacementGroupID(group.placement_group_id) for group in there if dead(group)]
    for identity in left:
        logger.warning("removing %s, whose maker is dead", identity.hex())
        remove_placement_group(PlacementGroup(identity))
    return len(left)
