"""The global random generators: seeded for each trial, and kept in its checkpoints."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def generator_states() -> dict[str, Any]:
    """States of the global random generators, as torch can load them without running code."""
    import numpy as np
    import torch

    kind, keys, place, has, gauss = np.random.get_state()  # noqa: NPY002
    version, internal, following = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype("int64")), place, has, gauss],
        "python": [version, list(internal), following],
    }


def set_generator_states(state: Mapping[str, Any]) -> None:
    """Inverse of :func:`generator_states`: all workers continue as the first one was."""
    import numpy as np
    import torch

    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, place, has, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype("uint32"), place, has, gauss))  # noqa: NPY002
    version, internal, following = state["python"]
    random.setstate((version, tuple(internal), following))


@contextmanager
def generators_kept() -> Iterator[None]:
    """What the user's process had comes back: its generators, and torch's if it is loaded."""
    import numpy as np

    torch = sys.modules.get("torch")
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    of_torch = None if torch is None else (torch.get_rng_state(), torch.get_num_threads())
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
        if torch is not None and of_torch is not None:
            torch.set_rng_state(of_torch[0])
            torch.set_num_threads(of_torch[1])


def seed_all(seed: int, torch_too: bool) -> None:
    """Seed random, numpy and torch (if it is loaded, or ``torch_too``)."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    if torch_too or "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)
