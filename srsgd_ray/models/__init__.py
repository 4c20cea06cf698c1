"""Networks that a config can name."""

from srsgd_ray.models.build import build_model
from srsgd_ray.models.densenet import DenseNet
from srsgd_ray.models.own import check_fit
from srsgd_ray.models.preresnet import PreResNet
from srsgd_ray.models.resnet import ResNet
from srsgd_ray.models.resnext import ResNeXt
from srsgd_ray.models.vgg import VGG, AlexNet
from srsgd_ray.models.wide_resnet import WideResNet

__all__ = [
    "VGG",
    "AlexNet",
    "DenseNet",
    "PreResNet",
    "ResNeXt",
    "ResNet",
    "WideResNet",
    "build_model",
    "check_fit",
]
