"""From a config to its data set, split as the config says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from srsgd_ray.config import DATASETS, TrainConfig, one_of
from srsgd_ray.data.cifar import read_cifar
from srsgd_ray.data.dataset import Dataset
from srsgd_ray.data.digits import read_digits
from srsgd_ray.data.split import stratified_split

__all__ = ["load_dataset"]


def load_dataset(config: TrainConfig) -> Dataset:
    """Read the data set that ``config`` names and hold out its validation part.

    Reads ``dataset``, ``data_dir``, ``train_on``, ``validation_fraction`` and ``split_seed``;
    ``seed`` has no influence, so every seed of a configuration sees the same split. Nothing is
    ever downloaded. With ``train_on="train+validation"`` or a fraction of 0 nothing is held out.

    Raises:
        DataError: if files are missing or damaged (a ValueError).
        ValueError: for an unknown name, or a fraction that leaves a part empty.
    """
    one_of("data set", config.dataset, DATASETS)
    one_of("train_on", config.train_on, ("train", "train+validation"))
    if config.dataset == "digits":
        data = read_digits()
    else:
        data = read_cifar(config.dataset, Path(config.data_dir).expanduser())
    if config.train_on == "train+validation" or config.validation_fraction == 0:
        return data
    return _hold_out(data, config.validation_fraction, config.split_seed)


def _hold_out(data: Dataset, fraction: float, seed: int) -> Dataset:
    total = len(data.train_labels)
    count = round(fraction * total)
    if not 0 < count < total:
        raise ValueError(
            f"validation_fraction must leave images in both parts, but got "
            f"validation_fraction={fraction}, {count} of {total} images. Use 0 for no validation."
        )
    kept, held = stratified_split(data.train_labels, count, seed)
    return replace(
        data,
        train_images=data.train_images[kept],
        train_labels=data.train_labels[kept],
        validation_images=data.train_images[held],
        validation_labels=data.train_labels[held],
    )
