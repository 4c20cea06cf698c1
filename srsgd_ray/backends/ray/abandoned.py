"""Free what a killed driver left behind on a cluster that outlives it.

Ray removes a dead job's placement groups. But a Train controller which sees its workers die a
moment before it is killed itself reserves resources for new ones, after Ray has cleaned up: that
reservation would last as long as the cluster (seen with Ray 2.60).
"""

from __future__ import annotations

import logging

from ray import get_runtime_context
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.state import list_jobs, list_placement_groups

from srsgd_ray.backends.limit import within

logger = logging.getLogger(__name__)

FREE_AFTER = 30.0  # seconds without workers before abandoned reservations are looked for
ANSWER = 10.0  # seconds within which Ray's State API must answer; it waits for 40 by itself


def free_abandoned() -> int:
    """Remove the placement groups of jobs that have ended, but for detached ones; their number."""
    try:
        return int(within(ANSWER, _free_abandoned))
    except Exception as error:  # the dashboard that answers may be busy or not there
        logger.warning("could not look for abandoned placement groups: %s", error)
        return 0


def _free_abandoned() -> int:
    from ray._raylet import PlacementGroupID

    here = get_runtime_context().gcs_address  # another Ray of this machine would be asked else
    ended = {job.job_id for job in list_jobs(here, detail=True) if job.end_time}
    groups = list_placement_groups(here, detail=True, limit=10_000)
    left = [
        group
        for group in groups
        if group.creator_job_id in ended and group.state != "REMOVED" and not group.is_detached
    ]
    for group in left:
        logger.warning("removing %s, left by a dead job", group.placement_group_id)
        remove_placement_group(
            PlacementGroup(PlacementGroupID(bytes.fromhex(group.placement_group_id)))
        )
    return len(left)
