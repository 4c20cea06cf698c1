"""Data sets that a config can name, and batches of them made on the training device."""

from srsgd_ray.data.batches import Draws, EvalBatches, TrainBatches
from srsgd_ray.data.dataset import DataError, Dataset
from srsgd_ray.data.load import load_dataset
from srsgd_ray.data.split import stratified_split

__all__ = [
    "DataError",
    "Dataset",
    "Draws",
    "EvalBatches",
    "TrainBatches",
    "load_dataset",
    "stratified_split",
]
