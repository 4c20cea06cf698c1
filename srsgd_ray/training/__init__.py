"""The training loop: ``train(config, report)``; runs alone, under torchrun and in Ray workers."""

from srsgd_ray.training.checkpoint import CheckpointError, load_checkpoint
from srsgd_ray.training.loop import train
from srsgd_ray.training.outcome import Keep, Outcome, RankError, Report, Save, StopTraining

__all__ = [
    "CheckpointError",
    "Keep",
    "Outcome",
    "RankError",
    "Report",
    "Save",
    "StopTraining",
    "load_checkpoint",
    "train",
]
