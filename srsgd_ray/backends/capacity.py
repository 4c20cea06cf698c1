"""How many trials fit a cluster at a time: computed from its nodes, refused where none fits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Tune asks for more than 0; the Tune actor of a slot only waits.
ACTOR_SHARE = 0.01

Node = Mapping[str, float]


@dataclass(frozen=True)
class NodeType:
    """Nodes that an autoscaler may start: what each has, and how many of them there may be."""

    name: str
    node: Node
    most: int


@dataclass(frozen=True)
class Autoscaler:
    """What an autoscaler may start beside the head: at most ``most`` nodes of all types."""

    head: Node
    types: Sequence[NodeType]
    most: int

    def largest(self, need: Mapping[str, float]) -> list[Node]:
        """The cluster at its largest, of those nodes that hold most workers of ``need``."""
        by_use = sorted(self.types, key=lambda kind: -_holds(kind.node, need))
        every = [kind.node for kind in by_use for _ in range(kind.most)]
        return [self.head, *every[: self.most]]

    def __str__(self) -> str:
        """The cluster at its largest, in words."""
        kinds = [f"{min(kind.most, self.most)} {kind.name} ({_has(kind.node)} each)"
                 for kind in self.types]  # fmt: skip
        every = sum(kind.most for kind in self.types)
        more = f", {self.most} of them together" * (every > self.most)
        return f"the head ({_has(self.head)}) and at most {', '.join(kinds) or 'no worker'}{more}"


def _has(node: Node) -> str:
    return ", ".join(_count(node.get(name, 0.0), name) for name in ("CPU", "GPU"))


def _count(number: float, name: str) -> str:
    return f"{number:g} {name}{'s' * (number != 1)}"


class CapacityError(ValueError):
    """A request that the cluster can never serve."""


@dataclass(frozen=True)
class Plan:
    """Slots (concurrent trials) and what each of their workers gets."""

    slots: int
    workers: int
    cpus_per_worker: float
    gpus_per_worker: float

    @property
    def threads(self) -> int:
        """CPU threads of a worker: never more than its CPUs."""
        return max(1, math.floor(self.cpus_per_worker))

    @property
    def need(self) -> str:
        """What a trial takes, in words."""
        gpus = f" and {_count(self.gpus_per_worker, 'GPU')}" if self.gpus_per_worker else ""
        each = " each" if self.workers > 1 else ""
        workers, cpus = _count(self.workers, "worker"), _count(self.cpus_per_worker, "CPU")
        return f"{workers} with {cpus}{gpus}{each}"


def workers_on(node: Node, plan: Plan) -> int:
    """How many of a plan's workers fit a node; all of them, if they need nothing of it."""
    need = {"CPU": plan.cpus_per_worker, "GPU": plan.gpus_per_worker}
    found = _holds(node, need)
    return plan.slots * plan.workers if math.isinf(found) else int(found)


def check_counts(slots: int | None, workers: int) -> None:
    """Raise ValueError unless there is at least one slot and one worker."""
    for name, count in (("slots", slots), ("workers_per_trial", workers)):
        if count is not None and count < 1:
            raise ValueError(f"{name} >= 1 must hold, but got {name}={count}.")


def plan_slots(
    nodes: Sequence[Node],
    *,
    slots: int | None = None,
    workers: int = 1,
    cpus_per_worker: float | None = None,
    gpus_per_worker: float = 0.0,
    growing: bool = False,
    autoscaler: Autoscaler | None = None,
) -> Plan:
    """Fit ``slots`` trials of ``workers`` workers each into the nodes.

    Args:
        nodes: resources of each node, such as ``{"CPU": 8.0, "GPU": 2.0}``.
        slots: trials at a time; None: as many as fit.
        cpus_per_worker: None: an equal share of the CPUs. Ray takes whole CPUs or less than one.
        gpus_per_worker: whole GPUs, or a fraction that lets several workers share one.
        growing: the cluster adds nodes by itself, and ``slots`` counts those to come.
        autoscaler: what may come; None: not known, and ``slots`` is believed.

    Raises:
        CapacityError: if a trial, or the number of slots asked for, does not fit.
        ValueError: if a number is out of its range.
    """
    check_counts(slots, workers)
    for name, share in (("cpus_per_worker", cpus_per_worker), ("gpus_per_worker", gpus_per_worker)):
        if share is not None and not (share >= 0 and (share < 1 or share == int(share))):
            raise ValueError(
                f"{name} must be a whole number, or a fraction below 1, but got {name}={share}."
            )
    if growing:
        if slots is None or cpus_per_worker is None:
            raise ValueError(
                "an autoscaling cluster needs slots, the number of trials at a time, and "
                "cpus_per_worker: the nodes to come are not known yet."
            )
        if autoscaler is None:
            return Plan(slots, workers, cpus_per_worker, gpus_per_worker)
        nodes = autoscaler.largest({"CPU": cpus_per_worker, "GPU": gpus_per_worker})
    if cpus_per_worker is None:
        cpus_per_worker = _share(nodes, slots, workers, gpus_per_worker)
    need = {"CPU": cpus_per_worker, "GPU": gpus_per_worker}
    fitting = next(n for n in itertools.count() if not _packs(nodes, need, workers, n + 1))
    plan = Plan(slots or fitting, workers, cpus_per_worker, gpus_per_worker)
    if growing and autoscaler is not None:
        there = f"what the autoscaler's file allows: {autoscaler}"
        cure = " Ask for fewer slots or smaller shares, or change max_workers and node types there."
    else:
        have = {name: sum(node.get(name, 0.0) for node in nodes) for name in need}
        there, cure = f"{_count(len(nodes), 'node')} with {_has(have)} together", ""
    if fitting == 0:
        raise CapacityError(
            f"a trial must fit the cluster, but {plan.need} (and {ACTOR_SHARE} CPU for the trial "
            f"itself) do not fit {there}.{cure or ' Ask for fewer workers or smaller shares.'}"
        )
    if slots is not None and slots > fitting:
        raise CapacityError(
            f"slots <= {fitting} must hold for trials of {plan.need} on {there}, but got "
            f"slots={slots}.{cure}"
        )
    return plan


def slots_in(nodes: Sequence[Node], plan: Plan) -> int:
    """How many of a plan's slots fit what the nodes have, at most its own number."""
    need = {"CPU": plan.cpus_per_worker, "GPU": plan.gpus_per_worker}
    counts = range(plan.slots, 0, -1)
    return next((n for n in counts if _packs(nodes, need, plan.workers, n)), 0)


def _share(nodes: Sequence[Node], slots: int | None, workers: int, gpus: float) -> float:
    """CPUs a worker: an equal part of the smallest node that can serve, a whole number or < 1."""
    serving = [node for node in nodes if not gpus or node.get("GPU", 0.0) > 0] or list(nodes)
    if not serving:
        return 1.0
    cpus = sum(node.get("CPU", 0.0) for node in serving)
    cards = sum(node.get("GPU", 0.0) for node in serving)
    most = (cards / gpus or 1.0) if gpus else cpus // workers * workers
    count = max(1.0, most) if slots is None else slots * workers
    share = (cpus - ACTOR_SHARE * math.ceil(count / workers)) / count
    if share >= 1:
        return float(math.floor(share))
    # Without a GPU a worker is a core: two on one core would only slow each other down.
    least = 0.01 if gpus else 0.99
    return max(least, math.floor(share * 100) / 100)


def _holds(node: Node, need: Mapping[str, float]) -> float:
    """How many workers fit a node."""
    parts = ((node.get(name, 0.0), part) for name, part in need.items() if part)
    return min((math.floor(have / part + 1e-9) for have, part in parts), default=math.inf)


def _packs(nodes: Sequence[Node], need: Mapping[str, float], workers: int, slots: int) -> bool:
    """Whether ``slots`` slots fit: workers first, then the small Tune actors in what is left."""
    left = slots * workers
    rest = 0.0
    for node in nodes:
        here = int(min(left, _holds(node, need)))
        left -= here
        rest += math.floor((node.get("CPU", 0.0) - here * need["CPU"]) / ACTOR_SHARE + 1e-6)
    return left == 0 and rest >= slots
