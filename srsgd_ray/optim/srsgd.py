"""SRSGD as a ``torch.optim.Optimizer``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from srsgd_ray import restarts
from srsgd_ray.optim.update import factors, update
from srsgd_ray.restarts import RestartSchedule

__all__ = ["SRSGD"]

BUFFER = "momentum_buffer"
FUSED_DEVICES = ("cpu", "cuda")
ALSO_ALLOWED = {"params", "param_names", "initial_lr", "name"}


class SRSGD(Optimizer):
    r"""SGD with scheduled restart momentum.

    .. math::
        v_{t+1} = w_t - s\, g(w_t), \qquad
        w_{t+1} = v_{t+1} + \frac{k}{k + 3} (v_{t+1} - v_t)

    where k counts the steps since the last restart and goes back to 0 after F of them (Wang,
    Nguyen, Sun, Bertozzi, Baraniuk, Osher, "Scheduled Restart Momentum for Accelerated Stochastic
    Gradient Descent", arXiv 2002.10583). Use it as ``torch.optim.SGD``: the parameters are the
    points w at which gradients are taken; :meth:`base_iterates` gives the v.

    Every group has its own learning rate, weight decay, schedule and count, which ``step`` alone
    advances and the state dict holds. Restarts follow the group's own steps; learning rates may be
    changed at any time by torch's schedulers or by hand.

    Args:
        params: parameters or groups; every option below may be set in a group.
        lr: learning rate s >= 0.
        restart: steps F between two restarts, or a schedule from ``srsgd_ray.restarts``. F = 1 is
            SGD without momentum.
        weight_decay: L2 penalty, added to the gradient, at the point w.
        maximize: go up the gradient instead of down.
        foreach: update lists of tensors at a time.
        fused: use PyTorch's fused SGD kernels. By default they are used where they can be.

    Notes:
        Memory is that of SGD with momentum: one buffer a parameter, made at the first step that
        needs it. ``p.grad`` is left as it was. A parameter without a gradient in some step skips
        it, and starts from rest when it has one again. Under ``torch.compile`` the step runs
        uncompiled, since its factors change at each step; for the same reason it refuses to be
        captured in a CUDA graph. ``GradScaler`` works; it decides before ``step`` is called
        whether a step is skipped, so a skipped one does not advance the count.

        The first group's first step has k = 0, so m = 0, 1/4, 2/5, ... The paper's reference code
        restarts after F - 1 steps and forgets the velocity at milestones:
        ``restarts.as_published(schedule)`` does the same.

    Raises:
        ValueError: for an option out of its range or unknown.
        RuntimeError: from ``step``, for sparse gradients, and in a CUDA graph capture.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 0.1,
        *,
        restart: float | RestartSchedule | Mapping[str, Any] = 30,
        weight_decay: float = 0.0,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "restart": restart,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "fused": fused,
        }
        self._lists: dict[int, _Lists] = {}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its count begins at 0. Checks its options."""
        for name in param_group:
            if name not in self.defaults and name not in ALSO_ALLOWED | set(_counters()):
                raise ValueError(
                    f"unknown option {name!r} of a parameter group. "
                    f"Valid: params, {', '.join(self.defaults)}."
                )
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        _check(group)
        for name, value in _counters().items():
            group.setdefault(name, value)
        self._lists.clear()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lists = {}

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch._disable_dynamo  # type: ignore[attr-defined]
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient, and every group's count.

        Args:
            closure: computes the loss again, with gradients on, and returns it.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for index, group in enumerate(self.param_groups):
                self._step_group(index, group)
        return loss

    def _step_group(self, index: int, group: dict[str, Any]) -> None:
        lists = self._lists.get(index)
        grads = None if lists is None else lists.grads(group)
        if lists is None or grads is None:
            lists = self._lists[index] = _Lists(group, self.state)
            grads = lists.grads(group)
            assert grads is not None
        schedule, at, lr = lists.schedule, group["step"], float(group["lr"])
        if schedule.buffer == "drop" and schedule.begins_stage(at):
            group["carry"] = 0.0
        count = schedule.enter(at, group["count"])
        momentum = restarts.momentum(count)
        now = factors(momentum, lr, group["carry"])
        if now.look:
            lists.need_buffers(self.state)
        for part, its_grads in zip(lists.parts, grads, strict=True):
            update(
                part.params,
                its_grads,
                part.buffers,
                now,
                lr=lr,
                weight_decay=group["weight_decay"],
                maximize=group["maximize"],
                mode=lists.mode,
            )
        group["carry"], group["momentum_used"] = now.carry, momentum
        group["count"], group["step"] = schedule.leave(at, count), at + 1

    def schedule(self, group: int = 0) -> RestartSchedule:
        """The restart schedule of a parameter group."""
        return RestartSchedule.from_dict(self.param_groups[group]["restart"])

    @torch.no_grad()
    def base_iterates(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs (parameter, v): the points v before the look-ahead, as new tensors.

        ``v = w + carry * buffer``; at a restart, and before the first step, v = w.
        """
        for group in self.param_groups:
            for param in group["params"]:
                buffer = self.state[param].get(BUFFER) if param in self.state else None
                if buffer is None or group["carry"] == 0:
                    yield param, param.detach().clone()
                else:
                    yield param, param.detach().add(buffer, alpha=group["carry"])


def _counters() -> dict[str, Any]:
    """What ``step`` advances in a group."""
    return {"step": 0, "count": 0, "carry": 0.0, "momentum_used": 0.0}


def _check(group: dict[str, Any]) -> None:
    """Check a new group's options, and bring ``restart`` into its plain form."""
    for name in ("lr", "weight_decay"):
        value = float(group[name])
        if not 0 <= value < math.inf:
            raise ValueError(f"0 <= {name} < inf must hold, but got {name}={value}.")
    restart = group["restart"]
    if isinstance(restart, Mapping):
        restart = RestartSchedule.from_dict(restart)
    elif not isinstance(restart, RestartSchedule):
        restart = restarts.constant(restart)
    group["restart"] = restart.to_dict()
    if group["foreach"] and group["fused"]:
        raise ValueError("foreach and fused exclude each other: set at most one of them to True.")
    if group["fused"]:
        for param in group["params"]:
            if not _can_be_fused(param):
                raise ValueError(
                    f"fused=True needs floating point parameters on {' or '.join(FUSED_DEVICES)}, "
                    f"but got {param.dtype} on {param.device.type}. Use fused=False."
                )


def _can_be_fused(param: Tensor) -> bool:
    return param.is_floating_point() and param.device.type in FUSED_DEVICES


class _Part:
    """Parameters of one device and number format, with their buffers in the same order."""

    def __init__(self, params: list[Tensor]) -> None:
        self.params = params
        self.buffers: list[Tensor] = []


class _Lists:
    """A group's tensors sorted for the update, kept from step to step.

    Collecting them anew each time would cost more than the update of a small network.
    """

    def __init__(self, group: dict[str, Any], state: Mapping[Tensor, dict[str, Any]]) -> None:
        self._restart = group["restart"]
        self._modes = (group["foreach"], group["fused"])
        self._count = len(group["params"])
        self.schedule = RestartSchedule.from_dict(self._restart)
        moving = [param for param in group["params"] if param.grad is not None]
        self._idle = [param for param in group["params"] if param.grad is None]
        for param in self._idle:
            # It starts from rest when it has a gradient again; the group's factors move on.
            if param in state and BUFFER in state[param]:
                state[param][BUFFER].zero_()
        parts: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for param in moving:
            if param.grad.is_sparse:
                raise RuntimeError(
                    "SRSGD needs dense gradients, but got a sparse one. Build the embedding with "
                    "sparse=False."
                )
            parts.setdefault((param.device, param.dtype), []).append(param)
        self.parts = [_Part(params) for params in parts.values()]
        self._on_gpu = any(device.type == "cuda" for device, _ in parts)
        foreach, fused = self._modes
        if fused is None and not foreach:
            fused = foreach is None and all(map(_can_be_fused, moving))
        self.mode = "fused" if fused else "foreach" if foreach else "plain"
        if foreach is None and self.mode == "plain" and self._on_gpu:
            self.mode = "foreach"
        self._have_buffers = False

    def grads(self, group: dict[str, Any]) -> list[list[Tensor]] | None:
        """The gradients, part by part; None if these lists do not fit the group any more."""
        if self._on_gpu and torch.cuda.is_current_stream_capturing():
            raise RuntimeError(
                "SRSGD.step cannot be captured in a CUDA graph: its factors change at each step. "
                "Capture forward and backward pass, and step outside."
            )
        if (
            group["restart"] is not self._restart
            or (group["foreach"], group["fused"]) != self._modes
            or len(group["params"]) != self._count
            or any(param.grad is not None for param in self._idle)
        ):
            return None
        found = []
        for part in self.parts:
            grads = [grad for param in part.params if (grad := param.grad) is not None]
            if len(grads) != len(part.params):
                return None
            found.append(grads)
        return found

    def need_buffers(self, state: Mapping[Tensor, dict[str, Any]]) -> None:
        """Find or make the buffers."""
        if self._have_buffers:
            return
        for part in self.parts:
            for param in part.params:
                if BUFFER not in state[param]:
                    state[param][BUFFER] = torch.zeros_like(
                        param, memory_format=torch.preserve_format
                    )
            part.buffers = [state[param][BUFFER] for param in part.params]
        self._have_buffers = True
