"""SRSGD: stochastic gradient descent with scheduled restart of the Nesterov momentum."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT, StateDict

from srsgd_ray.optim._buckets import BUFFER, make_buckets
from srsgd_ray.optim._options import check_modes, checked, number_of, plain_schedule
from srsgd_ray.optim._update import numbers_of_step
from srsgd_ray.restarts import RestartSchedule, momentum

_OPTIONS = ("lr", "restart", "adaptive", "weight_decay", "maximize", "foreach", "fused")
_COUNTERS: dict[str, int | float] = {
    "step": 0,  # steps done
    "count": 0,  # steps since the last restart, for the next step
    "carry": 0.0,  # z of _update.py
    "momentum_used": 0.0,  # m of the last step, to be read
    "restarts": 0,  # steps with count 0, but for the first, to be read
}
# "initial_lr" is what LR schedulers read and write, "name" a free label.
_GROUP_KEYS = ("params", "param_names", "name", "initial_lr", *_OPTIONS)


class SRSGD(Optimizer):
    """SGD whose Nesterov momentum grows with each step and restarts on a schedule.

    Algorithm 1 of Wang et al., arXiv 2002.10583, with step size s, d = grad + weight_decay * w and
    F steps between two restarts::

        v_{t+1} = w_t - s d(w_t)
        w_{t+1} = v_{t+1} + m_t (v_{t+1} - v_t),    m_t = k / (k + 3),    k = t mod F

    The parameters hold w, the point where gradients are taken. In place of v one buffer a
    parameter holds the velocity v_{t+1} - v_t up to a number that is the group's ``carry``, which
    takes one pass over memory and loses fewer digits than a difference of positions;
    :meth:`base_iterates` gives v. The count k, the number of steps done and the carry belong to
    each parameter group, are advanced by :meth:`step` alone and are part of the state dict.

    Change the learning rate from outside, with any torch LR scheduler (with OneCycleLR say
    ``cycle_momentum=False``); it may be 0. The schedule's stages are counted in steps of the group.

    Args:
        params: parameters, named parameters, or groups of them; a group may set each option below.
        lr: step size s, a number or a tensor of one element, read at each step.
        restart: F, a number of steps (``math.inf`` never restarts, 1 is SGD without momentum), or
            a :class:`~srsgd_ray.restarts.RestartSchedule`. The group keeps it as plain data.
        adaptive: restart besides wherever the gradient says that the momentum leads uphill: where
            d(w_t) . (v_{t+1} - v_t) > 0, summed over all groups with this option, which then have
            m_t = 0 and count from there (gradient scheme of O'Donoghue and Candès, Found. Comput.
            Math. 15, 2015, with the count above). Each step then waits for the device once.
        weight_decay: L2 penalty added to the gradient, at w.
        maximize: ascend in place of descending.
        foreach: True: a few calls for a list of tensors.
        fused: True: torch's fused kernel, for real floats on the CPU or CUDA. Both None (default):
            fused where possible, else foreach. Both False: one tensor after the other.

    Raises:
        ValueError: for a bad or unknown option; from ``step`` for a learning rate gone bad.
        RuntimeError: from ``step`` for a sparse gradient, and under CUDA graph capture, since the
            numbers change each step. A step that raises one of these has changed nothing.

    Deviations from ``torch.optim.SGD``: a parameter whose gradient is None in a step stays where it
    is and *forgets its velocity*, for it has moved by nothing; torch would apply the old velocity
    later. ``step`` never changes ``p.grad`` (torch's foreach Nesterov path does). A gradient laid
    out in memory unlike its parameter is copied first (torch's fused CPU kernel misreads it). The
    mode (foreach, fused) belongs to the object: loading a state dict does not change it.

    Deviations from the reference code: see :func:`srsgd_ray.restarts.as_published`; every group
    advances, tensors are updated in place, gradients stay as they are.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.1,
        *,
        restart: float | RestartSchedule = 30,
        adaptive: bool = False,
        weight_decay: float = 0.0,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        defaults = checked(
            {
                "lr": lr,
                "restart": restart,
                "adaptive": adaptive,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "fused": fused,
            }
        )
        self._drop_caches()
        super().__init__(params, defaults)

    def _drop_caches(self) -> None:
        self._plans: dict[int, _Plan] = {}
        self._advance: Callable[[SRSGD], None] = _hidden_advance()

    def __setstate__(self, state: dict[str, Any]) -> None:
        for index, group in enumerate(state["param_groups"]):
            for key, before in (("adaptive", False), ("restarts", 0)):  # came after version 0.1
                group.setdefault(key, before)
            missing = [key for key in (*_OPTIONS, *_COUNTERS) if key not in group]
            if missing:
                raise ValueError(
                    f"each group of an SRSGD state must hold {', '.join(missing)}, but group "
                    f"{index} has only {', '.join(group)}. Load the state of an SRSGD."
                )
        super().__setstate__(state)
        self._drop_caches()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; it begins at step 0 of its own schedule, from rest."""
        if isinstance(param_group, Mapping):
            for key in param_group:
                if key not in _GROUP_KEYS:
                    raise ValueError(
                        f"unknown option {key!r} of a parameter group. "
                        f"Valid: {', '.join(_GROUP_KEYS)}."
                    )
            options = {key: param_group.get(key, self.defaults[key]) for key in _OPTIONS}
            param_group = {**param_group, **checked(options), **_COUNTERS}
        super().add_param_group(param_group)
        if param_group["fused"]:
            try:
                make_buckets(self.param_groups[-1]["params"], foreach=None, fused=True)
            except ValueError:
                self.param_groups.pop()
                raise
        self._drop_caches()

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Continue from ``state_dict``, bit for bit; its schedule wins, the mode stays as it is.

        Raises:
            ValueError: if it is not the state of an SRSGD with groups of these sizes.
        """
        modes = [(group["foreach"], group["fused"]) for group in self.param_groups]
        super().load_state_dict(state_dict)
        for group, (foreach, fused) in zip(self.param_groups, modes, strict=True):
            group.update(foreach=foreach, fused=fused)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all parameters, advance all groups; return what ``closure`` returned, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._advance(self)
        return loss

    def schedule(self, group: int = 0) -> RestartSchedule:
        """The restart schedule of a parameter group; its ``period(step)`` is F at a step."""
        return RestartSchedule.from_dict(plain_schedule(self.param_groups[group]["restart"]))

    @torch.no_grad()
    def base_iterates(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs (parameter w, the paper's v as a new tensor): v = w + carry * buffer.

        v is the plain gradient step, without the extrapolation that made w of it; before the first
        step and right after a restart they are equal.
        """
        for group in self.param_groups:
            for param in group["params"]:
                if group["carry"] and BUFFER in self.state.get(param, ()):
                    yield param, param.add(self.state[param][BUFFER], alpha=group["carry"])
                else:
                    yield param, param.detach().clone()


class _Plan:
    """What the options and parameters of one group boil down to, kept from step to step."""

    def __init__(self, group: dict[str, Any]) -> None:
        group["restart"] = plain_schedule(group["restart"])
        self.schedule = RestartSchedule.from_dict(group["restart"])
        self._restart = self.schedule.to_dict()
        self._modes = (group["foreach"], group["fused"])
        self._params = list(group["params"])
        check_modes(*self._modes)
        self.buckets = make_buckets(self._params, foreach=group["foreach"], fused=group["fused"])
        self.fused = any(bucket.mode == "fused" for bucket in self.buckets)

    def fits(self, group: Mapping[str, Any]) -> bool:
        """Whether nothing that the plan was made from has been changed from outside."""
        params = group["params"]
        return (
            self._restart == group["restart"]
            and self._modes == (group["foreach"], group["fused"])
            and len(params) == len(self._params)
            and all(map(operator.is_, params, self._params))
        )

    def refuse_capture(self) -> None:
        """Raise RuntimeError while a CUDA graph is captured."""
        if any(b.cuda for b in self.buckets) and torch.cuda.is_current_stream_capturing():
            raise RuntimeError(
                "SRSGD.step() cannot be captured in a CUDA graph: its numbers change with each "
                "step, and a graph would repeat those of the captured one. Capture the forward "
                "and backward pass, and call step() outside."
            )


@functools.cache
def _hidden_advance() -> Callable[[SRSGD], None]:
    # The numbers change with each step, so torch.compile would compile each step anew. Not at
    # import: this imports torch._dynamo (seconds), as the constructor of any optimizer does.
    hidden: Callable[[SRSGD], None] = torch.compiler.disable(_advance)  # type: ignore[no-untyped-call]
    return hidden


@torch.no_grad()
def _advance(optimizer: SRSGD) -> None:
    """One step of all groups: first read and check everything, then change it."""
    work = []
    for index, group in enumerate(optimizer.param_groups):
        plan = optimizer._plans.get(index)
        if plan is None or not plan.fits(group):
            plan = optimizer._plans[index] = _Plan(group)
        plan.refuse_capture()
        step, schedule = group["step"], plan.schedule
        count = schedule.enter(step, group["count"])
        dropped = schedule.buffer == "drop" and schedule.begins_stage(step)
        before: dict[str, Any] = {
            "lr": number_of("lr", group["lr"]),
            "carry": 0.0 if dropped else group["carry"],
        }
        decay: dict[str, Any] = {
            "weight_decay": number_of("weight_decay", group["weight_decay"]),
            "maximize": group["maximize"],
        }
        tensors = [(bucket, *bucket.gather()) for bucket in plan.buckets]
        work.append((group, plan, count, before, decay, tensors))
    slopes = (
        bucket.slope(params, grads, optimizer.state, **before, **decay)
        for group, _, _, before, decay, tensors in work
        if group["adaptive"]
        for bucket, params, grads in tensors
    )
    uphill = sum(slopes) > 0
    for group, plan, count, before, decay, tensors in work:
        if uphill and group["adaptive"]:
            count = 0
        numbers = numbers_of_step(momentum(count), **before, fused=plan.fused)
        for bucket, params, grads in tensors:
            bucket.apply(params, grads, numbers, optimizer.state, **decay)
        group["carry"], group["momentum_used"] = numbers.carry, momentum(count)
        group["count"] = plan.schedule.leave(group["step"], count)
        group["restarts"] += count == 0 and group["step"] > 0
        group["step"] += 1
