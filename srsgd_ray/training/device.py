"""Device, memory format, number format and kernels of a run, as its config asks for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from srsgd_ray.config import TrainConfig

# Networks that train faster in channels_last on a CPU, and where torchvision has others: all that
# have shortcuts. VGG and AlexNet gain nothing that is sure, and a user's own may ask for a view of
# its maps, which there is none of in channels_last.
GAIN = {
    "preresnet", "resnet", "wide_resnet", "resnext", "densenet",
    "torchvision.models.resnet", "torchvision.models.densenet",
}  # fmt: skip
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(config: TrainConfig) -> torch.device:
    """The device of this process: the config's, or this worker's GPU, or the CPU.

    Raises:
        ValueError: if the config asks for a GPU that this process does not see.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.device == "auto":
        if not gpus:
            return torch.device("cpu")
        # torchrun shows all GPUs to all processes. (Ray's workers name their device.)
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return torch.device("cuda", local if local < gpus else 0)
    try:
        device = torch.device(config.device)
    except RuntimeError as error:
        raise ValueError(
            f"device must be auto, cpu, cuda or cuda:N, but got {config.device!r}."
        ) from error
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise ValueError(
            f"device={config.device!r} needs GPU {device.index or 0}, but this process sees "
            f"{gpus} GPUs. Use device='auto' or 'cpu'."
        )
    return device


def memory_format(
    config: TrainConfig, device: torch.device, model: nn.Module
) -> torch.memory_format:
    """``channels_last`` where asked for, or where it is faster, as ``config.channels_last`` says.

    torch 2.15's backward pass of a strided 1x1 convolution with fewer than 8 inputs, in
    channels_last on a CPU, writes beyond its memory and aborts the process (seen alone, without
    anything of this package, on one CPU model).

    Raises:
        ValueError: if it is on, on a CPU, for a network with such a convolution.
    """
    wanted, gpu = config.channels_last, device.type == "cuda"
    aborts = "" if gpu or wanted in ("off", "auto") else _aborting(model)
    if aborts and wanted == "on":
        raise ValueError(
            f"channels_last='on' on a CPU needs at least 8 inputs of each strided 1x1 "
            f"convolution (torch aborts otherwise), but {aborts}. Use "
            f"channels_last='off', or a wider network."
        )
    gains = config.model in GAIN or type(model).__module__ in GAIN
    faster = gpu or (wanted == "where_faster" and gains and not aborts)
    on = wanted == "on" or (wanted != "off" and faster)
    return torch.channels_last if on else torch.contiguous_format


def _aborting(model: nn.Module) -> str:
    """A convolution that torch cannot train in channels_last on a CPU, in words; "" if none."""
    for name, part in model.named_modules():
        if (
            isinstance(part, nn.Conv2d)
            and part.kernel_size == (1, 1)
            and max(part.stride) > 1
            and part.in_channels < 8
        ):
            return f"{name} has {part.in_channels}"
    return ""


class Precision:
    """Number format of forward and backward pass, and the loss scaling that float16 needs."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        name = config.precision
        if name == "auto":
            gpu = device.type == "cuda" and torch.cuda.is_bf16_supported()
            name = "bfloat16" if gpu else "float32"
        self.device, self.dtype = device, DTYPES[name]
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "float16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Context of the forward pass."""
        enabled = self.dtype is not torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled)

    def backward(self, loss: torch.Tensor, weight: torch.Tensor) -> None:
        """Backward pass of ``weight`` times the loss; both have one element."""
        self.scaler.scale(loss).backward(weight)  # type: ignore[no-untyped-call]

    def step(self, optimizer: torch.optim.Optimizer, clip_norm: float = 0.0) -> None:
        """Optimizer step; float16 skips steps whose gradients overflow.

        Args:
            optimizer: of the parameters.
            clip_norm: if not 0, the gradient of all parameters together is scaled to this norm
                where it is longer.
        """
        if clip_norm:
            self.scaler.unscale_(optimizer)
            params = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(params, clip_norm)
        self.scaler.step(optimizer)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """State of the loss scaling (empty unless float16)."""
        return dict(self.scaler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        if state:
            self.scaler.load_state_dict(state)


def threads_of(config: TrainConfig) -> int:
    """The config's threads, or what the launcher of this process gave it, or all its CPUs."""
    given = config.threads or int(os.environ.get("OMP_NUM_THREADS", "0"))
    peers = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return given or max(1, len(os.sched_getaffinity(0)) // peers)


@contextmanager
def kernels(config: TrainConfig) -> Iterator[None]:
    """Threads and choice of kernels for the length of a run; put back as they were after it."""
    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn
    benchmark = cudnn.benchmark
    torch.set_num_threads(threads_of(config))
    if config.deterministic:
        # cuBLAS reads this when it starts; without it deterministic matrix products raise.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    cudnn.benchmark = not config.deterministic
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)
        cudnn.benchmark = benchmark
