"""What a study needs next, done in a thread while Ray starts: that leaves a core idle."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from srsgd_ray.backends import Backend, Job, NotMeasured, Plan, make_backend, slots_in
from srsgd_ray.results.contents import Contents
from srsgd_ray.study.estimate import cost
from srsgd_ray.study.options import Options
from srsgd_ray.study.spec import Study
from srsgd_ray.study.start import plan_of

Measure = Callable[[dict[str, Any]], float | None]


class Ahead:
    """Times the configurations of a plan, and imports what Tune needs.

    Only for Ray on this machine, and only what runs on CPUs: a GPU belongs to the workers. Nothing
    depends on it: what is not known from here is measured on a worker.

    Args:
        study, options, job: what is to be run.
        known: contents of the record, if the study is resumed.
        backend: where trials run.
    """

    def __init__(
        self, study: Study, options: Options, job: Job, known: Contents | None, backend: Backend
    ) -> None:
        self._study, self._options, self._job, self._known = study, options, job, known
        self._backend = backend
        self._plan: Plan | None = None
        self._found: dict[str, float | None] = {}
        self._thread = threading.Thread(target=self._work, daemon=True, name="ahead")
        if backend.here and options.backend == "ray":
            self._thread.start()

    def _work(self) -> None:
        with suppress(Exception):  # who needs it meets the same error, and says it
            self._backend.ahead()
            if self._options.plan == "no":
                return
            local = make_backend("local")
            with local.open() as nodes:
                self._plan = plan_of(self._study, self._options, nodes)
            if not self._plan.gpus_per_worker:
                measure = local.measure(self._job, self._plan)

                def timed(config: dict[str, Any]) -> float | None:
                    self._found[_key(config)] = found = measure(config)
                    return found

                cost(self._study, self._plan, self._known, timed)

    def wait(self) -> None:
        """Until it is done."""
        if self._thread.ident is not None:
            self._thread.join()

    def or_else(self, plan: Plan, backend: Backend) -> Measure:
        """Seconds of an epoch of a configuration under ``plan``, timed by ``backend`` if not known.

        A study that finds no room there is not kept from beginning, and showing that it waits.
        """
        measure = backend.measure(self._job, plan)

        def seconds(config: dict[str, Any]) -> float | None:
            if plan == self._plan and _key(config) in self._found:
                return self._found[_key(config)]
            free = None if self._options.plan == "only" else backend.free()
            if free is not None and not slots_in(free, plan):
                raise NotMeasured("no machine is free to time it; trials wait for one.")
            return measure(config)

        return seconds


def _key(config: dict[str, Any]) -> str:
    return json.dumps(config, sort_keys=True, default=str)
