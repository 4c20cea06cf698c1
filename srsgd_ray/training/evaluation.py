"""Loss and error of a network on a set, over all ranks; and what must be done before."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from srsgd_ray.data import Data, EvalSource
from srsgd_ray.training.device import Precision
from srsgd_ray.training.distributed import rank_and_size, total
from srsgd_ray.training.outcome import means
from srsgd_ray.training.predictions import Predictions, tell

MOST_BATCHES = 50  # that statistics are renewed from, as schedulefree's documentation has it


class Evaluation:
    """Evaluates a network.

    Args:
        model: the network itself, not its wrapper.
        data: tells how many images could not be read.
        precision: of the forward pass.
    """

    def __init__(self, model: nn.Module, data: Data, precision: Precision) -> None:
        self._model, self._data, self._precision = model, data, precision

    @torch.no_grad()
    def __call__(
        self, batches: EvalSource | None, predictions: Predictions | None = None
    ) -> tuple[float | None, float | None, int]:
        """Mean loss, error in percent, and how many images were skipped; every rank calls this."""
        if batches is None:
            return None, None, 0
        self._model.eval()
        rank, size = rank_and_size()
        skipped = self._data.skipped()
        sums, seen = torch.zeros(4, dtype=torch.float64, device=self._precision.device), []
        losses, errors, images_seen = sums[0], sums[1], 0
        for images, labels in batches.batches(rank=rank, world_size=size):
            with self._precision.autocast():
                logits = self._model(images).float()
            loss = F.cross_entropy(logits, labels, reduction="sum")
            classes = logits.argmax(1)
            losses.add_(loss)
            errors.add_((classes != labels).sum())
            images_seen += len(labels)
            seen.append(torch.stack([labels, classes], 1))
        sums[2] = images_seen
        sums[3] = self._data.skipped() - skipped
        loss_mean, error, _ = means(total(sums))
        if predictions is not None and sums[3] == 0:
            tell(predictions, seen)
        return loss_mean, error, int(sums[3].item())

    def renew_statistics(self, batches: Iterator[tuple[Tensor, Tensor, float]]) -> None:
        """Batch norm's running statistics from some batches of an epoch, at the present parameters.

        Those gathered while training are of the points where an optimizer with two modes took its
        gradients, not of the one that is evaluated.
        """
        with self._precision.autocast():
            update_bn((images for images, _, _ in islice(batches, MOST_BATCHES)), self._model)
