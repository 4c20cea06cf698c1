"""The configuration of one training run: its knobs, its schedules and its rules.

A field's name is also the Tune key, the Optuna parameter and the Parquet column. Imports neither
torch nor Ray.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from srsgd_ray import restarts
from srsgd_ray.knobs import check_knobs, make, one_of, plain
from srsgd_ray.lr_schedules import SCHEDULES, make_factor, stages
from srsgd_ray.parts import (
    GENERATED,
    check_built_in,
    check_options,
    data_sets,
    networks,
    path_of_part,
)
from srsgd_ray.train_knobs import OPTIMIZERS, RESTART_KINDS, SCHEDULE_FREE, TrainKnobs

__all__ = ["DATASETS", "GENERATED", "MODELS", "OPTIMIZERS", "SCHEDULE_FREE", "TrainConfig"]

# Every name that a knob can have, with a line about it.
MODELS = {name: part.doc for name, part in networks().items()}
DATASETS = {name: part.doc for name, part in data_sets().items()}
ALWAYS_THERE = set(OPTIMIZERS) - {"muon", *SCHEDULE_FREE}  # and they take any network
FINE = 1000  # steps an epoch, for rules that hold for any number of them


@dataclass(frozen=True)
class TrainConfig(TrainKnobs):
    """One training run. Make it, then call :meth:`check` (the training loop does).

    Raises:
        srsgd_ray.knobs.UnknownNameError: from :meth:`from_dict`, for a key that is not a field.
        ValueError: from :meth:`check`, with the rule, the value and the cure.
    """

    def __post_init__(self) -> None:
        if self.effective_lr > 0:
            object.__setattr__(self, "lr", self.effective_lr / self.amplification())

    def amplification(self) -> float:
        """Mean step over the first stage, in units of lr times a constant gradient.

        SRSGD with P steps between restarts: (P + 7)/8. Momentum M: 1/(1 - M). Plain SGD: 1.

        Raises:
            ValueError: for an optimizer whose step has no such factor.
        """
        if self.optimizer in ("sgd", "sgd_nesterov"):
            return 1 / (1 - self.momentum)
        if self.optimizer == "sgd_plain":
            return 1.0
        if self.optimizer != "srsgd":
            raise ValueError(
                f"effective_lr needs an optimizer with a bounded momentum, but got "
                f"optimizer={self.optimizer!r}. Give lr instead."
            )
        return restarts.amplification(self.restart_schedule(steps_per_epoch=1).period(0))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Build a config from flat keys; lists become tuples, whole floats become ints."""
        return make(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Flat plain values (tuples become lists), for JSON, Tune and Parquet."""
        return plain(self)

    def replace(self, **changes: Any) -> TrainConfig:
        """A copy with some fields changed; unknown names raise as in :meth:`from_dict`."""
        return TrainConfig.from_dict({**self.to_dict(), **changes})

    def restart_schedule(self, steps_per_epoch: int) -> restarts.RestartSchedule:
        """The restart schedule of this run, in steps."""
        milestones = self.restart_stages(steps_per_epoch)
        if self.optimizer in ("nesterov_no_restart", "adaptive_restart"):
            return restarts.never()
        if self.restart_kind == "constant":
            schedule = restarts.explicit([self.restart_f1] * (len(milestones) + 1), milestones)
        elif self.restart_kind == "explicit":
            schedule = restarts.explicit(self.restart_list, milestones)
        else:
            grow = getattr(restarts, self.restart_kind)
            schedule = grow(self.restart_f1, self.restart_growth, milestones)
        if self.restart_decay:
            schedule = restarts.decay_to_one(
                schedule, epochs=self.epochs, steps_per_epoch=steps_per_epoch
            )
        if self.restart_convention == "as_published":
            return restarts.as_published(schedule)
        choices: dict[str, Any] = {"buffer": self.restart_buffer, "count": self.restart_count}
        return dataclasses.replace(schedule, **choices)

    def restart_stages(self, steps_per_epoch: int) -> list[int]:
        """Steps at which a stage of the restarts other than the first begins."""
        if self.restart_milestones:
            return [epoch * steps_per_epoch for epoch in self.restart_milestones]
        return stages(self.lr_schedule, self.lr_schedule_options, **self._spans(steps_per_epoch))

    def warmup_steps(self, steps_per_epoch: int) -> int:
        """Steps of the warm-up, rounded."""
        return round(self.warmup_epochs * steps_per_epoch)

    def lr_factor(self, steps_per_epoch: int) -> Callable[[int], float]:
        """What lr is multiplied by at each step."""
        options, spans = self.lr_schedule_options, self._spans(steps_per_epoch)
        return make_factor(self.lr_schedule, options, gamma=self.lr_gamma, **spans)

    def _spans(self, steps_per_epoch: int) -> dict[str, Any]:
        """The schedule of the learning rate in steps."""
        return {
            "total": self.epochs * steps_per_epoch,
            "warmup": self.warmup_steps(steps_per_epoch),
            "milestones": [epoch * steps_per_epoch for epoch in self.lr_milestones],
        }

    def check(self) -> TrainConfig:
        """Return self if every rule holds; otherwise raise ValueError naming rule, value, cure."""
        self._check_parts()
        one_of("restart kind", self.restart_kind, RESTART_KINDS)
        check_knobs(self)
        self.check_network()
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate <= batch_size must hold, but got accumulate={self.accumulate} with "
                f"batch_size={self.batch_size}. batch_size counts all images of a step."
            )
        if self.compile == "cuda-graph" and (
            self.optimizer not in ("srsgd", "nesterov_no_restart")
            or self.sam_rho
            or self.precision == "float16"
        ):
            raise ValueError(
                f"compile='cuda-graph' needs optimizer srsgd or nesterov_no_restart, sam_rho=0 and "
                f"no float16, but got optimizer={self.optimizer!r}, sam_rho={self.sam_rho} and "
                f"precision={self.precision!r}. Use compile='reduce-overhead'."
            )
        if self.static_graph and self.accumulate > 1:
            raise ValueError(
                f"static_graph needs accumulate=1, for torch's DDP aborts the first of several "
                f"micro-batches (pytorch/pytorch#143580), but got accumulate={self.accumulate}. "
                f"Use static_graph=False."
            )
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs < epochs must hold, but got warmup_epochs={self.warmup_epochs} "
                f"with epochs={self.epochs}. Give a shorter warm-up."
            )
        if self.sam_rho and self.precision == "float16":
            raise ValueError(
                f"sam_rho needs precision float32 or bfloat16, for the scaled gradients of float16 "
                f"may overflow between its two passes, but got sam_rho={self.sam_rho} with "
                f"precision='float16'."
            )
        images = data_sets().get(self.dataset)
        if images is not None and images.files and not self.data_dir:
            raise ValueError(
                f"dataset={self.dataset!r} needs data_dir, the folder that holds its files."
            )
        self._check_stages()
        return self

    def check_network(self) -> None:
        """Raise ValueError unless the network can be built so and takes the data set's images.

        Only what is declared is compared; whether another network takes the images of a data set
        is checked when the training begins (:func:`srsgd_ray.models.check_fit`).
        """
        path_of_part("dataset", self.dataset, data_sets())
        path_of_part("model", self.model, networks())
        network, images = networks().get(self.model), data_sets().get(self.dataset)
        if network is None:
            return
        if images is not None and network.small and not images.pixels:
            raise ValueError(
                f"model={self.model!r} is for small images, but got dataset={self.dataset!r}. "
                f"Give a model whose name begins with imagenet_, for example imagenet_resnet50."
            )
        if images is not None and 0 < images.pixels < network.pixels:
            fitting = [n for n, part in data_sets().items() if part.pixels >= network.pixels]
            raise ValueError(
                f"model={self.model!r} needs images of {network.pixels} pixels a side, but got "
                f"dataset={self.dataset!r}, which has {images.pixels}. Give "
                f"{' or '.join(fitting)}, or another model, for example preresnet."
            )
        check_built_in("model", self.model, network, self.model_options, vars(self))

    def may_not_fit(self) -> bool:
        """Whether no rule says that the network takes the images, so that it has to be tried."""
        network, images = networks().get(self.model), data_sets().get(self.dataset)
        if network is None or images is None:
            return True
        return not network.small and images.pixels > 0

    def has_parts_to_try(self) -> bool:
        """Whether a part is not of this package, or what it takes is known to itself alone."""
        return (
            self.may_not_fit()
            or self.optimizer not in ALWAYS_THERE
            or self.sam_rho > 0
            or self.lr_schedule not in SCHEDULES
            or bool(self.optimizer_options)
        )

    def _check_parts(self) -> None:
        path_of_part("dataset", self.dataset, data_sets())
        check_options("dataset", self.dataset_options, ("data_dir",))
        images = data_sets().get(self.dataset)
        if images is not None:
            check_built_in("dataset", self.dataset, images, self.dataset_options, vars(self))
        path_of_part("model", self.model, networks())
        check_options("model", self.model_options, ("seed",))
        path_of_part("optimizer", self.optimizer, OPTIMIZERS)
        check_options("optimizer", self.optimizer_options, ("lr", "weight_decay", "params"))
        if self.optimizer_fallback:
            path_of_part("optimizer", self.optimizer_fallback, OPTIMIZERS)
        path_of_part("lr_schedule", self.lr_schedule, SCHEDULES)
        check_options("lr_schedule", self.lr_schedule_options)
        if self.lr_schedule == "steps" and self.lr_schedule_options:
            raise ValueError(
                f"lr_schedule='steps' takes no lr_schedule_options, but got "
                f"{self.lr_schedule_options}. Its knobs are lr_milestones and lr_gamma."
            )

    def _check_stages(self) -> None:
        for name in ("lr_milestones", "restart_milestones"):
            found = getattr(self, name)
            if any(a >= b for a, b in zip((0, *found), (*found, self.epochs), strict=True)):
                raise ValueError(
                    f"0 < {name} < epochs must hold and increase, but got "
                    f"{name}={found} with epochs={self.epochs}."
                )
        if self.lr_milestones and self.lr_schedule != "steps":
            raise ValueError(
                f"lr_milestones belong to lr_schedule='steps', but got lr_milestones="
                f"{self.lr_milestones} with lr_schedule={self.lr_schedule!r}. Leave them out; "
                f"restarts can have restart_milestones of their own."
            )
        if self.lr_schedule in SCHEDULES:
            self.lr_factor(steps_per_epoch=FINE)
        if self.optimizer != "srsgd":
            return
        following = self.lr_schedule in ("wsd", "one_cycle") and not self.restart_milestones
        if self.restart_decay and following:
            raise ValueError(
                f"restart_decay needs stages that begin with an epoch, but those of lr_schedule="
                f"{self.lr_schedule!r} begin within one. Give restart_milestones, in epochs."
            )
        schedule = self.restart_stages(steps_per_epoch=FINE)
        if self.restart_kind == "explicit" and len(self.restart_list) != len(schedule) + 1:
            where = "restart_milestones" if self.restart_milestones else "lr_milestones"
            at = f"{where}={getattr(self, where)}"
            if following:
                at = f"lr_schedule={self.lr_schedule!r}"
            raise ValueError(
                f"restart_list needs one frequency a stage, {len(schedule) + 1} for {at}, but got "
                f"{len(self.restart_list)}: {self.restart_list}."
            )
        self.restart_schedule(steps_per_epoch=FINE)
