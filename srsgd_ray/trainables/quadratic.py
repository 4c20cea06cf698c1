"""A Tune trainable for the quadratic: a trial is a job of a few seconds, without Ray Train.

Tune reuses the actor (``reuse_actors=True``), so that a trial costs what its arithmetic costs.
"""

from __future__ import annotations

import time
from typing import Any

from ray import tune

from srsgd_ray.problems.quadratic import Setting, run
from srsgd_ray.problems.quadratic_expected import expected_gaps
from srsgd_ray.problems.quadratic_results import kept_steps, measure

__all__ = ["QuadraticTrainable", "do_job"]


def do_job(job: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a curve.

    Args:
        job: ``settings``, all of one case; ``seeds``; ``keep``, whether rows hold the curve's kept
            steps as ``values``; ``expected``, whether the noise is averaged over instead of drawn.
    """
    settings = [Setting.from_dict(plain) for plain in job["settings"]]
    began = time.perf_counter()
    if job["expected"]:
        gaps = [[expected_gaps(setting)] for setting in settings]
    else:
        gaps = [list(rows) for rows in run(settings, job["seeds"])]
    seconds = (time.perf_counter() - began) / sum(map(len, gaps))
    kept = kept_steps(settings[0].iterations)
    return [
        {
            "place": place,
            "seed": None if job["expected"] else seed,
            "seconds": seconds,
            **measure(curve),
            **({"values": curve[kept].tolist()} if job["keep"] else {}),
        }
        for place, rows in enumerate(gaps)
        for seed, curve in zip(job["seeds"], rows, strict=True)
    ]


class QuadraticTrainable(tune.Trainable):
    """Does the job that its Tune configuration holds under ``job``, in one step."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first job."""
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another job."""
        self._job = new_config["job"]
        return True

    def step(self) -> dict[str, Any]:
        """Do the job."""
        return {"rows": do_job(self._job), "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to keep: a job that was cut off is done again."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing was kept."""
