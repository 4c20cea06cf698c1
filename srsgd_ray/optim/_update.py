"""The update rule of SRSGD: one pure function of numbers, one free function of tensors.

The paper (Wang et al., arXiv 2002.10583, Algorithm 1) moves two points. With step size s, gradient
d at w (weight decay included) and momentum m = k / (k + 3)::

    v_{t+1} = w_t - s d_t
    w_{t+1} = v_{t+1} + m_t (v_{t+1} - v_t)

Put u_t = v_{t+1} - v_t. Then u_t = m_{t-1} u_{t-1} - s d_t and w_{t+1} = w_t - s d_t + m_t u_t: it
is enough to know w and the velocity u. We store u_t = -sigma_t b_t, a buffer b and a number sigma
that is ours to choose, and of sigma only the *carry* z_t = m_t sigma_t. One step is then::

    b_t     = (z_{t-1} / sigma_t) b_{t-1} + (s / sigma_t) d_t
    w_{t+1} = w_t - s d_t - z_t b_t,        z_t = m_t sigma_t

and v_{t+1} = w_{t+1} + z_t b_t. Nothing else depends on the choice of sigma, so two are used:

- sigma = sqrt(z s / m): both numbers in front of b become M = sqrt(m z / s), as in the Nesterov
  update of ``torch.optim.SGD`` with momentum M and dampening 1 - m / M. So torch's fused kernel,
  one pass over memory, takes an SRSGD step.
- sigma = z + s: b is a weighted mean of the gradients, however s jumps.

z = 0 means rest: at the start, and after a step with m = 0, which is a restart.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Mode = Literal["plain", "foreach", "fused"]

# Outside this range of z / s the kernel's M would blow the buffer up or wipe it out.
_KERNEL_RATIO = 1e6


class Numbers(NamedTuple):
    """The numbers of one step: ``b <- decay b + gain d``, then ``w <- w - lr d - carry b``.

    ``carry`` = 0 says ``w <- w - lr d`` and b untouched. ``kernel`` is M if torch's fused kernel
    can take this step, else 0.
    """

    lr: float
    decay: float
    gain: float
    carry: float
    kernel: float


def numbers_of_step(momentum: float, lr: float, carry: float, *, fused: bool) -> Numbers:
    """The numbers of a step, given those that the step before left (see the module's formulas).

    Args:
        momentum: m of this step, 0 <= m < 1.
        lr: step size s of this step, 0 <= s.
        carry: z of the step before, 0 <= z; 0 after rest.
        fused: choose sigma for torch's fused kernel where that is possible.
    """
    if momentum * (carry + lr) == 0:
        return Numbers(lr, 1.0, 0.0, 0.0, 0.0)
    if carry == 0:
        return Numbers(lr, 0.0, 1.0, momentum * lr, momentum if fused else 0.0)
    if fused and lr / _KERNEL_RATIO < carry < lr * _KERNEL_RATIO:
        both = math.sqrt(momentum * carry / lr)
        return Numbers(lr, both, momentum / both, lr * both, both)
    sigma = carry + lr
    return Numbers(lr, carry / sigma, lr / sigma, momentum * sigma, 0.0)


def update_(
    params: list[Tensor],
    grads: list[Tensor],
    buffers: list[Tensor],
    numbers: Numbers,
    *,
    weight_decay: float,
    maximize: bool,
    mode: Mode,
) -> None:
    """Take one step in place: ``params`` and ``buffers`` change, ``grads`` do not.

    ``d = grad + weight_decay * w``, with ``-grad`` for ``maximize``. All tensors of one index have
    one shape; for mode ``"fused"`` also one memory layout without holes. ``buffers`` may be empty
    if ``numbers.carry`` is 0.

    Deviation: ``"fused"`` and ``"plain"`` round w once a step, ``"foreach"`` twice. ``"fused"``
    allocates nothing, ``"foreach"`` nothing unless ``weight_decay`` or ``maximize`` is set.
    """
    lr, decay, gain, carry, kernel = numbers
    if mode == "fused" and (kernel or not carry):
        torch._fused_sgd_(
            params,
            grads,
            buffers if carry else [],
            weight_decay=weight_decay,
            momentum=kernel,
            lr=lr,
            dampening=1 - gain,
            nesterov=carry != 0,
            maximize=maximize,
            is_first_step=decay == 0,
        )
    elif mode == "plain":
        for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
            d = -grad if maximize else grad
            if weight_decay:
                d = d.add(param, alpha=weight_decay)
            if not carry:
                param.add_(d, alpha=-lr)
                continue
            if decay == 0:
                buffers[i].copy_(d)
            else:
                buffers[i].mul_(decay).add_(d, alpha=gain)
            param.sub_(buffers[i].mul(carry).add_(d, alpha=lr))
    else:
        # Temporaries only where torch.optim.SGD makes them too. Without them the decay of w would
        # be a pass of its own, so small against w that its rounding error is the same in each step.
        ds = grads
        if maximize:
            ds = list(torch._foreach_neg(grads))
            if weight_decay:
                torch._foreach_add_(ds, params, alpha=weight_decay)
        elif weight_decay:
            ds = list(torch._foreach_add(grads, params, alpha=weight_decay))
        if carry:
            if decay == 0:
                torch._foreach_zero_(buffers)
            if kernel:
                torch._foreach_mul_(buffers, decay)
                torch._foreach_add_(buffers, ds, alpha=gain)
            else:  # decay + gain = 1 here, so one pass does for two
                torch._foreach_lerp_(buffers, ds, gain)
        torch._foreach_add_(params, ds, alpha=-lr)
        if carry:
            torch._foreach_add_(params, buffers, alpha=-carry)
