"""What the autoscaler of a cluster may start, read where it runs: on the head.

Ray 2.60 keeps no node types in its store (``get_cluster_config`` is empty but on a managed Ray).
The autoscaler's own process has the file that they stand in on its command line, and reads it anew
every few seconds. KubeRay's runs in a container of its own, which nobody here sees.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from srsgd_ray.backends.capacity import Autoscaler, NodeType
from srsgd_ray.backends.ray.nodes import alive

ANSWER = 60.0  # seconds for a worker on the head to come up and answer
FILE, OF = "--autoscaling-config=", "--gcs-address="


def autoscaler_config(gcs: str) -> str:
    """On the head: the text of the file that the autoscaler of the cluster at ``gcs`` reads; ""."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        files = [word.removeprefix(FILE) for word in words if word.startswith(FILE)]
        if files and OF + gcs in words and any(word.endswith("monitor.py") for word in words):
            return Path(files[0]).expanduser().read_text(encoding="utf-8")
    return ""


def autoscaler_of(text: str, head: dict[str, float]) -> Autoscaler:
    """What the autoscaler's file lets it start, beside a head with these resources."""
    import yaml

    config: dict[str, Any] = yaml.safe_load(text)
    kinds = config.get("available_node_types") or {}
    head_kind, most = config.get("head_node_type"), int(config.get("max_workers", 0))
    types = [
        NodeType(name, kind.get("resources") or {}, int(kind.get("max_workers", most)))
        for name, kind in kinds.items()
        if name != head_kind or kind.get("max_workers", 0)
    ]
    return Autoscaler(head, types, most)


def find_autoscaler() -> Autoscaler | None:
    """That of the cluster that this process has joined; None if there is none that tells."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    heads = [n for n in alive().values() if "node:__internal_head__" in n["Resources"]]
    if not heads:
        return None
    on = NodeAffinitySchedulingStrategy(heads[0]["NodeID"], soft=False)
    ask = ray.remote(num_cpus=0, max_retries=0)(autoscaler_config).options(scheduling_strategy=on)
    try:
        text = ray.get(ask.remote(ray.get_runtime_context().gcs_address), timeout=ANSWER)
    except (ray.exceptions.RayError, OSError):
        return None
    return autoscaler_of(text, dict(heads[0]["Resources"])) if text else None
