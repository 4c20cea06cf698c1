"""How far a running study is, as a line."""

from __future__ import annotations

import time

from srsgd_ray.progress import Pace, State, duration
from srsgd_ray.study.controller import Controller


class Display:
    """Trials done, best so far, time left; asked from another thread, also while Ray starts."""

    def __init__(self, controller: Controller) -> None:
        self._controller, self._began, self._pace = controller, time.monotonic(), Pace()

    def __call__(self) -> State:
        """The line, and the epochs done and in all."""
        study, counts = self._controller.study, self._controller.counts()
        best = ", ".join(
            f"{arm} {value:.4g}" for arm, value in self._controller.best_so_far().items()
        )
        found = "no trial is complete yet"
        if best:
            found = f"{'lowest' if study.mode == 'min' else 'highest'} {study.metric}: {best}"
        parts = [
            f"{counts.trials_done}/{counts.trials} trials",
            found if study.trials else f"{counts.epochs_done}/{counts.epochs} epochs",
            f"{duration(time.monotonic() - self._began)} gone",
        ]
        if not counts.epochs_done:
            parts.append("starting workers")
        else:
            _, left = self._pace(counts.epochs_done, counts.epochs)
            parts += [f"{duration(left)} left"] if left is not None else []
        return " | ".join(parts), counts.epochs_done, counts.epochs
