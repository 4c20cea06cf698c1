"""Parameters of one group that one call updates together, their buffers, and the lists cached."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, MutableMapping
from operator import is_
from typing import Any

import torch
from torch import Tensor

from srsgd_ray.optim._update import Mode, Numbers, update_

BUFFER = "momentum_buffer"
State = MutableMapping[Tensor, Any]
_USUAL_DEVICES = ("cpu", "cuda")
_FUSED_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_PLAIN_TYPES = (Tensor, torch.nn.Parameter)


def fusable(param: Tensor) -> bool:
    """Whether torch's fused kernels can update ``param``: real floats, no holes, CPU or CUDA."""
    return param.dtype in _FUSED_DTYPES and param.device.type in _USUAL_DEVICES and _dense(param)


def usual(param: Tensor) -> bool:
    """Whether ``param`` is a tensor of torch's own kind, on the CPU or CUDA."""
    return type(param) in _PLAIN_TYPES and param.device.type in _USUAL_DEVICES


def make_buckets(
    params: Iterable[Tensor], *, foreach: bool | None, fused: bool | None
) -> list[Bucket]:
    """Sort ``params`` by device, dtype, mesh and the mode that the two options and they allow.

    Raises:
        ValueError: if ``fused=True`` and a parameter does not allow it.
    """
    sorted_: dict[tuple[Mode, Any, Any, Any], list[Tensor]] = {}
    for param in params:
        # No call takes DTensors beside plain tensors (FSDP2's ignored_params), or of two meshes.
        mesh = getattr(param, "device_mesh", None)
        key = (_mode(param, foreach, fused), param.device, param.dtype, mesh)
        sorted_.setdefault(key, []).append(param)
    return [Bucket(members, mode) for (mode, *_), members in sorted_.items()]


def _mode(param: Tensor, foreach: bool | None, fused: bool | None) -> Mode:
    if fused:
        if not fusable(param):
            raise ValueError(
                f"fused=True needs floating point parameters (16, 32 or 64 bits) without "
                f"holes in memory, on the CPU or a CUDA device, but got one of "
                f"dtype={param.dtype}, device={param.device}, shape={tuple(param.shape)}, "
                f"strides={param.stride()}. Use fused=None to choose for each parameter."
            )
        return "fused"
    if foreach:
        return "foreach"
    if foreach is False or not usual(param):
        return "plain"
    return "fused" if fused is None and fusable(param) else "foreach"


class Bucket:
    """Parameters of one device, dtype and mode, with the lists that a step needs, kept.

    A parameter is *active* in a step if it has a gradient. One that is not stays where it is and
    its buffer is zeroed: it starts from rest when its gradient comes back.
    """

    def __init__(self, params: list[Tensor], mode: Mode) -> None:
        self.params = params
        self.mode: Mode = mode
        self.cuda = params[0].device.type == "cuda"
        self._complex = params[0].is_complex()
        # Whether a contiguous gradient is fit: its number format may differ if the user says so.
        self._plain = all(
            type(param) in _PLAIN_TYPES
            and param.is_contiguous()
            and getattr(param, "grad_dtype", param.dtype) == param.dtype
            for param in params
        )
        self._active: list[Tensor] | None = None
        self._buffers: list[Tensor] | None = None
        self._checked: tuple[list[Tensor], list[Any]] = ([], [])

    def gather(self) -> tuple[list[Tensor], list[Tensor]]:
        """The active parameters and their gradients, fit for the mode; changes no tensor.

        Raises:
            RuntimeError: if a gradient is sparse.
        """
        params = self.params
        grads = [grad for param in params if (grad := param.grad) is not None]
        if len(grads) < len(params):
            params = [param for param in params if param.grad is not None]
            active = self._active
            if active is not None and len(params) == len(active) and all(map(is_, params, active)):
                params = active
        elif self._plain:  # the usual case, and cheap
            with contextlib.suppress(RuntimeError):  # a sparse gradient does not know
                if all(map(Tensor.is_contiguous, grads)):
                    return params, grads
        checked, known = self._checked
        if params is checked and list(map(_layout, grads)) == known:
            return params, grads
        return params, self._check_layouts(params, grads)

    def _check_layouts(self, params: list[Tensor], grads: list[Tensor]) -> list[Tensor]:
        """Refuse sparse gradients; copy those whose layout the fused kernel would misread."""
        for grad in grads:
            if grad.layout is not torch.strided:
                raise RuntimeError(
                    f"SRSGD needs dense gradients, but got one of layout={grad.layout}, "
                    f"shape={tuple(grad.shape)}. Build the embedding with sparse=False."
                )
        self._buffers = None  # a change of layout may concern them, too
        # The CPU kernel walks all tensors by address and does not look at their strides.
        strict = self.mode == "fused"
        fit = [
            grad
            if param.dtype == grad.dtype and (not strict or _same_layout(param, grad))
            else torch.empty_like(param).copy_(grad)
            for param, grad in zip(params, grads, strict=True)
        ]
        if not any(new is not old for new, old in zip(fit, grads, strict=True)):
            self._checked = (params, list(map(_layout, grads)))
        return fit

    def settle(self, params: list[Tensor], state: State) -> None:
        """Make missing buffers, and zero those of parameters that are not active, if that is new.

        All are made at once, and not when they are needed: a checkpoint has the same entries at
        every step.
        """
        if params is self._active:
            return
        self._active, self._buffers = params, None
        moving = set(map(id, params))
        for param in self.params:
            if param.requires_grad or id(param) in moving or BUFFER in state.get(param, ()):
                buffer = _buffer(param, state)
                if id(param) not in moving:
                    buffer.zero_()

    def slope(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        state: State,
        *,
        lr: float,
        carry: float,
        weight_decay: float,
        maximize: bool,
    ) -> float:
        """The inner product of d_t and v_{t+1} - v_t = -(s d_t + z b) of _update.py, of all active.

        Takes what :meth:`gather` returned, changes no number and waits for the device. The shards
        of DTensors are summed over their ranks, so that each rank decides alike.
        """
        if not params:
            return 0.0
        buffers = [_buffer(param, state) for param in params] if carry else []
        params, ds, buffers = self.real(params, grads, buffers)
        if maximize:
            ds = list(torch._foreach_neg(ds))
        if weight_decay:
            ds = list(torch._foreach_add(ds, params, alpha=weight_decay))
        moved = list(torch._foreach_mul(ds, -lr))
        if carry:
            torch._foreach_add_(moved, buffers, alpha=-carry)
        torch._foreach_mul_(moved, ds)
        wide = torch.promote_types(moved[0].dtype, torch.float32)
        found = functools.reduce(torch.add, [each.sum(dtype=wide) for each in moved])
        return float(found.full_tensor() if hasattr(found, "full_tensor") else found)

    def apply(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        numbers: Numbers,
        state: State,
        *,
        weight_decay: float,
        maximize: bool,
    ) -> None:
        """Take one step with what :meth:`gather` returned."""
        self.settle(params, state)
        if not params:
            return
        if numbers.carry and self._buffers is None:
            self._buffers = [_buffer(param, state) for param in params]
        params, grads, buffers = self.real(params, grads, self._buffers or [])
        if self.mode == "fused" and not self._plain:
            params, grads, buffers = map(_local, (params, grads, buffers))
        update_(
            params,
            grads,
            buffers,
            numbers,
            weight_decay=weight_decay,
            maximize=maximize,
            mode=self.mode,
        )

    def buffers(self, params: list[Tensor], state: State) -> list[Tensor]:
        """Those of active parameters, made if missing."""
        self.settle(params, state)
        return [_buffer(param, state) for param in params]

    def real(self, *lists: list[Tensor]) -> Iterator[list[Tensor]]:
        """Real views of complex tensors, made anew: a cached one would miss a swap of its data."""
        for tensors in lists:
            if self._complex:
                tensors = [torch.view_as_real(tensor.resolve_conj()) for tensor in tensors]
            yield tensors


def _buffer(param: Tensor, state: State) -> Tensor:
    """The one buffer of ``param``: made if missing, made anew if the parameter is another now."""
    entry = state[param]
    buffer: Tensor | None = entry.get(BUFFER)
    if (
        buffer is None
        or (buffer.dtype, buffer.device) != (param.dtype, param.device)
        or not _same_layout(param, buffer)
    ):
        old = buffer
        buffer = torch.zeros_like(param, memory_format=torch.preserve_format)
        if old is not None:
            buffer.copy_(old)
        entry[BUFFER] = buffer
    return buffer


def _layout(grad: Tensor) -> tuple[Any, ...] | None:
    if grad.layout is not torch.strided:
        return None
    return grad.dtype, grad.stride(), getattr(grad, "placements", None)


def _local(tensors: list[Tensor]) -> list[Tensor]:
    """A DTensor's part on this rank: the fused kernel takes no other, and works element-wise."""
    return [each.to_local() if hasattr(each, "to_local") else each for each in tensors]


def _same_layout(left: Tensor, right: Tensor) -> bool:
    """Whether equal places hold equal indices; the stride of a dimension of size 1 is moot."""
    return (
        left.shape == right.shape
        and getattr(left, "placements", None) == getattr(right, "placements", None)
        and all(
            a == b or size == 1
            for size, a, b in zip(left.shape, left.stride(), right.stride(), strict=True)
        )
    )


def _dense(param: Tensor) -> bool:
    # preserve_format keeps the strides exactly if there are no holes and no overlaps.
    return type(param) not in _PLAIN_TYPES or _same_layout(
        param, torch.empty_like(param, device="meta", memory_format=torch.preserve_format)
    )
