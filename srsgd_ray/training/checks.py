"""What is checked before a run begins, beyond the rules that a config can check by itself."""

from __future__ import annotations

from torch import nn

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import Data, image_shape, load_dataset
from srsgd_ray.models import build_model, check_fit, materialise
from srsgd_ray.optim import build_lr_schedule, build_optimizer
from srsgd_ray.optim.sam import Sam


def check_parts(config: TrainConfig) -> None:
    """Read the data set; build network, optimizer and schedule that are not of this package.

    Raises:
        ValueError: for whatever would end a run of ``config`` at its start.
    """
    data = load_dataset(config)
    if not config.has_parts_to_try():
        return
    model = fitting_model(config, data)
    optimizer = build_optimizer(model.named_parameters(), config, 10)
    build_lr_schedule(optimizer, config, 10)
    if config.sam_rho:
        Sam(model, config.sam_rho)


def fitting_model(config: TrainConfig, data: Data) -> nn.Module:
    """The network of ``config`` for the images of ``data``; ValueError if it does not take them."""
    model = build_model(config, channels=data.channels, classes=data.classes)
    shape = image_shape(data)
    if shape is not None and config.may_not_fit():
        materialise(model, shape, config.seed)
        check_fit(model, config.model, shape, data.classes, config.dataset)
    return model


def check_share_of_batch(config: TrainConfig, workers: int) -> None:
    """Raise ValueError unless each worker can have an image of each batch."""
    if config.batch_size < workers:
        raise ValueError(
            f"batch_size >= workers must hold, but got batch_size={config.batch_size} "
            f"with {workers} workers."
        )
