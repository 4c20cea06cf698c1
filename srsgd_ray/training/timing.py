"""How long an epoch takes here: a few steps on made-up images, and the rest by arithmetic."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import BatchFormat, Dataset, image_shape, load_dataset
from srsgd_ray.models import build_model, materialise
from srsgd_ray.optim import build_optimizer
from srsgd_ray.optim.together import set_mode
from srsgd_ray.parts import data_sets
from srsgd_ray.training.device import Precision, choose_device, kernels, memory_format
from srsgd_ray.training.evaluation import MOST_BATCHES
from srsgd_ray.training.graphed import make_step

MOST_STEPS = 20


class UnknownSizeError(ValueError):
    """A data set that does not tell what its images are like."""


@dataclass(frozen=True)
class Timing:
    """Seconds of an epoch of a config on one worker's device.

    Attributes:
        epoch: training and evaluation of one epoch, without reading images from files, without
            the exchange of gradients between workers, and without the test set.
        test: one evaluation of the test set.
    """

    epoch: float
    test: float


def measure(config: TrainConfig, workers: int = 1, limit: float = 4.0) -> Timing:
    """Time training steps and an evaluation of ``config`` on this process's device.

    Args:
        config: the run; its data are not read, but for a data set of the user's own.
        workers: processes of a trial: each has its share of the global batch.
        limit: seconds after which no further step is begun; one is always timed.
    """
    shape, classes, train_images, held, test_images = _sizes(config)
    batch = -(-config.batch_size // workers)
    with kernels(config), torch.random.fork_rng(_gpus()):
        device = choose_device(config)
        precision = Precision(config, device)
        model = build_model(config, channels=shape[0], classes=classes)
        materialise(model, shape, config.seed)
        layout = memory_format(config, device, model)
        model = model.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        optimizer = build_optimizer(model.named_parameters(), config, 10)
        step_once = make_step(config, model, optimizer, precision)
        set_mode(optimizer, training=True)
        images = torch.randn(batch, *shape, device=device)
        images = images.to(memory_format=layout)
        labels = torch.randint(classes, (batch,), device=device)
        if step_once.compiled:
            step_once(images, labels, 1 / batch)
        began = time.perf_counter()
        took: list[float] = []
        while not took or (time.perf_counter() - began < limit and len(took) <= MOST_STEPS):
            at = time.perf_counter()
            step_once(images, labels, 1 / batch)
            _wait(device)
            took.append(time.perf_counter() - at)
        # The first step also makes buffers and chooses kernels.
        step = statistics.median(took[1:] or took)
        # Some forward passes more if batch norm's statistics are renewed before an evaluation.
        renewed = MOST_BATCHES if set_mode(optimizer, training=False) else 0
        model.eval()
        passes: list[float] = []
        for _ in range(1 if step > limit else 3):
            at = time.perf_counter()
            with torch.no_grad(), precision.autocast():
                model(images)
            _wait(device)
            passes.append(time.perf_counter() - at)
        each = statistics.median(passes[1:] or passes) / batch
    step_once.close(model)
    steps = -(-train_images // config.batch_size)
    share = each / workers
    again = share * config.batch_size * min(renewed, steps)
    return Timing(steps * step + again + share * held, share * test_images)


def _sizes(config: TrainConfig) -> tuple[tuple[int, int, int], int, int, int, int]:
    """(C, H, W) and classes; images to train on, held out, and to test on."""
    found = data_sets().get(config.dataset)
    if found is not None:
        size = found.pixels or config.image_size
        held = round(config.validation_fraction * found.train) if config.train_on == "train" else 0
        return (found.channels, size, size), found.classes, found.train - held, held, found.test
    data = load_dataset(config)
    shape = image_shape(data)
    if shape is None:
        raise UnknownSizeError(
            f"the time of an epoch needs the images' size, but dataset={config.dataset!r} has no "
            f"image_size. Give it one, in pixels a side."
        )
    if isinstance(data, Dataset):
        held = 0 if data.validation_labels is None else len(data.validation_labels)
        return shape, data.classes, len(data.train_labels), held, len(data.test_labels)
    device = BatchFormat(torch.device("cpu"))
    steps = data.train_batches(config, device).steps_per_epoch(config.batch_size)
    return shape, data.classes, steps * config.batch_size, 0, 0


def _gpus() -> list[int]:
    return [torch.cuda.current_device()] if torch.cuda.is_available() else []


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
