"""Restart schedules of SRSGD as plain data: pure functions of the step, without torch.

A schedule says how many optimizer steps F pass between two restarts of the momentum. F is constant
within a *stage*; a new stage begins at every learning-rate milestone (Wang et al., arXiv
2002.10583, section 3). Within a stage the momentum of step k after a restart is ``k / (k + 3)``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

__all__ = [
    "RestartSchedule",
    "amplification",
    "as_published",
    "constant",
    "decay_to_one",
    "explicit",
    "exponential",
    "linear",
    "momentum",
    "never",
]

Buffer = Literal["keep", "drop"]
Count = Literal["reset", "carry"]
Convention = Literal["exact", "as_published"]


def momentum(count: int) -> float:
    """Momentum ``k / (k + 3)`` of the ``count``-th step after a restart (0 for the first)."""
    return count / (count + 3)


def amplification(period: float) -> float:
    """Mean step over a period of P steps, in units of lr times a constant gradient.

    ``(P + 7)/8``: 1 for P = 1, 4.6 for 30, 10 for 73. Restart frequency and learning rate are
    confounded through it. (The iterates v before extrapolation, started from rest, move
    ``(P + 5)/8 + 1/(4P)`` in their first period: the last extrapolation is not in them.)

    Raises:
        ValueError: unless 1 <= period < inf.
    """
    if not 1 <= period < math.inf:
        raise ValueError(f"1 <= period < inf must hold, but got period={period}.")
    return (period + 7) / 8


def _round_half_up(value: float) -> int:
    """62.5 -> 63, as the published schedules were rounded (Python's ``round`` gives 62)."""
    return math.floor(value + 0.5)


@dataclass(frozen=True)
class RestartSchedule:
    """Piecewise constant restart frequency: stage i begins at step ``starts[i]``.

    Args:
        periods: F of each stage, in steps, at least 1; ``inf`` never restarts. A fraction is
            rounded up, since a count reaches F = 2.5 after 3 steps.
        starts: first step (0-based) of each stage; begins with 0 and increases.
        buffer: what happens to the momentum buffer when a stage begins: ``"keep"`` it, or
            ``"drop"`` it (the next step starts from rest).
        count: what happens to the count of steps since the last restart when a stage begins:
            ``"reset"`` to 0 (a stage begins with a restart), or ``"carry"`` it on.
        convention: ``"exact"``: F steps pass between restarts, as the paper's formula says;
            ``"as_published"``: ``max(1, ceil(F) - 1)`` steps pass, as in the reference code from
            which the published numbers came.

    Raises:
        ValueError: if a rule above is broken.
    """

    periods: tuple[float, ...]
    starts: tuple[int, ...] = (0,)
    buffer: Buffer = "keep"
    count: Count = "reset"
    convention: Convention = "exact"

    def __post_init__(self) -> None:
        object.__setattr__(self, "periods", tuple(self.periods))
        object.__setattr__(self, "starts", tuple(self.starts))
        if not self.periods:
            raise ValueError("at least one stage is needed, but got periods=(). Give one F.")
        for period in self.periods:
            if not period >= 1:
                raise ValueError(
                    f"restart frequency F >= 1 must hold in every stage, but got "
                    f"periods={self.periods}. Use F = 1 for SGD without momentum."
                )
        if len(self.periods) != len(self.starts):
            raise ValueError(
                f"one restart frequency a stage is needed, but got {len(self.periods)} "
                f"(periods={self.periods}) for {len(self.starts)} stages (starts={self.starts}). "
                f"Give exactly one more restart frequency than there are milestones."
            )
        if (
            self.starts[0] != 0
            or any(start != int(start) for start in self.starts)
            or any(a >= b for a, b in zip(self.starts, self.starts[1:], strict=False))
        ):
            raise ValueError(
                f"stages must start at step 0 and increase, in whole steps, but got "
                f"starts={self.starts}. Sort the milestones and remove doubles and fractions."
            )
        for name, value, valid in (
            ("buffer", self.buffer, ("keep", "drop")),
            ("count", self.count, ("reset", "carry")),
            ("convention", self.convention, ("exact", "as_published")),
        ):
            if value not in valid:
                raise ValueError(f"{name} must be one of {valid}, but got {value!r}.")

    def stage(self, step: int) -> int:
        """Index of the stage in which step ``step`` (0-based) lies."""
        return bisect_right(self.starts, step) - 1

    def period(self, step: int) -> float:
        """Steps between two restarts at step ``step``: a whole number, or ``inf``."""
        frequency = self.periods[self.stage(step)]
        if math.isinf(frequency):
            return frequency
        whole = math.ceil(frequency)
        return max(1, whole - 1) if self.convention == "as_published" else whole

    def begins_stage(self, step: int) -> bool:
        """Whether a stage other than the first begins at ``step``."""
        return step > 0 and self.starts[self.stage(step)] == step

    def enter(self, step: int, count: int) -> int:
        """Count that step ``step`` uses, given the count that the step before left."""
        return 0 if self.count == "reset" and self.begins_stage(step) else count

    def leave(self, step: int, count: int) -> int:
        """Count that step ``step``, having used ``count``, leaves to the next step."""
        return 0 if count + 1 >= self.period(step) else count + 1

    def counts(self, steps: int) -> Iterator[int]:
        """Counts used by the steps 0 .. ``steps - 1``."""
        count = 0
        for step in range(steps):
            count = self.enter(step, count)
            yield count
            count = self.leave(step, count)

    def restarts(self, steps: int) -> list[int]:
        """Steps below ``steps`` at which the momentum restarts (the first step is not one)."""
        return [step for step, count in enumerate(self.counts(steps)) if count == 0 and step > 0]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings only, so that it survives JSON and ``weights_only`` loading."""
        plain = asdict(self)
        return {**plain, "periods": list(self.periods), "starts": list(self.starts)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> RestartSchedule:
        """Inverse of :meth:`to_dict`; ValueError for a key that it does not write."""
        valid = [field.name for field in fields(cls)]
        for key in plain:
            if key not in valid:
                raise ValueError(
                    f"unknown key {key!r} of a restart schedule. Valid: {', '.join(valid)}."
                )
        return cls(**plain)


def constant(frequency: float) -> RestartSchedule:
    """Restart every ``frequency`` steps, for ever."""
    return RestartSchedule((frequency,))


def never() -> RestartSchedule:
    """No restart: Nesterov's accelerated gradient with its momentum growing towards 1."""
    return RestartSchedule((math.inf,))


def explicit(frequencies: Sequence[float], milestones: Sequence[int] = ()) -> RestartSchedule:
    """One frequency a stage; stage i + 1 begins at step ``milestones[i]``."""
    return RestartSchedule(tuple(frequencies), (0, *milestones))


def linear(f1: float, growth: float, milestones: Sequence[int] = ()) -> RestartSchedule:
    """Frequency ``f1 * (1 + (growth - 1) * i)`` in stage i, rounded half up.

    CIFAR-10 of the paper: ``linear(30, 2, ...)`` has the frequencies 30, 60, 90, 120.
    """
    _check_growth(growth)
    stages = range(len(milestones) + 1)
    return explicit([_round_half_up(f1 * (1 + (growth - 1) * i)) for i in stages], milestones)


def exponential(f1: float, growth: float, milestones: Sequence[int] = ()) -> RestartSchedule:
    """Frequency ``f1 * growth**i`` in stage i, rounded half up.

    CIFAR-10 of the paper: ``exponential(40, 1.25, ...)`` has the frequencies 40, 50, 63, 78.
    """
    _check_growth(growth)
    stages = range(len(milestones) + 1)
    return explicit([_round_half_up(f1 * growth**i) for i in stages], milestones)


def _check_growth(growth: float) -> None:
    if not growth > 0:
        raise ValueError(
            f"growth r > 0 must hold, but got growth={growth}. Use 1 for a constant frequency."
        )


def decay_to_one(
    schedule: RestartSchedule, *, epochs: int, steps_per_epoch: int
) -> RestartSchedule:
    """Let the last stage's frequency fall linearly to 1, epoch by epoch (ImageNet's recipe).

    With s the epoch at which the last stage begins and E = ``epochs``, epoch e >= s has
    ``F(e) = (F_last - 1) * (E - e - 1) / (E - s - 1) + 1``, and is a stage of its own.

    Raises:
        ValueError: if the last stage is shorter than two epochs (the formula has no value), or
            does not begin with an epoch.
    """
    begin = schedule.starts[-1]
    first, rest = divmod(begin, steps_per_epoch)
    if rest:
        raise ValueError(
            f"the last stage must begin with an epoch, but got start={begin} with "
            f"steps_per_epoch={steps_per_epoch}."
        )
    last = epochs - first - 1
    if last < 1:
        raise ValueError(
            f"a decay needs a last stage of at least 2 epochs, but got {epochs - first} "
            f"(epochs={epochs}, last milestone={first}). Use an earlier milestone."
        )
    top = schedule.periods[-1]
    return replace(
        schedule,
        periods=schedule.periods[:-1]
        + tuple((top - 1) * (last - e) / last + 1 for e in range(last + 1)),
        starts=schedule.starts[:-1] + tuple((first + e) * steps_per_epoch for e in range(last + 1)),
    )


def as_published(schedule: RestartSchedule) -> RestartSchedule:
    """The same numbers with the meaning that they had when the paper's results were obtained.

    The reference code restarts after F - 1 steps, and makes the optimizer anew at each milestone,
    which loses the buffer and carries the count.
    """
    return replace(schedule, buffer="drop", count="carry", convention="as_published")
