"""The 1,797 handwritten digits that come with scikit-learn: real data without a download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998; scikit-learn bundles its test part.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from srsgd_ray.parts import data_set

if TYPE_CHECKING:
    import numpy as np

    from srsgd_ray.data import Dataset

FILE = ("datasets", "data", "digits.csv.gz")
TEST_IMAGES = 360
TEST_SEED = 1797
# Of the 1,437 images that are not test images, pixels as fractions of 255; a test computes them.
MEAN = (0.3052,)
STD = (0.3757,)


@data_set(
    "digits",
    "1,797 real 8x8 digits bundled with scikit-learn; nothing to download",
    channels=1,
    pixels=8,
    classes=10,
    train=1797 - TEST_IMAGES,
    test=TEST_IMAGES,
    files=False,
)
def digits() -> Dataset:
    """All digits as 8x8 images: 1,437 to train on, none held out, 360 to test on.

    The files' values 0 to 16 become ``round(value * 255 / 16)``, halves to the even neighbour.
    scikit-learn knows no test set, so one is cut here, stratified by class, with a seed that no
    config can change. Digits are not mirrored, and they are shifted by one pixel at most.
    """
    import numpy as np
    import torch

    from srsgd_ray.data import Dataset, stratified_split

    pixels, classes = np.split(_table(), [64], axis=1)
    scaled = np.rint(pixels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    images = torch.from_numpy(scaled)
    labels = torch.from_numpy(classes[:, 0].astype(np.int64))
    train, test = stratified_split(labels, TEST_IMAGES, TEST_SEED)
    parts = ((images[part], labels[part]) for part in (train, test))
    return Dataset.of(*parts, classes=10, mean=MEAN, std=STD, pad=1)


def _table() -> np.ndarray:
    """scikit-learn's file, 1,797 rows of 64 pixels and a class: importing the package takes 2 s."""
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("the digits come with scikit-learn: pip install scikit-learn")
    import numpy as np

    with gzip.open(Path(found.submodule_search_locations[0], *FILE)) as file:
        return np.loadtxt(file, delimiter=",")
