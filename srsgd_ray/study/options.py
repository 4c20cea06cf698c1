"""Where and on what a study runs; nothing of it changes what the study finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Options"]


def _option(
    doc: str, default: str = "", metavar: str = "", group: str = "on what"
) -> dict[str, str]:
    """Metadata that make a field an option of study scripts; ``default`` says what None means."""
    found = {"doc": doc, "default": default, "metavar": metavar, "group": group}
    return {key: text for key, text in found.items() if text}


@dataclass(frozen=True)
class Options:
    """Where and on what a study runs; nothing here changes what it finds.

    The metadata of a field say what it is (``doc``) and what None stands for (``default``).
    ``plan`` is ``yes`` (estimate the cost first), ``only`` (end after that) or ``no``.
    """

    results: Path = field(
        default=Path("results"), metadata=_option("folder of all results", group="where")
    )
    storage: str | None = field(
        default=None,
        metadata=_option(
            "checkpoints, seen by every node", "the study's folder", "DIR|URI", group="where"
        ),
    )
    backend: str = field(default="ray", metadata=_option("ray, or local for this process"))
    address: str = field(
        default="local", metadata=_option("Ray cluster: auto, a URL, or local to start one")
    )
    slots: int | None = field(
        default=None,
        metadata=_option("trials at a time", "as many as fit; local: 1, in this process"),
    )
    workers_per_trial: int | None = field(
        default=None,
        metadata=_option("worker processes of a trial", "as published, if all arms agree, else 1"),
    )
    cpus_per_worker: float | None = field(default=None, metadata=_option("CPUs", "an equal share"))
    gpus_per_worker: float | None = field(
        default=None, metadata=_option("GPUs, or a fraction", "1 if there are any, else 0")
    )
    autoscaling: bool = field(
        default=False, metadata=_option("it grows; give --slots, --cpus-per-worker", "no")
    )
    silence_limit: float = field(
        default=900.0,
        metadata=_option(
            "seconds a trial may wait for its workers or a sign of life of them before it restarts"
        ),
    )
    figures: bool = field(
        default=True, metadata=_option("draw figures at the end", "yes", group="where")
    )
    plan: str = "yes"
    budget_hours: float | None = field(
        default=None,
        metadata=_option(
            "stop in order after so many worker-hours (GPU-hours), all sessions together"
        ),
    )
