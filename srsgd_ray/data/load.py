"""From a config to its data set, split as the config says."""

from __future__ import annotations

from dataclasses import replace

from srsgd_ray.config import DATASETS, TrainConfig, one_of
from srsgd_ray.data.cifar import read_cifar
from srsgd_ray.data.dataset import Data, Dataset
from srsgd_ray.data.digits import read_digits
from srsgd_ray.data.own import read_own, with_validation
from srsgd_ray.data.split import hold_out
from srsgd_ray.parts import path_of_part

__all__ = ["load_dataset"]


def load_dataset(config: TrainConfig) -> Data:
    """Read the data set that ``config`` names and hold out its validation part.

    Reads ``dataset``, ``data_dir``, ``train_on``, ``validation_fraction``, ``split_seed`` and
    ``normalisation``, for ImageNet ``image_size``, ``decode_threads`` and ``bad_images`` too;
    ``seed`` has no influence, so every seed of a configuration sees the same split. Nothing is
    ever downloaded. With ``train_on="train+validation"`` or a fraction of 0 nothing is held out.
    For a data set of one's own (an import path) see :func:`srsgd_ray.data.own.read_own`; one that
    brings a validation part keeps it.

    Raises:
        DataError: if files are missing or damaged (a ValueError).
        ValueError: for an unknown name, or a fraction that leaves a part empty.
    """
    path = path_of_part("dataset", config.dataset, DATASETS)
    one_of("train_on", config.train_on, ("train", "train+validation"))
    one_of("normalisation", config.normalisation, ("dataset", "as_published"))
    if config.dataset == "imagenet":
        from srsgd_ray.data.imagenet import ImageNet  # here: others need none of its libraries

        return ImageNet(config)
    if path:
        own = read_own(path, config)
        if not isinstance(own, Dataset):
            return own
        data = own
    elif config.dataset == "digits":
        data = read_digits()
    else:
        data = read_cifar(config.dataset, config.data_dir, config.normalisation)
    if data.validation_images is not None and config.train_on == "train+validation":
        return with_validation(data)
    if data.validation_images is not None or config.train_on == "train+validation":
        return data
    if config.validation_fraction == 0:
        return data
    kept, held = hold_out(data.train_labels, config.validation_fraction, config.split_seed)
    return replace(
        data,
        train_images=data.train_images[kept],
        train_labels=data.train_labels[kept],
        validation_images=data.train_images[held],
        validation_labels=data.train_labels[held],
    )
