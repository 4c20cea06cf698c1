"""The storage, from here and from every node of a cluster; the nodes themselves."""

from __future__ import annotations

import json
import subprocess
import sys

from srsgd_ray.backends.probe import LIMIT, check_storage
from srsgd_ray.backends.store import absolute, check_keys
from srsgd_ray.doctor.finding import ERROR, OK, WARNING, Finding, Look

NODES_LIMIT = 90.0  # seconds for joining the cluster and hearing of each node
ASK = "from srsgd_ray.backends.ray.nodes import main; main()"


def looks(address: str | None, storage: str | None) -> list[Look]:
    """Looks at a storage and at a cluster, where they were named."""
    found = []
    if storage is not None:
        check_keys(storage)
        place = absolute(storage)
        found.append(Look("storage", lambda: from_here(place), LIMIT + 5))
    if address is not None:
        place = "" if storage is None else absolute(storage)
        found.append(Look("cluster", lambda: nodes(address, place), NODES_LIMIT + 5))
    return found


def from_here(storage: str) -> list[Finding]:
    """Write and read a small file."""
    try:
        check_storage(storage)
    except ValueError as error:
        return [Finding(ERROR, "storage", "not from here", str(error))]
    return [Finding(OK, "storage", f"{storage} can be written and read from here")]


def nodes(address: str, storage: str) -> list[Finding]:
    """Ask each node of a cluster, in a process of its own: Ray may end the one that joins it."""
    command = [sys.executable, "-c", ASK, address, storage]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NODES_LIMIT)
    except subprocess.TimeoutExpired:
        value = f"no answer of the nodes within {NODES_LIMIT:g} s"
        return [Finding(ERROR, "cluster", value, f"ray status --address {address}")]
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["it ended without a word"]
        return [Finding(ERROR, "cluster", *_cure(said[0].removeprefix("ValueError: ")))]
    told = json.loads(done.stdout.splitlines()[-1])
    found = []
    for host, node in told["nodes"].items():
        what = f"node {host}"
        if node["error"]:
            cure = f"See the logs of that node, and: ray status --address {address}"
            found.append(Finding(ERROR, what, node["error"], cure))
            continue
        differ = [
            f"{name} {theirs or 'is missing'} (here {told['here'][name]})"
            for name, theirs in node["versions"].items()
            if theirs != told["here"][name]
        ]
        cure = "Install the same on each node: pip install -r constraints.txt"
        value = f"{node['resources']}; versions as here"
        found.append(
            Finding(ERROR, what, f"other versions: {', '.join(differ)}", cure)
            if differ
            else Finding(OK, what, value)
        )
        if storage and node["storage"]:
            cure = "Mount the same folder on every node, or give a bucket"
            found.append(Finding(ERROR, what, f"of {storage}: {node['storage']}", cure))
        elif storage:
            found.append(Finding(OK, what, f"writes and reads {storage}"))
    if told["dead"]:
        value = f"{told['dead']} nodes that were there are gone"
        found.append(Finding(WARNING, "cluster", value, f"ray list nodes --address {address}"))
    return found


def _cure(said: str) -> tuple[str, str]:
    """A message of this package, split into what is wrong and what to do."""
    wrong, dot, cure = said.partition(". ")
    return (wrong, cure) if dot else (said, "")
