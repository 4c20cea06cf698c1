"""Two optimizers on a small network for two spirals, a "minefield" of bad minima, as a trainable.

A search trial trains several networks with one learning rate, each with a seed of its own, and is
judged by their mean; a confirmation run trains one. The trajectory picture is drawn from there.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from srsgd_ray.knobs import affecting
from srsgd_ray.trainable import Diverged, Metric, Run, Trainable
from srsgd_ray.trainables.minefield_config import MinefieldConfig

APART = 1_000_000  # between the seeds of a search and those of the confirmation


class Minefield(Trainable):
    """Train small networks on two spirals with one optimizer and learning rate."""

    name = "minefield"
    path = "minefield"
    Config = MinefieldConfig
    budget = None
    place = "actor"
    search_metric = "val_error"
    confirm_metric = "test_error"
    tie_break = "val_loss"
    metrics = (
        Metric("train_loss", "cross entropy on the training points", "nats", "lower", "train"),
        Metric("val_loss", "cross entropy on the validation points", "nats", "lower", "validation"),
        Metric("val_error", "error on the validation points", "%", "lower", "validation"),
        Metric("test_loss", "cross entropy on the test points", "nats", "lower", "test"),
        Metric("test_error", "error on the test points", "%", "lower", "test"),
    )

    def confirmed(self, config: MinefieldConfig, seed: int, on: str) -> MinefieldConfig:
        """One network, and what it leads to."""
        same: MinefieldConfig = super().confirmed(config, seed, on)
        return dataclasses.replace(same, runs=1)

    def smoke(self, config: MinefieldConfig) -> dict[str, Any]:
        """A few steps of two networks."""
        return {"steps": 60, "every": 5, "runs": 2}

    def train(self, config: MinefieldConfig, run: Run) -> None:
        """Train ``runs`` networks at once; the metrics are their means."""
        from srsgd_ray.trainables import spirals

        data: spirals.Spirals = run.cached(
            spirals.spirals, *(getattr(config, name) for name in affecting(type(config), "data"))
        )
        first = run.seed if run.final else run.seed + APART
        parts = {"train": data.train, "val": data.validation}
        if run.final:
            parts["test"] = data.test
        means: dict[str, float | None] = {"test_loss": None, "test_error": None}
        with spirals.one_thread():
            ends = spirals.train(config, range(first, first + config.runs), data.train)[-1]
            for part, points in parts.items():
                loss, error = spirals.scores(ends, points, config)
                if not bool(loss.isfinite().all()):
                    raise Diverged(f"the {part} loss of a network is not finite at the end")
                means |= {f"{part}_loss": loss.mean().item(), f"{part}_error": error.mean().item()}
        del means["train_error"]
        run.parameters = sum(config.sizes)
        run.report(**means)


MINEFIELD = Minefield()
