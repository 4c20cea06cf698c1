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
        config: reads ``accumulate``, ``label_smoothing``, ``clip_grad_norm``, ``sam_rho`` and
            ``compile``.
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
        self._share, self._weight = 0.0, torch.empty(0)
        self.compiled = config.compile not in ("off", "cuda-graph")
        if self.compiled:
            # The pass and not the network: state dicts and hooks stay as they are. One graph for
            # each size of a batch, of which an epoch has two.
            self._forward = torch.compile(self._forward, mode=config.compile, dynamic=False)  # type: ignore[method-assign]

    def close(self, model: nn.Module) -> None:
        """Hold the network ``model`` from now on, without a wrapper, and forget what was compiled.

        torch keeps what it compiled for all networks of a process, and soon compiles no more.
        """
        self.model = model
        if self.compiled:
            torch.compiler.reset()

    def __call__(self, images: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Sum of losses over ``images``, and which answers are wrong, as before the update.

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
        return torch.stack(losses).sum(), torch.cat(wrong)

    def _alone(self) -> AbstractContextManager[Any]:
        if isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync()
        return nullcontext()

    def _pass(self, images: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
        loss, wrong = self._forward(images, labels)
        if share != self._share:  # a kernel that fills, not a number that is copied
            self._share, self._weight = share, loss.new_full((), share)
        self._precision.backward(loss, self._weight)
        # A CUDA graph writes its results where it wrote those of the step before.
        return (loss.detach().clone(), wrong.clone()) if self.compiled else (loss.detach(), wrong)

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with self._precision.autocast():
            logits = self.model(images)
            losses = F.cross_entropy(
                logits.float(), labels, reduction="none", label_smoothing=self._smoothing
            )
        return losses.sum(), logits.argmax(1) != labels
