"""Two optimizers that share out the parameters of a network, as one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
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

    @property  # type: ignore[override]
    def state(self) -> dict[Any, Any]:
        """The state of all parts, as one dict made anew."""
        return {param: entry for part in self.parts for param, entry in part.state.items()}

    @state.setter
    def state(self, _: Any) -> None:
        pass  # it is the parts' own

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of ``state_dict``; takes the form of version 0.1, a state for each part, too."""
        states = state_dict.get("parts") or self._split(state_dict)
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
        self._join()

    def _split(self, state_dict: dict[str, Any]) -> Iterator[dict[str, Any]]:
        groups = iter(state_dict["param_groups"])
        for part in self.parts:
            own = list(itertools.islice(groups, len(part.param_groups)))
            indices = [index for group in own for index in group["params"]]
            entries = {i: state_dict["state"][i] for i in indices if i in state_dict["state"]}
            yield {"state": entries, "param_groups": own}

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "parts": self.parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._join()


def set_mode(optimizer: Optimizer, training: bool) -> bool:
    """Put ``optimizer`` into its train or eval mode; returns whether it has any.

    One that has both methods, as schedule-free ones do, holds another point in each: that of the
    gradients, or the one to be evaluated.
    """
    if isinstance(optimizer, Together):
        found = [set_mode(part, training) for part in optimizer.parts]
        return any(found)
    modes = [getattr(optimizer, name, None) for name in ("train", "eval")]
    if not all(map(callable, modes)):
        return False
    modes[0 if training else 1]()  # type: ignore[misc]
    return True
