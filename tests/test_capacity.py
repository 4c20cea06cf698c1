"""How many trials fit: by hand for small clusters."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from srsgd_ray.backends import CapacityError, plan_slots
from srsgd_ray.backends.ray.autoscaler import autoscaler_of

GPU_NODES = [{"CPU": 4.0}, {"CPU": 16.0, "GPU": 4.0}, {"CPU": 16.0, "GPU": 4.0}]


@pytest.mark.parametrize(
    ("nodes", "request_", "slots", "cpus", "threads"),
    [
        ([{"CPU": 2.0}], {}, 2, 0.99, 1),
        ([{"CPU": 2.0}], {"workers": 2}, 1, 0.99, 1),
        ([{"CPU": 2.0}], {"slots": 1}, 1, 1.0, 1),
        ([{"CPU": 8.0}], {}, 8, 0.99, 1),
        ([{"CPU": 8.0}], {"slots": 1}, 1, 7.0, 7),
        ([{"CPU": 8.0}], {"cpus_per_worker": 2}, 3, 2, 2),
        (GPU_NODES, {"gpus_per_worker": 1}, 8, 3.0, 3),
        (GPU_NODES, {"gpus_per_worker": 1, "workers": 4}, 2, 3.0, 3),
        (GPU_NODES, {"gpus_per_worker": 0.5}, 16, 1.0, 1),
        ([{"CPU": 16.0, "GPU": 1.0}], {"gpus_per_worker": 0.25}, 4, 3.0, 3),
        (
            [{"CPU": 2.0}],
            {"gpus_per_worker": 1, "slots": 4, "cpus_per_worker": 3, "growing": True},
            4,
            3,
            3,
        ),
    ],
)
def test_slots(
    nodes: list[dict[str, float]],
    request_: dict[str, Any],
    slots: int,
    cpus: float,
    threads: int,
) -> None:
    plan = plan_slots(nodes, **request_)
    assert (plan.slots, plan.cpus_per_worker, plan.threads) == (slots, cpus, threads)


@pytest.mark.parametrize(
    ("nodes", "request_", "message"),
    [
        ([{"CPU": 2.0}], {"gpus_per_worker": 1}, "do not fit 1 node with 2 CPUs, 0 GPUs"),
        (GPU_NODES, {"gpus_per_worker": 1, "workers": 9}, "9 workers with 3 CPUs and 1 GPU each"),
        (GPU_NODES, {"gpus_per_worker": 1, "slots": 9}, "slots <= 8 must hold"),
        ([{"CPU": 2.0}], {"cpus_per_worker": 1, "workers": 2}, "and 0.01 CPU for the trial itself"),
        ([{"CPU": 2.0}], {"slots": 3}, "slots <= 2 must hold"),
        ([], {}, "do not fit 0 nodes"),
    ],
)
def test_refused_with_the_numbers(
    nodes: list[dict[str, float]], request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(CapacityError) as error:
        plan_slots(nodes, **request_)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"slots": 0}, "slots >= 1 must hold, but got slots=0"),
        ({"workers": 0}, "workers_per_trial >= 1 must hold"),
        ({"gpus_per_worker": 1.5}, "a whole number, or a fraction below 1, but got"),
        ({"gpus_per_worker": -1}, "gpus_per_worker"),
        ({"cpus_per_worker": 2.5}, "cpus_per_worker"),
        ({"growing": True, "cpus_per_worker": 1}, "an autoscaling cluster needs slots"),
        ({"growing": True, "slots": 2}, "needs slots, the number of trials at a time, and cpus"),
    ],
)
def test_bad_requests(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        plan_slots([{"CPU": 2.0}], **request_)
    assert message in str(error.value)


FILE = """
max_workers: 4
head_node_type: head
available_node_types:
  head: {resources: {CPU: 2, GPU: 0}, max_workers: 0}
  spot: {resources: {CPU: 4, GPU: 1}, max_workers: 3}
  on_demand: {resources: {CPU: 4, GPU: 1}}
  large: {resources: {CPU: 8}, max_workers: 1}
"""


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"slots": 4, "cpus_per_worker": 3, "gpus_per_worker": 1}, ""),
        ({"slots": 8, "cpus_per_worker": 1, "gpus_per_worker": 0.5}, ""),
        (
            {"slots": 10, "cpus_per_worker": 2},
            "",
        ),  # the large node, three others
        ({"slots": 11, "cpus_per_worker": 2}, "slots <= 10 must hold"),
        ({"slots": 2, "cpus_per_worker": 4, "gpus_per_worker": 1, "workers": 2}, ""),
        (
            {"slots": 8, "cpus_per_worker": 3, "gpus_per_worker": 1},
            "slots <= 4 must hold for trials of 1 worker with 3 CPUs and 1 GPU on what the "
            "autoscaler's file allows: the head (2 CPUs, 0 GPUs) and at most 3 spot (4 CPUs, 1 GPU "
            "each), 4 on_demand (4 CPUs, 1 GPU each), 1 large (8 CPUs, 0 GPUs each), 4 of them "
            "together, but got slots=8. Ask for fewer slots",
        ),
        (
            {"slots": 1, "cpus_per_worker": 6, "gpus_per_worker": 1},
            "but 1 worker with 6 CPUs and 1 GPU (and 0.01 CPU for the trial itself) do",
        ),
    ],
)
def test_what_an_autoscaler_can_bring(request_: dict[str, Any], message: str) -> None:
    autoscaler = autoscaler_of(FILE, {"CPU": 2.0})
    refused = pytest.raises(CapacityError) if message else nullcontext()
    with refused as error:
        plan = plan_slots([{"CPU": 2.0}], growing=True, autoscaler=autoscaler, **request_)
        assert plan.slots == request_["slots"]
    assert message in str(error and error.value)
