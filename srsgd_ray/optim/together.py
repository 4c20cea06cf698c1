"""Two optimizers that share out the parameters of a network, as one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class Together(Optimizer):
    """Several optimizers as one: their groups one after the other, a step of each in turn.

    The groups are the optimizers' own, so that a schedule of the learning rate reaches them.

    Args:
        parts: optimizers of different parameters.
    """

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts
        params = [p for part in parts for group in part.param_groups for p in group["params"]]
        super().__init__(params, {})
        self._join()

    def _join(self) -> None:
        self.param_groups = list(itertools.chain.from_iterable(p.param_groups for p in self.parts))

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of each; returns what ``closure`` returned, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state of each."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._join()
