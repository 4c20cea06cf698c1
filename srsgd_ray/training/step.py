"""One step of training: forward and backward pass over this worker's images, and the update."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from srsgd_ray.config import TrainConfig
from srsgd_ray.optim.sam import Sam
from srsgd_ray.training.device import Precision


class Step:
    """A step on one global batch, in micro-batches if the config asks for them.

    Args:
        config: reads ``accumulate``, ``label_smoothing``, ``clip_grad_norm`` and ``sam_rho``.
        model: the network, wrapped in DistributedDataParallel where there are several workers.
        optimizer: of its parameters.
        precision: of the forward pass.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
    ) -> None:
        self.model, self._optimizer, self._precision = model, optimizer, precision
        self._parts, self._clip = config.accumulate, config.clip_grad_norm
        self._smoothing = config.label_smoothing
        self._sam = Sam(model, config.sam_rho) if config.sam_rho else None

    def __call__(self, images: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Sum of losses and number of errors over ``images``, as they were before the update.

        Args:
            images: this worker's part of the batch.
            labels: theirs.
            share: workers / images of the global batch. DDP averages over the workers; ``share``
                makes that the mean over the global batch.
        """
        self._optimizer.zero_grad(set_to_none=True)
        loss, wrong = self._gradient(images, labels, share)
        if self._sam is not None:
            with self._sam.uphill():
                self._gradient(images, labels, share)
        self._precision.step(self._optimizer, self._clip)
        return loss, wrong

    def _gradient(self, images: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
        if self._parts == 1:
            return self._pass(images, labels, share)
        parts = min(self._parts, len(labels))  # the last batch of an epoch may be small
        pairs = zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True)
        found = []
        for index, (some, theirs) in enumerate(pairs, start=1):
            # Gradients are exchanged once, with those of the last part.
            with nullcontext() if index == parts else self._alone():
                found.append(self._pass(some, theirs, share))
        losses, wrong = zip(*found, strict=True)
        return torch.stack(losses).sum(), torch.stack(wrong).sum()

    def _alone(self) -> AbstractContextManager[Any]:
        if isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync()
        return nullcontext()

    def _pass(self, images: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
        with self._precision.autocast():
            logits = self.model(images)
            losses = F.cross_entropy(
                logits.float(), labels, reduction="none", label_smoothing=self._smoothing
            )
        loss = losses.sum()
        self._precision.backward(loss * share)
        with torch.no_grad():
            return loss.detach(), (logits.argmax(1) != labels).sum()
