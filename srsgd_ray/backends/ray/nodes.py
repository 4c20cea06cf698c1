"""What each node of a cluster says of itself: versions, resources, whether it uses the storage.

The driver asks before a study (:func:`check_shared`). For the doctor a process of its own asks
(``python -c "... main()" ADDRESS STORAGE``) and prints JSON: Ray ends a process whose head it
loses, and whoever asks wants to live.
"""

from __future__ import annotations

import json
import sys
import uuid
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from srsgd_ray.backends.limit import within
from srsgd_ray.backends.probe import LIMIT, answer, not_shared, probing, take, why
from srsgd_ray.backends.store import join

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


def examine(place: str, text: str, name: str) -> dict[str, Any]:
    """What a node says: its versions, and why it cannot use the storage, or ""."""
    wrong = answer(place, text, name) if place else ""
    return {"versions": versions(), "storage": wrong, "error": ""}


def alive() -> dict[str, dict[str, Any]]:
    """The nodes of the cluster, by their ids."""
    import ray

    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]


def ask(storage: str) -> dict[str, dict[str, Any]]:
    """Ask every node, by its host and address; ``storage`` is tried unless it is "".

    The driver leaves a file, which each node reads, and each node leaves one for the driver.

    Raises:
        OSError: if the driver itself cannot write there.
    """
    if not storage:
        return _ask("", "")
    text = uuid.uuid4().hex
    with probing(storage, text) as place:
        return _ask(place, text)


def _ask(place: str, text: str) -> dict[str, dict[str, Any]]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task, asked, told = ray.remote(num_cpus=0, max_retries=0)(examine), {}, {}
    for key, node in alive().items():
        on = NodeAffinitySchedulingStrategy(key, soft=False)
        asked[task.options(scheduling_strategy=on).remote(place, text, key)] = key, node
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER)
    there = alive()
    for reply, (key, node) in asked.items():
        if key not in there:  # a spot machine that was taken away meanwhile
            continue
        said: dict[str, Any] = {"storage": "", "error": f"no answer within {ANSWER:g} s"}
        if reply in ready:
            try:
                said = ray.get(reply)
            except ray.exceptions.RayError as error:
                said["error"] = str(error).strip().splitlines()[-1]
        if place and not said["storage"] and not said["error"]:
            said["storage"] = _heard(join(place, key), text)
        has = {name: node["Resources"].get(name, 0.0) for name in ("CPU", "GPU")}
        said["resources"] = ", ".join(f"{count:g} {name}" for name, count in has.items())
        told[node["NodeManagerHostname"] + f" ({node['NodeManagerAddress']})"] = said
    return told


def _heard(place: str, text: str) -> str:
    """What is wrong if the driver does not find a node's file."""
    try:
        if within(LIMIT, take, place) == text:
            return ""
        return "writes there what the driver does not find"
    except Exception as error:
        return f"writes there what the driver cannot read: {why(error)}"


def check_shared(storage: str) -> None:
    """Raise UnseenError for the first node that does not use ``storage`` as the driver does."""
    for node, said in ask(storage).items():
        silent = f"cannot say so: {said['error']}" if said["error"] else ""
        if wrong := said["storage"] or silent:
            raise not_shared(storage, node, wrong)


def main() -> None:
    """Ask every node of the cluster at the first argument."""
    from srsgd_ray.backends.ray.cluster import ray_cluster

    address, storage = sys.argv[1:]
    with ray_cluster(address, quiet=True):
        import ray

        told = ask(storage)
        dead = sum(not node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
        print(json.dumps({"here": versions(), "nodes": told, "dead": dead}))
