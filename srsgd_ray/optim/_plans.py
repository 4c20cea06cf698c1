"""What the options and parameters of one group boil down to, kept while neither changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import is_
from typing import Any

import torch
from torch import Tensor

from srsgd_ray.optim._buckets import BUFFER, State, make_buckets, usual
from srsgd_ray.optim._options import check_modes, number_of, plain_schedule
from srsgd_ray.restarts import RestartSchedule, momentum


class Plan:
    """What the options and parameters of one group boil down to, kept from step to step."""

    def __init__(self, group: dict[str, Any], state: State) -> None:
        group["restart"] = plain_schedule(group["restart"])
        self.schedule = RestartSchedule.from_dict(group["restart"])
        self._restart = self.schedule.to_dict()
        self._modes = (group["foreach"], group["fused"])
        self._params = list(group["params"])
        self._place = _place_of(self._params)
        self._places = list(map(self._place, self._params))
        check_modes(*self._modes)
        _check_shapes(self._params, state)
        self.buckets = make_buckets(self._params, foreach=group["foreach"], fused=group["fused"])
        self.fused = any(bucket.mode == "fused" for bucket in self.buckets)

    def fits(self, group: Mapping[str, Any]) -> bool:
        """Whether nothing that the plan was made from has been changed from outside."""
        params = group["params"]
        return (
            self._restart == group["restart"]
            and self._modes == (group["foreach"], group["fused"])
            and len(params) == len(self._params)
            and all(map(is_, params, self._params))
            and list(map(self._place, params)) == self._places
        )

    def enter(self, group: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """The count k of the group's next step, and lr and carry, of which its numbers are made."""
        step = group["step"]
        dropped = self.schedule.buffer == "drop" and self.schedule.begins_stage(step)
        before = {
            "lr": number_of("lr", group["lr"]),
            "carry": 0.0 if dropped else group["carry"],
        }
        return self.schedule.enter(step, group["count"]), before

    def leave(self, group: dict[str, Any], count: int, carry: float) -> None:
        """Count the step that was taken with ``count`` and left ``carry``."""
        group["carry"], group["momentum_used"] = carry, momentum(count)
        group["count"] = self.schedule.leave(group["step"], count)
        group["restarts"] += count == 0 and group["step"] > 0
        group["step"] += 1

    def refuse_capture(self) -> None:
        """Raise RuntimeError while a CUDA graph is captured."""
        if any(b.cuda for b in self.buckets) and torch.cuda.is_current_stream_capturing():
            raise RuntimeError(
                "SRSGD.step() cannot be captured in a CUDA graph: its numbers change with each "
                "step, and a graph would repeat those of the captured one. Capture the forward "
                "and backward pass and call step() outside, or use optim.CapturableStep."
            )


def _place_of(params: Iterable[Tensor]) -> Callable[[Tensor], Any]:
    """The cheapest function of each of ``params`` whose value changes when its data are exchanged.

    ``model.double()``, ``model.to(device)`` and ``param.data = other`` leave the parameter the
    same object.
    """
    if all(usual(param) and param.numel() for param in params):
        return Tensor.data_ptr
    return _described


def _described(param: Tensor) -> tuple[Any, ...]:
    return param.device, param.dtype, param.shape, param.stride()


def _check_shapes(params: Iterable[Tensor], state: State) -> None:
    for param in params:
        velocity = state.get(param, {}).get(BUFFER)
        if velocity is not None and velocity.shape != param.shape:
            raise ValueError(
                f"a parameter and its velocity must have one shape, but got "
                f"{tuple(param.shape)} and {tuple(velocity.shape)}. Delete "
                f"optimizer.state[parameter] to begin from rest."
            )
