"""The training loop: ``train(config, report)``, the same alone, under torchrun and in Ray workers.

In comes a configuration and a function that takes a row and a checkpoint after each epoch; out goes
how the run ended. ``loop`` is the run, ``step`` one update (``graphed``: as a CUDA graph),
``device`` number format, memory format and kernels, ``distributed`` sums over ranks, ``checkpoint``
one file from which a run resumes bit for bit. ``checks`` tries before a run what no rule decides,
``timing`` measures an epoch. ``python -m srsgd_ray.training`` is ``srsgd-ray train``. Only
torch.distributed is asked who else there is; of Ray nothing is known here.
"""

from srsgd_ray.trainable import RankError, StopTraining
from srsgd_ray.training.checkpoint import CheckpointError, load_checkpoint
from srsgd_ray.training.loop import train
from srsgd_ray.training.outcome import Keep, Outcome, Report, Save

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
