"""SRSGD's step in two halves, so that a CUDA graph can hold the one that is the device's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from srsgd_ray.optim._buckets import Bucket
from srsgd_ray.optim._plans import Plan
from srsgd_ray.optim._update import numbers_of_step
from srsgd_ray.optim.srsgd import SRSGD
from srsgd_ray.restarts import momentum


class CapturableStep:
    """The step of an :class:`SRSGD`: :meth:`advance` on the host, :meth:`apply` on the device.

    ``apply`` reads the numbers of the step (learning rate, momentum) from tensors that ``advance``
    fills, so a CUDA graph may hold it, with the forward and backward pass before it. Restarts,
    stages and learning rates are the optimizer's own, whose counters and buffers are used::

        optimizer = SRSGD(model.parameters(), lr=0.1, restart=40)
        step = CapturableStep(optimizer)
        ...  # some steps on a side stream, as torch's documentation of CUDA graphs has it
        with torch.cuda.graph(graph):
            loss = criterion(model(images), labels)
            loss.backward()
            step.apply()
        for some, theirs in batches:
            images.copy_(some), labels.copy_(theirs)
            step.advance()
            graph.replay()

    What the optimizer saves and loads is as ever, and steps of either kind may follow each other;
    after ``load_state_dict`` make this anew and capture anew, since buffers are others then.
    Numbers differ from those of ``optimizer.step()`` by rounding. ``apply`` takes seven calls a
    list of tensors and two temporaries of their size, where torch's fused kernel takes one and
    none: outside of a graph it is slower.

    Args:
        optimizer: all its parameters must have gradients in each step.

    Raises:
        ValueError: for ``adaptive`` groups, whose restarts the device would have to tell the host.
    """

    def __init__(self, optimizer: SRSGD) -> None:
        if any(group["adaptive"] for group in optimizer.param_groups):
            raise ValueError(
                "CapturableStep needs adaptive=False, since an adaptive restart waits for the "
                "device in each step. Call optimizer.step() outside of the graph."
            )
        self._optimizer = optimizer
        self._plans = [Plan(group, optimizer.state) for group in optimizer.param_groups]
        self._numbers: dict[int, dict[str, Tensor]] = {}
        for plan in self._plans:
            for bucket in plan.buckets:
                like = bucket.params[0]
                dtype = torch.promote_types(like.dtype, torch.float32)
                names = ("decay", "gain", "minus_lr", "minus_carry", "weight_decay")
                self._numbers[id(bucket)] = {
                    name: torch.zeros((), dtype=dtype, device=like.device) for name in names
                }

    @torch.no_grad()
    def advance(self) -> None:
        """Count a step, and leave its numbers where the next :meth:`apply` reads them.

        It does not wait for the device: the numbers are arguments of calls that fill.
        """
        for group, plan in zip(self._optimizer.param_groups, self._plans, strict=True):
            count, before = plan.enter(group)
            found = numbers_of_step(momentum(count), **before, fused=False)
            filled = {
                "decay": found.decay,
                "gain": found.gain,
                "minus_lr": -found.lr,
                "minus_carry": -found.carry,
                "weight_decay": float(group["weight_decay"]),
            }
            for bucket in plan.buckets:
                for name, value in filled.items():
                    self._numbers[id(bucket)][name].fill_(value)
            plan.leave(group, count, found.carry)

    @torch.no_grad()
    def apply(self) -> None:
        """Update the parameters by the numbers of the last :meth:`advance`.

        Raises:
            RuntimeError: if a parameter has no gradient, or a sparse one.
        """
        for group, plan in zip(self._optimizer.param_groups, self._plans, strict=True):
            for bucket in plan.buckets:
                self._update(bucket, group)

    def _update(self, bucket: Bucket, group: dict[str, Any]) -> None:
        params, ds = bucket.gather()
        if len(params) < len(bucket.params):
            raise RuntimeError(
                f"CapturableStep needs a gradient for each parameter, but "
                f"{len(bucket.params) - len(params)} have none. Give them requires_grad=False and "
                f"leave them out of the optimizer."
            )
        buffers = bucket.buffers(params, self._optimizer.state)
        numbers = self._numbers[id(bucket)]
        params, ds, buffers = bucket.real(params, ds, buffers)
        if group["maximize"]:
            ds = list(torch._foreach_neg(ds))
        if group["weight_decay"]:
            ds = list(torch._foreach_add(torch._foreach_mul(params, numbers["weight_decay"]), ds))
        torch._foreach_mul_(buffers, numbers["decay"])
        torch._foreach_add_(buffers, torch._foreach_mul(ds, numbers["gain"]))
        torch._foreach_add_(params, torch._foreach_mul(ds, numbers["minus_lr"]))
        torch._foreach_add_(params, torch._foreach_mul(buffers, numbers["minus_carry"]))
