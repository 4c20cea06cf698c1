"""A step as one CUDA graph: pass, backward pass and SRSGD's update, without a compiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from srsgd_ray.config import TrainConfig
from srsgd_ray.optim import SRSGD, CapturableStep
from srsgd_ray.training.device import Precision
from srsgd_ray.training.step import Step

WARM = 3  # steps of a size of a batch before its graph, for libraries that choose their kernels
Found = tuple[Tensor, Tensor]


def make_step(
    config: TrainConfig, model: nn.Module, optimizer: torch.optim.Optimizer, precision: Precision
) -> Step:
    """The step that ``config.compile`` asks for; the arguments are :class:`Step`'s."""
    kind = GraphedStep if config.compile == "cuda-graph" else Step
    return kind(config, model, optimizer, precision)


class GraphedStep(Step):
    """A :class:`Step` whose launches are captured once for each size of a batch, and replayed.

    Its numbers are those of ``CapturableStep``: restarts and learning rates are read anew in each
    step. On a CPU the same calls are made one by one.

    Raises:
        ValueError: for several workers, whose exchange of gradients is not captured.
    """

    def __init__(
        self, config: TrainConfig, model: nn.Module, optimizer: Any, precision: Precision
    ) -> None:
        if isinstance(model, DistributedDataParallel):
            raise ValueError(
                "compile='cuda-graph' needs one worker a trial, but there are several. Use "
                "compile='reduce-overhead'."
            )
        assert isinstance(optimizer, SRSGD)
        self._halves = _Halves(optimizer)
        super().__init__(config, model, self._halves, precision)  # type: ignore[arg-type]
        self._on_gpu = precision.device.type == "cuda"
        self._warmed: Counter[Any] = Counter()
        self._replays: dict[Any, Callable[[Tensor, Tensor], Found]] = {}

    def close(self, model: nn.Module) -> None:
        """As :meth:`Step.close`; the graphs let go of their memory."""
        super().close(model)
        self._replays.clear()

    def __call__(self, images: Tensor, labels: Tensor, share: float) -> Found:
        """See :class:`Step`."""
        self._halves.advance()
        size = (images.shape, share)
        if not self._on_gpu:
            return super().__call__(images, labels, share)
        if self._warmed[size] < WARM:
            self._warmed[size] += 1
            return self._aside(images, labels, share)
        if size not in self._replays:
            self._replays[size] = self._captured(images, labels, share)
        return self._replays[size](images, labels)

    def _aside(self, images: Tensor, labels: Tensor, share: float) -> Found:
        """A step on a stream of its own, as torch wants those before a capture."""
        usual, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(usual)
        with torch.cuda.stream(side):
            found = super().__call__(images, labels, share)
        usual.wait_stream(side)
        return found

    def _captured(
        self, images: Tensor, labels: Tensor, share: float
    ) -> Callable[[Tensor, Tensor], Found]:
        graph, some, theirs = torch.cuda.CUDAGraph(), images.clone(), labels.clone()
        self._share = float("nan")  # the graph fills a weight of its own
        # Threads that read images meanwhile may ask CUDA for memory.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            loss, wrong = super().__call__(some, theirs, share)

        def replay(images: Tensor, labels: Tensor) -> Found:
            some.copy_(images)
            theirs.copy_(labels)
            graph.replay()
            return loss.clone(), wrong.clone()  # the next replay writes there again

        return replay


class _Halves:
    """What a step asks of an optimizer, by SRSGD's two halves: ``step`` is the device's."""

    def __init__(self, optimizer: SRSGD) -> None:
        self._optimizer = optimizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)

    @cached_property
    def _made(self) -> CapturableStep:
        return CapturableStep(self._optimizer)  # at the first step, when a checkpoint was loaded

    def advance(self) -> None:
        """The host's half."""
        self._made.advance()

    def step(self) -> None:
        """The device's half."""
        self._made.apply()
        vars(self._optimizer)["_opt_called"] = True  # else torch's schedules warn
