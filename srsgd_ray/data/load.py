"""From a config to its data set, split as the config says; and a user's arrays as a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srsgd_ray.config import TrainConfig
from srsgd_ray.data.dataset import Data, Dataset
from srsgd_ray.image_lmdb import DataError
from srsgd_ray.knobs import affecting, check_knobs
from srsgd_ray.parts import call, data_sets, find_part, path_of_part

NEEDED = ("train_images", "train_labels", "test_images", "test_labels")
MORE = ("validation_images", "validation_labels", "classes", "mean", "std", "pad", "flip")


def load_dataset(config: TrainConfig) -> Data:
    """Read the data set that ``config`` names and hold out its validation part.

    Its function, built-in or the user's, is called with ``dataset_options`` and with those of the
    knobs that affect the data (:func:`srsgd_ray.knobs.affecting`) that it has a parameter for;
    ``seed`` is none of them, so every seed of a configuration sees the same split. Nothing is ever
    downloaded. With ``train_on="train+validation"`` or a fraction of 0 nothing is held out.

    A user's function returns a :class:`Dataset`, any other object with the methods of
    :class:`srsgd_ray.data.Data` (which then makes its own split and batches), or the simple form:
    a tuple of ``NEEDED``, or a dict that may hold ``MORE`` besides. Images are uint8 arrays or
    tensors (N, C, H, W) or (N, H, W), labels whole numbers from 0. Without ``mean`` and ``std``
    those of the training images are taken (before any split, so that no split changes them);
    without ``pad`` and ``flip`` images are neither cropped nor mirrored. A validation part that
    came with the data is kept.

    Raises:
        DataError: if files are missing or damaged, or arrays have other shapes and types.
        ValueError: for an unknown name, or a fraction that leaves a part empty.
    """
    name = config.dataset
    path = path_of_part("dataset", name, data_sets())
    check_knobs(config)
    of_data = [knob for knob in affecting(TrainConfig, "data") if not knob.startswith("dataset")]
    knobs = {knob: getattr(config, knob) for knob in of_data}
    make = find_part("dataset", path or data_sets()[name].make)
    found = call("dataset", name, make, options=config.dataset_options, offered=knobs)
    data = found if isinstance(found, Dataset) else _as_data(name, found)
    if not isinstance(data, Dataset):
        return data
    if config.train_on == "train+validation":
        return data.joined()
    if data.validation_images is not None or config.validation_fraction == 0:
        return data
    return data.split(config.validation_fraction, config.split_seed)


def _as_data(path: str, found: Any) -> Data:
    """What a user's function returned, as an object with the methods of ``Data``."""
    if isinstance(found, tuple) and len(found) == len(NEEDED):
        found = dict(zip(NEEDED, found, strict=True))
    if isinstance(found, Mapping):
        return _made(path, found)
    if isinstance(found, Data):
        return found
    raise DataError(
        f"dataset={path!r} must return {len(NEEDED)} arrays ({', '.join(NEEDED)}), a dict of them, "
        f"a Dataset or an object with the methods of srsgd_ray.data.Data, but returned a "
        f"{type(found).__name__}."
    )


def _made(path: str, found: Mapping[str, Any]) -> Dataset:
    missing = [name for name in NEEDED if name not in found]
    unknown = [str(name) for name in found if name not in (*NEEDED, *MORE)]
    if missing or unknown:
        raise DataError(
            f"the dict of dataset={path!r} must hold {', '.join(NEEDED)} and may hold "
            f"{', '.join(MORE)}, but lacks {', '.join(missing) or 'none'} and has "
            f"{', '.join(unknown) or 'none'} besides."
        )
    parts = {}
    shape: tuple[int, ...] | None = None
    for part in ("train", "validation", "test"):
        if part == "validation" and found.get("validation_images") is None:
            continue
        images = _images(path, f"{part}_images", found[f"{part}_images"])
        labels = _labels(path, f"{part}_labels", found.get(f"{part}_labels"), len(images))
        if shape is not None and tuple(images.shape[1:]) != shape:
            raise DataError(
                f"all images of dataset={path!r} must be of one shape, but train_images are "
                f"{shape} and {part}_images {tuple(images.shape[1:])}. Scale or crop them."
            )
        shape = tuple(images.shape[1:])
        parts[part] = (images, labels)
    images, labels = parts["train"]
    highest = max(int(labels.max()) for _, labels in parts.values())
    classes = found.get("classes", highest + 1)
    if isinstance(classes, bool) or not isinstance(classes, int) or classes <= highest:
        raise DataError(
            f"classes must be a whole number above every label of dataset={path!r}, but got "
            f"classes={classes!r} with a label {highest}. Labels are counted from 0."
        )
    mean, std = _scale(path, found, images)
    pad, flip = int(found.get("pad", 0)), bool(found.get("flip", False))
    return Dataset.of(**parts, classes=classes, mean=mean, std=std, pad=pad, flip=flip)


def _tensor(path: str, name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    try:
        return torch.from_numpy(np.ascontiguousarray(value))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} of dataset={path!r} must be a numpy array or a tensor, but is a "
            f"{type(value).__name__}: {error}."
        ) from error


def _images(path: str, name: str, value: Any) -> Tensor:
    images = _tensor(path, name, value)
    if images.dim() == 3:
        images = images[:, None]
    if images.dtype != torch.uint8 or images.dim() != 4 or not images.numel():
        raise DataError(
            f"{name} of dataset={path!r} must be uint8 of shape (N, C, H, W) or (N, H, W), not "
            f"empty, but got {str(images.dtype).removeprefix('torch.')} of shape "
            f"{tuple(np.shape(value))}. Values are 0 to 255; for floats from 0 to 1 give "
            f"(255 * x).round().astype('uint8')."
        )
    if images.shape[1] > 4 >= images.shape[3]:
        raise DataError(
            f"{name} of dataset={path!r} must have its channels before height and width, but got "
            f"shape {tuple(images.shape)}. Give images.transpose(0, 3, 1, 2)."
        )
    return images.contiguous()


def _labels(path: str, name: str, value: Any, count: int) -> Tensor:
    labels = _tensor(path, name, value)
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    lowest = int(labels.to(torch.int64).min()) if whole and labels.numel() else 0
    if not whole or labels.shape != (count,) or lowest < 0:
        raise DataError(
            f"{name} of dataset={path!r} must be {count} whole numbers from 0, one an image, but "
            f"got {str(labels.dtype).removeprefix('torch.')} of shape {tuple(labels.shape)}"
            + (f" with {lowest} among them." if lowest < 0 else ".")
        )
    return labels.to(torch.int64).contiguous()


def _scale(
    path: str, found: Mapping[str, Any], images: Tensor
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel: given, or of the training images."""
    counts = [torch.bincount(images[:, c].reshape(-1), minlength=256).double()
              for c in range(images.shape[1])]  # fmt: skip
    values = torch.arange(256, dtype=torch.float64) / 255
    means = [float((count * values).sum() / count.sum()) for count in counts]
    # A channel of one value is left as it is.
    stds = [
        float(((count * (values - mean) ** 2).sum() / count.sum()).sqrt()) or 1.0
        for count, mean in zip(counts, means, strict=True)
    ]
    made = []
    for name, own in (("mean", means), ("std", stds)):
        given = found.get(name, own)
        given = [given] if isinstance(given, (int, float)) else list(given)
        good = all(isinstance(x, (int, float, np.floating)) for x in given)
        if not good or len(given) != len(own) or (name == "std" and min(given) <= 0):
            raise DataError(
                f"{name} of dataset={path!r} must be {len(own)} numbers, one a channel"
                f"{' and above 0' if name == 'std' else ''}, where 255 counts as 1, but got "
                f"{given}. Leave it out to have it computed."
            )
        made.append(tuple(float(x) for x in given))
    return made[0], made[1]
