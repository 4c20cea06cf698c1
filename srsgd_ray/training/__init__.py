"""The training loop: ``train(config, report)``; runs alone, under torchrun and in Ray workers."""

from srsgd_ray.training.checkpoint import CheckpointError, load_checkpoint
from srsgd_ray.training.loop import Outcome, Report, Save, StopTraining, train

__all__ = [
    "CheckpointError",
    "Outcome",
    "Report",
    "Save",
    "StopTraining",
    "load_checkpoint",
    "train",
]
