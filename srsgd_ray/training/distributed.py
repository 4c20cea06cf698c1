"""The process group, if there is one: who am I, and sums over all ranks.

Only ``torch.distributed`` is asked, so a plain run, torchrun and a Ray worker look the same.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def _active() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank_and_size() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if _active() else (0, 1)


def parallel(
    model: nn.Module,
    device: torch.device,
    sync_batch_norm: bool = False,
    static_graph: bool = False,
) -> nn.Module:
    """Wrap ``model`` in DistributedDataParallel if there is more than one process.

    Args:
        model: the network, on ``device``.
        device: of this process.
        sync_batch_norm: batch statistics over all processes instead of each process's own; without
            a second process both are the same.
        static_graph: promise DDP that each step uses the same parameters in the same order.

    Raises:
        ValueError: for ``sync_batch_norm`` on a CPU, where torch has none.
    """
    if rank_and_size()[1] == 1:
        return model
    if sync_batch_norm:
        if device.type != "cuda":
            raise ValueError(
                f"sync_batch_norm=True needs GPUs, but this worker has device={str(device)!r}. "
                f"Use sync_batch_norm=False, or one worker."
            )
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,  # no copy of the gradients after they are exchanged
        static_graph=static_graph,
    )


def total(values: torch.Tensor) -> torch.Tensor:
    """Sum of ``values`` over the ranks, in place; every rank must call it."""
    if rank_and_size()[1] > 1:
        dist.all_reduce(values)
    return values


def minimum(value: int, device: torch.device) -> int:
    """Smallest of ``value`` over the ranks; every rank must call it."""
    if rank_and_size()[1] == 1:
        return value
    values = torch.tensor(value, device=device)
    dist.all_reduce(values, op=dist.ReduceOp.MIN)
    return int(values.item())
