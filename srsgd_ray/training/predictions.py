"""What a network says of each image of a set that the ranks share out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from srsgd_ray.training.distributed import rank_and_size

Predictions = Callable[[list[int], list[int]], None]


def tell(predictions: Predictions, own: Sequence[Tensor]) -> None:
    """Call ``predictions(labels, classes)`` with those of all ranks; every rank must call this.

    Args:
        predictions: takes them.
        own: (label, class) of this rank's images in turn, int64 (N, 2) a batch.
    """
    none = torch.empty(0, 2, dtype=torch.int64)
    labels, classes = gathered(torch.cat([none, *(part.cpu() for part in own)])).T
    predictions(labels.tolist(), classes.tolist())


def gathered(own: Tensor) -> Tensor:
    """The rows of all ranks: those of rank r at r, r + size, r + 2 size, ...

    Ranks whose numbers of rows do not fit that order, such as those of a data set of the user's
    that shares out its images otherwise, follow one another.
    """
    size = rank_and_size()[1]
    parts = [own] * size
    if size > 1:
        dist.all_gather_object(parts, own)
    whole = torch.cat(parts)
    shares = [slice(rank, len(whole), size) for rank in range(size)]
    if any(len(whole[share]) != len(part) for share, part in zip(shares, parts, strict=True)):
        return whole
    turns = torch.empty_like(whole)
    for share, part in zip(shares, parts, strict=True):
        turns[share] = part
    return turns
