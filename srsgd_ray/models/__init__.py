"""Networks that a config can name."""

from srsgd_ray.models.preresnet import PreResNet, build_model

__all__ = ["PreResNet", "build_model"]
