"""What is checked before a run begins, beyond the rules that a config can check by itself."""

from __future__ import annotations

from torch import nn

from srsgd_ray.config import OPTIMIZERS, SCHEDULE_FREE, TrainConfig
from srsgd_ray.data import Data, image_shape, load_dataset
from srsgd_ray.lr_schedules import SCHEDULES
from srsgd_ray.models import build_model, check_fit, materialise
from srsgd_ray.optim import build_lr_schedule, build_optimizer
from srsgd_ray.optim.sam import Sam
from srsgd_ray.parts import data_sets, networks

ALWAYS_THERE = set(OPTIMIZERS) - {"muon", *SCHEDULE_FREE}  # and they take any network


def check_parts(config: TrainConfig) -> None:
    """Read the data set; build network, optimizer and schedule that are not of this package.

    Raises:
        ValueError: for whatever would end a run of ``config`` at its start.
    """
    images = data_sets().get(config.dataset)
    own = (
        _may_not_fit(config)
        or config.optimizer not in ALWAYS_THERE
        or config.sam_rho > 0
        or config.lr_schedule not in SCHEDULES
        or config.optimizer_options
    )
    if images is not None and not images.files and not own:
        return
    data = load_dataset(config)
    if not own:
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
    if shape is not None and _may_not_fit(config):
        materialise(model, shape, config.seed)
        check_fit(model, config.model, shape, data.classes, config.dataset)
    return model


def _may_not_fit(config: TrainConfig) -> bool:
    """Whether no rule says that the network takes the images, so that it has to be tried."""
    network, images = networks().get(config.model), data_sets().get(config.dataset)
    if network is None or images is None:
        return True
    return not network.small and images.pixels > 0


def check_share_of_batch(config: TrainConfig, workers: int) -> None:
    """Raise ValueError unless each worker can have an image of each batch."""
    if config.batch_size < workers:
        raise ValueError(
            f"batch_size >= workers must hold, but got batch_size={config.batch_size} "
            f"with {workers} workers."
        )
