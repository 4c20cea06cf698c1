"""What an option of a parameter group may be, and what a constructor's keywords may."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from torch import Tensor

from srsgd_ray.knobs import did_you_mean
from srsgd_ray.restarts import RestartSchedule, constant

P = ParamSpec("P")
# Options of torch's optimizers that SRSGD has not, and what to do instead.
_INSTEAD = {
    "momentum": "Its momentum is k / (k + 3): say restart=F.",
    "nesterov": "Its momentum is always Nesterov's: leave it out.",
    "dampening": "Its momentum has none: leave it out.",
    "differentiable": "Its step is taken without autograd: differentiate the paper's two lines.",
    "capturable": "Its numbers change each step: capture the forward and backward pass and call "
    "step() outside of the CUDA graph, or use optim.CapturableStep.",
}


def refuse_unknown(init: Callable[P, None]) -> Callable[P, None]:
    """``init``, whose TypeError for an unknown keyword says what was meant."""
    names = [*inspect.signature(init).parameters][1:]

    @functools.wraps(init)
    def checking(*args: P.args, **options: P.kwargs) -> None:
        for name in options:
            if name not in names:
                raise TypeError(
                    f"SRSGD() got an unexpected keyword argument {name!r}. Valid: "
                    f"{', '.join(names)}. {_INSTEAD.get(name) or did_you_mean(name, names).strip()}"
                )
        init(*args, **options)

    return checking


def plain_schedule(restart: object) -> dict[str, Any]:
    """``restart`` as plain data, or ValueError."""
    if isinstance(restart, RestartSchedule):
        return restart.to_dict()
    if isinstance(restart, Mapping):
        return RestartSchedule.from_dict(restart).to_dict()
    if isinstance(restart, bool) or not isinstance(restart, (int, float)):
        raise ValueError(
            f"restart must be a number of steps or a RestartSchedule, but got {restart!r}. "
            f"Use math.inf never to restart."
        )
    return constant(restart).to_dict()


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a group, with ``restart`` as plain data, or ValueError."""
    for name in ("lr", "weight_decay"):
        number_of(name, options[name])
    if not isinstance(options["adaptive"], bool):
        raise ValueError(f"adaptive must be True or False, but got {options['adaptive']!r}.")
    check_modes(options["foreach"], options["fused"])
    return {**options, "restart": plain_schedule(options["restart"])}


def check_modes(foreach: bool | None, fused: bool | None) -> None:
    """ValueError for two modes at once."""
    if foreach and fused:
        raise ValueError(
            "foreach and fused exclude each other, but got foreach=True, fused=True. "
            "Set at most one of them to True."
        )


def number_of(name: str, value: Any) -> float:
    """``value``, a number or a tensor of one element, as a float from 0, or ValueError."""
    try:
        # item(), for float() warns if the tensor wants a gradient; + 0.0, for "0.1" is no number.
        number = float(value.item() if isinstance(value, Tensor) else value + 0.0)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(
            f"0 <= {name} < inf must hold, but got {name}={value!r}. Give one number; 0 is allowed."
        )
    return number
