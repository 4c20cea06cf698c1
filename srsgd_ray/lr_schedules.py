"""Learning-rate schedules as pure functions of the step, without torch.

A schedule is a function of (step, total_steps, **options) to a factor of the learning rate, for the
0-based step that is about to be taken. Stages are the steps at which it changes its character:
SRSGD's restart frequency may change there.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from srsgd_ray.parts import call, find_part, path_of_part

__all__ = ["SCHEDULES", "cosine", "make_factor", "one_cycle", "stages", "wsd"]

Factor = Callable[[int], float]


def cosine(step: int, total_steps: int, *, final: float = 0.0) -> float:
    """Half a cosine from 1 to ``final``, which it would reach at step ``total_steps``."""
    _check("0 <= final <= 1", lambda x: 0 <= x <= 1, final=final)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * step / total_steps))


def wsd(step: int, total_steps: int, *, decay: float = 0.2, final: float = 0.0) -> float:
    """Stable, then decay: 1, and over the last share ``decay`` of the steps linearly to ``final``.

    With a warm-up before it this is warm-up-stable-decay.
    """
    _check("0 < decay <= 1", lambda x: 0 < x <= 1, decay=decay)
    _check("0 <= final <= 1", lambda x: 0 <= x <= 1, final=final)
    begin = _wsd_decay(total_steps, decay)
    if step < begin:
        return 1.0
    return final + (1 - final) * (total_steps - step) / (total_steps - begin)


def one_cycle(
    step: int,
    total_steps: int,
    *,
    rise: float = 0.3,
    start: float = 0.04,
    final: float = 4e-6,
) -> float:
    """From ``start`` up to 1 over the share ``rise`` of the steps, then down to ``final``.

    It rises and falls along half a cosine; equal to torch's ``OneCycleLR`` (L. N. Smith and
    N. Topin, arXiv 1708.07120), whose momentum is not cycled here.
    """
    _check("0 < rise < 1", lambda x: 0 < x < 1, rise=rise)
    _check("0 < start <= 1", lambda x: 0 < x <= 1, start=start)
    _check("0 <= final <= 1", lambda x: 0 <= x <= 1, final=final)
    peak, last = rise * total_steps - 1, total_steps - 1
    if peak > 0 and step <= peak:
        return _between(start, 1.0, step / peak)
    return _between(1.0, final, (step - peak) / (last - peak))


# ``steps`` is no function of the step alone: it multiplies by lr_gamma at each of lr_milestones.
SCHEDULES: dict[str, Callable[..., float] | None] = {
    "steps": None, "cosine": cosine, "wsd": wsd, "one_cycle": one_cycle,
}  # fmt: skip


def make_factor(
    name: str,
    options: Mapping[str, Any],
    *,
    total: int,
    warmup: int = 0,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
) -> Factor:
    """The factor of the learning rate at each step.

    Args:
        name: one of ``SCHEDULES``, a registered name, or an import path.
        options: of the schedule.
        total: steps of the run.
        warmup: steps W of a linear warm-up before it: step s has (s + 1)/(W + 1) of the schedule's
            first factor. The schedule itself spans the steps after it; but ``steps`` keeps its
            milestones where they are.
        milestones: steps at which ``steps`` falls.
        gamma: by which factor.

    Raises:
        ValueError: for an unknown name or option, or a factor that is no number from 0.
    """
    path = path_of_part("lr_schedule", name, SCHEDULES)
    function = find_part("lr_schedule", path) if path else SCHEDULES[name]

    def main(step: int) -> float:
        if function is None:
            return float(gamma ** bisect_right(milestones, step))
        found = function(step - warmup, max(1, total - warmup), **options)
        number = isinstance(found, (int, float)) and not isinstance(found, bool)
        if not number or not 0 <= found < math.inf:
            raise ValueError(
                f"lr_schedule={name!r} must give a number from 0, the factor of the learning rate, "
                f"but gave {found!r} at step {step}. Return a float of (step, total_steps)."
            )
        return float(found)

    def factor(step: int) -> float:
        if step < warmup:
            return main(warmup) * (step + 1) / (warmup + 1)
        return main(step)

    if function is not None:
        call("lr_schedule", name, function, 0, max(1, total - warmup), options=options, offered={})
    for step in (0, warmup, total - 1):
        factor(step)
    return factor


def stages(
    name: str,
    options: Mapping[str, Any],
    *,
    total: int,
    warmup: int = 0,
    milestones: Sequence[int] = (),
) -> list[int]:
    """Steps at which a stage other than the first begins.

    They are where ``wsd`` begins to decay, the peak of ``one_cycle`` and the milestones of
    ``steps``; any other schedule has one stage.
    """
    rest = max(1, total - warmup)
    if name == "steps":
        return list(milestones)
    if name == "wsd":
        return [max(1, warmup + _wsd_decay(rest, options.get("decay", 0.2)))]
    if name == "one_cycle":
        return [max(1, warmup + math.floor(options.get("rise", 0.3) * rest))]
    return []


def _wsd_decay(total_steps: int, decay: float) -> int:
    return min(total_steps - 1, math.floor((1 - decay) * total_steps + 0.5))


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))


def _check(rule: str, within: Callable[[Any], bool], **value: Any) -> None:
    name, found = next(iter(value.items()))
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not within(found):
        raise ValueError(
            f"{rule} must hold, but got lr_schedule_options with {name}={found!r}. "
            f"Give a share of the whole, such as 0.2."
        )
