"""Data sets that a config can name, and batches of them made on the training device."""

from srsgd_ray.data.batches import Draws, EvalBatches, TrainBatches
from srsgd_ray.data.dataset import Data, DataError, Dataset, EvalSource, Look, TrainSource
from srsgd_ray.data.load import load_dataset
from srsgd_ray.data.split import stratified_split

__all__ = [
    "Data",
    "DataError",
    "Dataset",
    "Draws",
    "EvalBatches",
    "EvalSource",
    "Look",
    "TrainBatches",
    "TrainSource",
    "load_dataset",
    "stratified_split",
]
