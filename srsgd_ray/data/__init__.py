"""Batches of images, made on the training device.

In comes a config, whose data set is a function of ``srsgd_ray.datasets`` or the user's; out goes an
object with the methods of :class:`Data`, which gives batches to train on and to evaluate. Small
sets live on the device (``batches``); images of a store are decoded as they are needed, by threads
(``streamed``, ``crops``). Order, crops and flips depend on (seed, epoch, position) alone, whatever
the number of threads and ranks (``epochs``). ``loader`` has parts for one's own
``DataLoader``.
"""

from srsgd_ray.data.batches import Draws, EvalBatches, TrainBatches
from srsgd_ray.data.dataset import (
    BatchFormat,
    Data,
    Dataset,
    EvalSource,
    TrainSource,
    hold_out,
    image_shape,
    stratified_split,
)
from srsgd_ray.data.load import load_dataset
from srsgd_ray.data.loader import CropItems, EpochSampler
from srsgd_ray.data.stored import StoredData
from srsgd_ray.data.streamed import StreamedEval, StreamedTrain
from srsgd_ray.data.subset import ImageSubset
from srsgd_ray.image_lmdb import DataError

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
    "StoredData",
    "StreamedEval",
    "StreamedTrain",
    "TrainBatches",
    "TrainSource",
    "hold_out",
    "image_shape",
    "load_dataset",
    "stratified_split",
]
