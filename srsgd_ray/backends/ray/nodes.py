"""What each node of a cluster says of itself: versions, resources, whether it uses the storage.

A process of its own asks (``python -c "... main()" ADDRESS STORAGE``) and prints JSON: Ray ends a
process whose head it loses, and whoever asks wants to live.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from srsgd_ray.backends.store import check_storage

NAMED = ("torch", "torchvision", "ray", "optuna", "srsgd-ray")
ANSWER = 60.0  # seconds for all nodes together


def versions() -> dict[str, str]:
    """The versions here; "" for what is missing."""
    found = {"python": sys.version.split()[0]}
    for name in NAMED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def examine(storage: str) -> dict[str, Any]:
    """What a node says: its versions, and why it cannot use the storage, or ""."""
    wrong = ""
    if storage:
        try:
            check_storage(storage)
        except ValueError as error:
            wrong = str(error)
    return {"versions": versions(), "storage": wrong, "error": ""}


def main() -> None:
    """Ask every node of the cluster at the first argument."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from srsgd_ray.backends.ray.cluster import ray_cluster

    address, storage = sys.argv[1:]
    with ray_cluster(address, quiet=True):
        task, asked, told = ray.remote(num_cpus=0, max_retries=0)(examine), {}, {}
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        for node in nodes:
            if node["Alive"]:
                on = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                asked[task.options(scheduling_strategy=on).remote(storage)] = node
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER)
        for answer, node in asked.items():
            said: dict[str, Any] = {"error": f"no answer within {ANSWER:g} s"}
            if answer in ready:
                try:
                    said = ray.get(answer)
                except ray.exceptions.RayError as error:
                    said = {"error": str(error).strip().splitlines()[-1]}
            has = {name: node["Resources"].get(name, 0.0) for name in ("CPU", "GPU")}
            said["resources"] = ", ".join(f"{count:g} {name}" for name, count in has.items())
            told[node["NodeManagerHostname"] + f" ({node['NodeManagerAddress']})"] = said
        dead = sum(not node["Alive"] for node in nodes)
        print(json.dumps({"here": versions(), "nodes": told, "dead": dead}))
