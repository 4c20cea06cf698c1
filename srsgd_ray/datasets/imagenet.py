"""ImageNet, from a folder tree or from LMDB databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from srsgd_ray.parts import GENERATED, data_set

if TYPE_CHECKING:
    from srsgd_ray.data.stored import StoredData


@data_set("imagenet", "ImageNet, read from data_dir", classes=1000, train=1_281_167, test=50_000)
def imagenet(
    data_dir: str,
    image_size: int,
    train_on: str,
    validation_fraction: float,
    split_seed: int,
    decode_threads: int,
    bad_images: str,
) -> StoredData:
    """Training, validation and test images, none of them in memory.

    Validation images are held out from ``train``; ``val``, as in the paper, is the test set.

    Raises:
        DataError: see :func:`srsgd_ray.image_lmdb.open_pair`.
        ValueError: for a fraction that leaves a part empty.
    """
    from srsgd_ray.data.stored import StoredData
    from srsgd_ray.datasets._generated import generated_imagenet

    folder = generated_imagenet() if data_dir == GENERATED else None
    return StoredData(
        data_dir if folder is None else folder.name,
        image_size,
        held_out=validation_fraction if train_on == "train" else 0.0,
        split_seed=split_seed,
        threads=decode_threads,
        skip=bad_images == "skip",
        holding=folder,
    )
