"""Sharpness-aware minimization (SAM), around any optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer

from srsgd_ray.optim.baselines import find_extra


class _Idle(Optimizer):
    """SAM's own optimizer here: the run's takes the step, after clipping and by its precision."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {})

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Nothing."""


class Sam:
    """The perturbation of SAM (Foret et al., arXiv 2010.01412), as pytorch_optimizer makes it.

    It keeps nothing between steps, so a checkpoint needs nothing of it.

    Args:
        model: whose parameters are moved.
        rho: by how much: the norm of the whole move.

    Raises:
        ValueError: if pytorch_optimizer is not installed.
    """

    def __init__(self, model: nn.Module, rho: float) -> None:
        def of(name: str) -> Callable[..., Any]:
            return find_extra(f"pytorch_optimizer:{name}", "sam_rho")

        self._model = model
        self._pause, self._go_on = of("disable_running_stats"), of("enable_running_stats")
        self._sam = of("SAM")([p for p in model.parameters() if p.requires_grad], _Idle, rho=rho)

    @contextmanager
    def uphill(self) -> Iterator[None]:
        """Parameters moved by rho along their gradients, which are cleared; put back at the end.

        Batch norm's running statistics do not follow what is computed there.
        """
        self._sam.first_step(zero_grad=True)
        self._pause(self._model)
        try:
            yield
        finally:
            self._go_on(self._model)
            self._sam.second_step()
