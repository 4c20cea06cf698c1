"""SRSGD's update as free functions: of numbers (what the step's factors are), and of tensors.

The paper's rule (Wang et al., arXiv 2002.10583), with d the gradient at w and s the learning rate:

    v' = w - s d        w' = v' + m (v' - v)        m = k / (k + 3)

Let u = v' - v be the velocity. It is stored as ``u = -sigma * buf`` with a number sigma of our
choice, and for one choice the update is that of PyTorch's SGD with Nesterov momentum M and
dampening 1 - m / M, fused kernels included:

    buf' = M buf + (m / M) d        w' = w - s (d + M buf')        M^2 = m * carry / s

where ``carry`` = (momentum * sigma) of the step before = its (s * M).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Factors", "factors", "update"]


class Factors(NamedTuple):
    """What multiplies what in one step.

    Attributes:
        look: M, momentum of the buffer and of the look-ahead; 0: the buffer takes no part.
        fresh: factor of the gradient in the buffer.
        rest: whether the buffer has to be zero before the step: the velocity is.
        carry: number that the next step needs.
    """

    look: float
    fresh: float
    rest: bool
    carry: float


def factors(momentum: float, lr: float, carry: float) -> Factors:
    """The factors of a step with momentum m in [0, 1) and learning rate s >= 0.

    Args:
        momentum: m of this step.
        lr: s of this step; 0 is allowed, since schedulers get there.
        carry: what the step before left, 0 if the velocity is zero or takes no part.
    """
    if momentum == 0:
        return Factors(0.0, 0.0, False, 0.0)
    if lr == 0:
        # No gradient comes in; the velocity goes on by itself.
        return Factors(0.0, 0.0, False, momentum * carry)
    if carry == 0:
        return Factors(momentum, 1.0, True, lr * momentum)
    look = math.sqrt(momentum * carry / lr)
    return Factors(look, momentum / look, False, lr * look)


def update(
    params: list[Tensor],
    grads: list[Tensor],
    buffers: list[Tensor],
    step: Factors,
    *,
    lr: float,
    weight_decay: float,
    maximize: bool,
    mode: str,
) -> None:
    """Move ``params`` and ``buffers`` in place by one step; ``grads`` stay as they are.

    Args:
        params: tensors of one device and number format.
        grads: one a parameter, of its shape.
        buffers: one a parameter; only read and written if ``step`` needs them.
        step: from :func:`factors`.
        lr: learning rate s >= 0.
        weight_decay: L2 penalty, added to the gradient.
        maximize: go up the gradient.
        mode: ``plain`` (tensor by tensor), ``foreach`` or ``fused``.
    """
    if lr == 0:
        if step.carry:
            torch._foreach_add_(params, buffers, alpha=-step.carry)
        return
    if step.rest:
        torch._foreach_zero_(buffers)
    if mode == "fused":
        torch._fused_sgd_(
            params,
            grads,
            buffers if step.look else [],
            weight_decay=weight_decay,
            momentum=step.look,
            lr=lr,
            dampening=1 - step.fresh,
            nesterov=step.look != 0,
            maximize=maximize,
            is_first_step=False,
        )
    elif mode == "foreach":
        _foreach(params, grads, buffers, step, lr, weight_decay, maximize)
    else:
        for param, grad, buffer in zip(params, grads, buffers or params, strict=True):
            _foreach([param], [grad], [buffer], step, lr, weight_decay, maximize)


def _foreach(
    params: list[Tensor],
    grads: list[Tensor],
    buffers: list[Tensor],
    step: Factors,
    lr: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """The rule in passes over lists, as many as PyTorch's own and with no more memory."""
    sign = -1.0 if maximize else 1.0
    if weight_decay:
        # One set of temporaries, as torch.optim.SGD makes too: p.grad is not ours to write.
        if maximize:
            total = torch._foreach_neg(grads)
            torch._foreach_add_(total, params, alpha=weight_decay)
        else:
            total = torch._foreach_add(grads, params, alpha=weight_decay)
        if step.look:
            torch._foreach_mul_(buffers, step.look)
            torch._foreach_add_(buffers, total, alpha=step.fresh)
            torch._foreach_add_(total, buffers, alpha=step.look)
        torch._foreach_add_(params, total, alpha=-lr)
        return
    torch._foreach_add_(params, grads, alpha=-lr * sign)
    if step.look:
        torch._foreach_mul_(buffers, step.look)
        torch._foreach_add_(buffers, grads, alpha=step.fresh * sign)
        torch._foreach_add_(params, buffers, alpha=-lr * step.look)
