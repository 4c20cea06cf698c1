"""SRSGD: stochastic gradient descent with scheduled restart of the Nesterov momentum."""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT, StateDict

from srsgd_ray.optim._buckets import BUFFER, make_buckets
from srsgd_ray.optim._options import checked, number_of, plain_schedule, refuse_unknown
from srsgd_ray.optim._plans import Plan
from srsgd_ray.optim._update import numbers_of_step
from srsgd_ray.restarts import RestartSchedule, momentum

_OPTIONS: dict[str, Any] = {  # with their defaults
    "lr": 0.1,
    "restart": 30,
    "adaptive": False,
    "weight_decay": 0.0,
    "maximize": False,
    "foreach": None,
    "fused": None,
}
_COUNTERS: dict[str, int | float] = {
    "step": 0,  # steps done
    "count": 0,  # steps since the last restart, for the next step
    "carry": 0.0,  # z of _update.py
    "momentum_used": 0.0,  # m of the last step, to be read
    "restarts": 0,  # steps with count 0, but for the first, to be read
}
_velocity = operator.itemgetter(BUFFER)


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
    each parameter group, are advanced by :meth:`step` alone and are part of the state dict. The
    first step makes the buffers of all parameters; with zero gradients and learning rates of 0, as
    torch.distributed.checkpoint takes it, or without any gradient, it does not count.

    Change the learning rate from outside, with any torch LR scheduler (with OneCycleLR say
    ``cycle_momentum=False``); it may be 0. The schedule's stages are counted in steps of the group.

    Args:
        params: parameters, named parameters, or groups of them; a group may set each option below,
            and carry labels of others (as timm's ``lr_scale``), which are kept and ignored.
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
        fused: True: torch's fused kernel, for real floats on the CPU or CUDA; a GradScaler then
            leaves gradients scaled, and ``step`` divides them. Both None (default): fused where
            possible, else foreach. Both False: one tensor after the other.

    Raises:
        TypeError: for an unknown keyword.
        ValueError: for a bad option; from ``step`` for a learning rate gone bad, or a parameter
            whose shape is no longer that of its velocity.
        RuntimeError: from ``step`` for a sparse gradient, and under CUDA graph capture, since the
            numbers change each step. A step that raises one of these has changed nothing.

    Deviations from ``torch.optim.SGD``: a parameter whose gradient is None in a step stays where it
    is and *forgets its velocity*, for it has moved by nothing; torch would apply the old velocity
    later. ``step`` changes ``p.grad`` only to unscale it (torch's foreach Nesterov path does more).
    A gradient of another memory layout or dtype than its parameter is copied first (torch's fused
    CPU kernel misreads it); a velocity follows its parameter to another dtype, device or layout.
    The mode (foreach, fused) belongs to the object: loading a state dict does not change it.

    Deviations from the reference code: see :func:`srsgd_ray.restarts.as_published`; every group
    advances, tensors are updated in place, gradients stay as they are.
    """

    @refuse_unknown
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

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Asked by torch.amp.GradScaler, which then sets ``grad_scale`` and ``found_inf``."""
        return all(group["fused"] for group in self.param_groups)

    def _drop_caches(self) -> None:
        self._plans: dict[int, Plan] = {}
        self._velocities: list[Any] = []
        self._advance: Callable[[SRSGD], None] = _hidden_advance()

    def _notice(self) -> None:
        """Forget the plans if velocities were exchanged from outside, such as moved to a device."""
        entries = self.state.values()
        with contextlib.suppress(KeyError, TypeError):  # entries that are not ours
            if len(entries) == len(self._velocities) and all(
                map(operator.is_, map(_velocity, entries), self._velocities)
            ):
                return
        self._plans.clear()
        self._velocities = [e.get(BUFFER) if isinstance(e, dict) else None for e in entries]

    def __setstate__(self, state: dict[str, Any]) -> None:
        for index, group in enumerate(state["param_groups"]):
            missing = [key for key in ("step", "count", "carry") if key not in group]
            if missing:
                raise ValueError(
                    f"each group of an SRSGD state must hold {', '.join(missing)}, but group "
                    f"{index} has only {', '.join(group)}. Load the state of an SRSGD."
                )
            # What an older version did not write has its default: that is how it behaved.
            group |= {**_OPTIONS, **_COUNTERS, **group}
        super().__setstate__(state)
        self.defaults = _OPTIONS | self.defaults
        self._drop_caches()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; it begins at step 0 of its own schedule, from rest.

        As with torch's optimizers the dict becomes the group itself, and keys that are no option
        are kept and ignored. The group of another SRSGD is copied: that one keeps its counters.
        """
        if isinstance(param_group, dict):
            options = {key: param_group.get(key, self.defaults[key]) for key in _OPTIONS}
            if _COUNTERS.keys() <= param_group.keys():
                param_group = param_group.copy()
            param_group.update(checked(options), **_COUNTERS)
        super().add_param_group(param_group)
        if param_group["fused"]:
            made = [p for p in self.param_groups[-1]["params"] if not p.is_meta]  # others: later
            try:
                make_buckets(made, foreach=None, fused=True)
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


@functools.cache
def _hidden_advance() -> Callable[[SRSGD], None]:
    # The numbers change with each step, so torch.compile would compile each step anew. Not at
    # import: this imports torch._dynamo (seconds), as the constructor of any optimizer does.
    hidden: Callable[[SRSGD], None] = torch.compiler.disable(_advance)  # type: ignore[no-untyped-call]
    return hidden


def _probes(optimizer: SRSGD, work: list[Any]) -> bool:
    """Whether this is no step: none was counted before, and nothing moves.

    That is a step without any gradient, or how torch.distributed.checkpoint has a new optimizer
    make its state: with zero gradients and learning rates of 0. Then the state is made, all of it,
    and the counters stay. (A warm-up that begins at 0 has gradients, and counts.)
    """
    if optimizer.state and any(group["step"] for group in optimizer.param_groups):
        return False
    grads = [grad for *_, tensors in work for _, _, grads in tensors for grad in grads]
    for *_, tensors in work if grads else ():
        for bucket, params, _ in tensors:
            bucket.settle(params, optimizer.state)
    still = not any(before["lr"] for _, _, _, before, _, _ in work)
    return not grads or (still and not any(grad.any() for grad in grads))


@torch.no_grad()
def _advance(optimizer: SRSGD) -> None:
    """One step of all groups: first read and check everything, then change it."""
    if getattr(optimizer, "found_inf", None):  # set by GradScaler: the step is skipped
        return
    scale = getattr(optimizer, "grad_scale", None)
    work = []
    optimizer._notice()
    for index, group in enumerate(optimizer.param_groups):
        plan = optimizer._plans.get(index)
        if plan is None or not plan.fits(group):
            plan = optimizer._plans[index] = Plan(group, optimizer.state)
        plan.refuse_capture()
        count, before = plan.enter(group)
        decay: dict[str, Any] = {
            "weight_decay": number_of("weight_decay", group["weight_decay"]),
            "maximize": group["maximize"],
        }
        tensors = [(bucket, *bucket.gather()) for bucket in plan.buckets]
        work.append((group, plan, count, before, decay, tensors))
    if _probes(optimizer, work):
        return
    if scale is not None:
        for *_, tensors in work:
            for _, _, grads in filter(operator.itemgetter(2), tensors):
                torch._foreach_div_(grads, float(scale))
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
        plan.leave(group, count, numbers.carry)
