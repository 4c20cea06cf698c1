"""Where and on what a study runs; nothing of it changes what the study finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """Where and on what a study runs; nothing here changes what it finds.

    Attributes:
        results: folder that holds a folder for each study.
        storage: folder or URI for checkpoints that every node sees; None: in the study's folder.
        backend: ``ray``, or ``local`` for this process.
        address: of a Ray cluster (``auto`` or a URL); ``local`` starts one on this machine.
        slots: trials at a time; None: as many as fit (``local`` backend: one, this process).
        workers_per_trial: worker processes of a trial; None: as published, if all arms agree.
        cpus_per_worker: None: an equal share.
        gpus_per_worker: whole GPUs or a fraction; None: one, if the cluster has GPUs.
        autoscaling: the cluster adds nodes by itself; needs ``slots``.
        silence_limit: seconds that a trial may wait for its workers or for a sign of life of them.
        figures: draw the figures at the end (the command line does).
        plan: estimate the cost first; ``only`` ends after that, ``no`` does not estimate.
        budget_hours: worker-hours (GPU-hours) after which the study stops, in order; None: none.
    """

    results: Path = Path("results")
    storage: str | None = None
    backend: str = "ray"
    address: str = "local"
    slots: int | None = None
    workers_per_trial: int | None = None
    cpus_per_worker: float | None = None
    gpus_per_worker: float | None = None
    autoscaling: bool = False
    silence_limit: float = 900.0
    figures: bool = True
    plan: str = "yes"
    budget_hours: float | None = None
