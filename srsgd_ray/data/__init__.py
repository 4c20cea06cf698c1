"""Data sets that a config can name, and batches of them made on the training device."""

from srsgd_ray.data.batches import Draws, EvalBatches, TrainBatches
from srsgd_ray.data.dataset import (
    BatchFormat,
    Data,
    DataError,
    Dataset,
    EvalSource,
    TrainSource,
    image_shape,
)
from srsgd_ray.data.items import CropItems
from srsgd_ray.data.load import load_dataset
from srsgd_ray.data.sampler import EpochSampler
from srsgd_ray.data.split import stratified_split
from srsgd_ray.data.streamed import StreamedEval, StreamedTrain
from srsgd_ray.data.streams import ImageSubset

__all__ = [
    "BatchFormat",
    "CropItems",
    "Data",
    "DataError",
    "Dataset",
    "Draws",
    "EpochSampler",
    "EvalBatches",
    "EvalSource",
    "ImageSubset",
    "StreamedEval",
    "StreamedTrain",
    "TrainBatches",
    "TrainSource",
    "image_shape",
    "load_dataset",
    "stratified_split",
]
