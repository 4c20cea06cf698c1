"""Where and on what a study runs; nothing of it changes what the study finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from srsgd_ray.knobs import knob

HERE, ON = "where", "on what"  # the groups of options in a script's --help


@dataclass(frozen=True)
class Options:
    """Where and on what a study runs; nothing here changes what it finds.

    Each field's ``doc`` says what it is, and in brackets what None stands for. ``plan`` is ``yes``
    (estimate the cost first), ``only`` (end after that) or ``no``.
    """

    results: Path = knob(Path("results"), "folder of all results", affects="", flag=HERE)
    storage: str | None = knob(
        None,
        "folder or URI for checkpoints, seen by every node [the study's folder]",
        affects="",
        flag=HERE,
    )
    backend: str = knob("ray", "ray, or local for this process", affects="", flag=ON)
    address: str = knob(
        "local", "Ray cluster: auto, a URL, or local to start one", affects="", flag=ON
    )
    slots: int | None = knob(
        None, "trials at a time [as many as fit; local: 1, in this process]", affects="", flag=ON
    )
    workers_per_trial: int | None = knob(
        None, "worker processes of a trial [as published, if all arms agree]", affects="", flag=ON
    )
    cpus_per_worker: float | None = knob(None, "CPUs [an equal share]", affects="", flag=ON)
    gpus_per_worker: float | None = knob(
        None, "GPUs, or a fraction [1 if there are any, else 0]", affects="", flag=ON
    )
    autoscaling: bool = knob(
        False, "the cluster adds nodes; give --slots, --cpus-per-worker", affects="", flag=ON
    )
    wait_hours: float = knob(
        12.0,
        "hours to wait for workers while no trial runs, before the study stops, to be resumed",
        affects="",
        flag=ON,
        within="(0, inf]",
    )
    silence_limit: float = knob(
        900.0,
        "seconds a trial may go without a sign of life of its workers before it restarts",
        affects="",
        flag=ON,
        within="(0, inf]",
    )
    price: str | None = knob(
        None,
        "for the plan: dollars an hour of a machine for a slot, or its type, such as g5.xlarge",
        affects="",
        flag=ON,
    )
    figures: bool = knob(True, "draw figures at the end", affects="", flag=HERE)
    tensorboard: bool = knob(
        False, "write TensorBoard's event files while it runs", affects="", flag=HERE
    )
    plan: str = "yes"
    budget_hours: float | None = knob(
        None,
        "stop in order after so many worker-hours (GPU-hours), all sessions together",
        affects="",
        flag=ON,
        within="(0, inf]",
    )
