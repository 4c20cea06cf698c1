"""Where trials run: on Ray, or in this process. The study does not know which.

In: assignments of trials. Out: their rows and ends. A trial sees of it only
:class:`srsgd_ray.trainable.Run`, which ``trial`` fulfils in every backend; ``ends`` runs it and
names its end. ``base`` is the interface, ``capacity`` computes how many trials fit, ``store``
keeps their checkpoints. ``local`` and ``processes`` need no Ray; :mod:`srsgd_ray.backends.ray` is
on Ray.
"""

from __future__ import annotations

from typing import Any

from srsgd_ray.backends.base import Assignment, Backend, Job, NotMeasured, Trials
from srsgd_ray.backends.capacity import (
    Autoscaler,
    CapacityError,
    Plan,
    check_counts,
    plan_slots,
    slots_in,
    workers_on,
)
from srsgd_ray.knobs import one_of

__all__ = [
    "BACKENDS",
    "Assignment",
    "Autoscaler",
    "Backend",
    "CapacityError",
    "Job",
    "NotMeasured",
    "Plan",
    "Trials",
    "check_counts",
    "make_backend",
    "plan_slots",
    "slots_in",
    "workers_on",
]

BACKENDS = {
    "ray": "Ray Tune over warm groups of Ray Train workers, on this machine or a cluster",
    "local": "this process, or a few processes of this machine, without Ray",
}


def make_backend(name: str, **options: Any) -> Backend:
    """The backend of that name; ``options`` are Ray's.

    Raises:
        UnknownNameError: if there is none such.
    """
    one_of("backend", name, BACKENDS)
    if name == "local":
        from srsgd_ray.backends.local import LocalBackend

        return LocalBackend()
    from srsgd_ray.backends.ray.backend import RayBackend

    return RayBackend(**options)
