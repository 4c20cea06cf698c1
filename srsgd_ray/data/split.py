"""Stratified splits that depend on a seed and the labels, and on nothing else."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["hold_out", "stratified_split"]


def stratified_split(labels: Tensor, held_out: int, seed: int) -> tuple[Tensor, Tensor]:
    """Choose ``held_out`` positions, from each class in proportion to its size.

    A class gives its exact share rounded down; the places left over go to the classes with the
    largest remainders (the lower label first). Which images of a class go is decided by the raw
    64-bit stream of numpy's PCG64, whose values numpy promises to keep from version to version.

    Args:
        labels: class of each position, int64 (N,).
        held_out: number of positions to choose, 0 to N.
        seed: any whole number from 0.

    Returns:
        The positions kept and the positions held out, int64, each in increasing order.

    Raises:
        ValueError: if ``held_out`` or ``seed`` is out of range.
    """
    total = len(labels)
    if not 0 <= held_out <= total:
        raise ValueError(f"0 <= held_out <= {total} must hold, but got held_out={held_out}.")
    if seed < 0:
        raise ValueError(f"0 <= seed must hold, but got seed={seed}.")
    _, which, sizes = np.unique(labels.numpy(), return_inverse=True, return_counts=True)
    # Whole numbers throughout: a share in floating point could tie or round otherwise elsewhere.
    quota, rest = np.divmod(held_out * sizes, max(total, 1))
    extra = np.argsort(-rest, kind="stable")[: held_out - int(quota.sum())]
    quota[extra] += 1
    keys = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(total)
    order = np.lexsort((keys, which))
    first = np.cumsum(sizes) - sizes
    place = np.arange(total) - first[which[order]]
    mask = np.zeros(total, dtype=bool)
    mask[order] = place < quota[which[order]]
    return torch.from_numpy(np.flatnonzero(~mask)), torch.from_numpy(np.flatnonzero(mask))


def hold_out(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """:func:`stratified_split` of a share of the positions.

    Raises:
        ValueError: if ``fraction`` leaves either part empty.
    """
    total = len(labels)
    count = round(fraction * total)
    if not 0 < count < total:
        raise ValueError(
            f"validation_fraction must leave images in both parts, but got "
            f"validation_fraction={fraction}, {count} of {total} images. Use 0 for no validation."
        )
    return stratified_split(labels, count, seed)
