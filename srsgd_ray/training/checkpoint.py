"""Checkpoints: one file that holds all that a run needs to resume bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from srsgd_ray.config import TrainConfig
from srsgd_ray.knobs import machine_knobs

FILE_NAME = "checkpoint.pt"
FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or of another run."""


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> Path:
    """Write ``state`` (tensors and plain values) into ``folder``; returns the file.

    Whoever calls it sees to it that it replaces no other before it is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    with path.open("wb") as file:  # torch itself says of a full disk only that a position is odd
        try:
            torch.save({"format": FORMAT, **state}, file)
        except RuntimeError as error:
            if isinstance(error.__context__, Exception | None):
                raise
            # An interruption, which torch answers with an odd position as well.
            raise error.__context__ from None
    return path


def load_checkpoint(folder: Path, config: TrainConfig) -> dict[str, Any]:
    """Read the checkpoint in ``folder`` on the CPU, without unpickling code.

    Raises:
        CheckpointError: if there is none, it cannot be read, or it belongs to another config.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise CheckpointError(f"no checkpoint: expected {path}.")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error}") from error
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {path} has format {state.get('format')}, but this version reads {FORMAT}."
        )
    mine = config.to_dict()
    # A knob that came later had its default then.
    theirs = {**TrainConfig().to_dict(), **state["config"]}
    differ = [
        f"{key}={theirs[key]!r} (now {mine[key]!r})"
        for key in mine
        if key not in machine_knobs(TrainConfig) and theirs[key] != mine[key]
    ]
    if differ:
        raise CheckpointError(
            f"checkpoint {path} belongs to another run: {', '.join(differ)}. "
            f"Resume with the same configuration, or start anew elsewhere."
        )
    return state


def rng_state() -> dict[str, Any]:
    """State of torch's global generators (a network with dropout draws from them)."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Inverse of :func:`rng_state`; GPUs beyond those recorded keep their state."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
