"""Every knob of one training run: default, meaning, unit, what it affects and its valid values.

A field's name is also the Tune key, the Optuna parameter and the Parquet column. The rules that
look at several knobs are in :mod:`srsgd_ray.config`. Imports neither torch nor Ray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from srsgd_ray.knobs import knob
from srsgd_ray.lr_schedules import SCHEDULES
from srsgd_ray.parts import data_sets

__all__ = ["OPTIMIZERS", "RESTART_KINDS", "SCHEDULE_FREE", "TrainKnobs"]

OPTIMIZERS: dict[str, str] = {
    "srsgd": "SGD with scheduled restart momentum",
    "nesterov_no_restart": "SRSGD's momentum k/(k+3) that never restarts",
    "adaptive_restart": "SRSGD's momentum k/(k+3), restarted by the gradient alone",
    "sgd": "SGD with heavy-ball momentum (torch.optim.SGD)",
    "sgd_nesterov": "SGD with Nesterov momentum (torch.optim.SGD)",
    "sgd_plain": "SGD without momentum (torch.optim.SGD)",
    "adam": "torch.optim.Adam",
    "adamw": "torch.optim.AdamW",
    "radam": "torch.optim.RAdam",
    "schedule_free_sgd": "schedulefree.SGDScheduleFree, at a constant learning rate",
    "schedule_free_adamw": "schedulefree.AdamWScheduleFree, at a constant learning rate",
    "muon": "pytorch_optimizer.Muon for hidden matrices, optimizer_fallback (AdamW) for the rest",
}
SCHEDULE_FREE = ("schedule_free_sgd", "schedule_free_adamw")
RESTART_KINDS = ("constant", "linear", "exponential", "explicit")
COMPILE = (
    "off", "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs", "cuda-graph",
)  # fmt: skip
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainKnobs:
    """The fields of :class:`srsgd_ray.config.TrainConfig`."""

    # fmt: off
    dataset: str = knob("digits", "data set: " + ", ".join(data_sets()) + ", or module:function",
        affects="data cost outcome")
    dataset_options: dict[str, Any] = knob({}, "keywords for the data set's function",
        affects="data cost outcome")
    data_dir: str = knob("",
        "folder of the data, or generated: small made-up data of the real layout", affects="data",
        flag="path")
    validation_fraction: float = knob(0.2, "share of the training set held out for validation",
        affects="data cost outcome", within="[0, 1)")
    split_seed: int = knob(0, "seed of the split into training and validation",
        affects="data outcome", within="[0, inf)")
    train_on: str = knob("train", "train, or train+validation (then there is no validation)",
        affects="data cost outcome", valid=("train", "train+validation"))
    evaluate_test: bool = knob(False, "evaluate the test set, once, after the last epoch",
        affects="outcome")
    test_every_epoch: bool = knob(False,
        "with evaluate_test: after every epoch, as the original did", affects="outcome")
    augment: bool = knob(True, "the data set's usual random crop (and flip, but for digits)",
        affects="outcome")
    normalisation: str = knob("dataset",
        "dataset (its own mean and deviation) or as_published (CIFAR only)",
        affects="data outcome", valid=("dataset", "as_published"))
    image_size: int = knob(224, "ImageNet: pixels a side of a crop", "pixels",
        affects="data cost outcome", within="[1, inf)")
    model: str = knob("preresnet", "network: one of config.MODELS, or module:name",
        affects="cost outcome")
    model_options: dict[str, Any] = knob({}, "keywords for the network's function or class",
        affects="cost outcome")
    depth: int = knob(8, "number of layers, of networks for small images", affects="cost outcome")
    block: str = knob("basic", "residual or dense block: basic or bottleneck",
        affects="cost outcome", valid=("basic", "bottleneck"))
    width: int = knob(16, "channels of the first stage, of preresnet and resnet", "channels",
        affects="cost outcome", within="[1, inf)")
    widen_factor: int = knob(4, "width of wide_resnet and resnext, as a factor",
        affects="cost outcome", within="[1, inf)")
    cardinality: int = knob(8, "groups of resnext's convolutions", "groups",
        affects="cost outcome", within="[1, inf)")
    growth_rate: int = knob(12, "channels that a layer of densenet adds", "channels",
        affects="cost outcome", within="[1, inf)")
    compression: float = knob(2.0, "densenet: channels before over after a transition",
        affects="cost outcome", within="[1, inf)")
    dropout: float = knob(0.0, "share of activations dropped, of wide_resnet and densenet",
        affects="outcome", within="[0, 1)")
    sync_batch_norm: bool = knob(False,
        "batch statistics over all workers (GPUs only) instead of each worker's own", flag="value",
        affects="outcome")
    optimizer: str = knob("srsgd", "optimizer: " + ", ".join(OPTIMIZERS) + ", or module:Class",
        affects="outcome")
    optimizer_options: dict[str, Any] = knob({}, "keywords for the optimizer's class",
        affects="outcome")
    optimizer_fallback: str = knob("",
        "optimizer of those parameters that optimizer refuses, such as adamw; empty: an error",
        affects="outcome")
    sam_rho: float = knob(0.0,
        "radius of sharpness-aware minimization (SAM) around the optimizer; 0: none",
        affects="cost outcome", within="[0, inf)")
    fallback_lr: float = knob(0.0, "learning rate of optimizer_fallback; 0: the same as lr",
        affects="outcome", within="[0, inf)")
    lr: float = knob(0.1, "learning rate of the first stage", affects="outcome", within="(0, inf)")
    effective_lr: float = knob(0.0,
        "if not 0, sets lr: mean step of the first stage on a constant gradient of 1",
        affects="outcome", within="[0, inf)")
    lr_milestones: tuple[int, ...] = knob((),
        "epochs (0-based) before which the learning rate is multiplied by lr_gamma", "epochs",
        affects="outcome")
    lr_gamma: float = knob(0.1, "factor of the learning rate at each milestone", affects="outcome",
        within="(0, inf)")
    lr_schedule: str = knob("steps",
        "schedule of lr: " + ", ".join(SCHEDULES) + ", or module:function", affects="outcome")
    lr_schedule_options: dict[str, Any] = knob({}, "keywords for the schedule's function",
        affects="outcome")
    warmup_epochs: float = knob(0.0,
        "linear warm-up of the learning rate before its schedule; 0: none", "epochs",
        affects="outcome", within="[0, inf)")
    weight_decay: float = knob(5e-4, "L2 penalty added to the gradient (AdamW: decoupled)",
        affects="outcome", within="[0, inf)")
    momentum: float = knob(0.9, "momentum of sgd, sgd_nesterov and schedule_free_sgd",
        affects="outcome", within="[0, 1)")
    beta1: float = knob(0.9, "first moment decay of the Adam family", affects="outcome",
        within="[0, 1)")
    beta2: float = knob(0.999, "second moment decay of the Adam family", affects="outcome",
        within="[0, 1)")
    restart_kind: str = knob("linear", "restart schedule: " + ", ".join(RESTART_KINDS),
        affects="outcome")
    restart_f1: float = knob(30.0, "restart frequency F1 of the first stage", "steps",
        affects="outcome", within="[1, inf)")
    restart_growth: float = knob(2.0, "growth r of the restart frequency from stage to stage",
        affects="outcome", within="(0, inf)")
    restart_list: tuple[float, ...] = knob((),
        "restart frequency of each stage, for restart_kind=explicit", "steps", affects="outcome")
    restart_milestones: tuple[int, ...] = knob((),
        "epochs at which a stage of the restarts begins; empty: where one of lr_schedule does",
        "epochs", affects="outcome")
    restart_decay: bool = knob(False, "decay the last stage's frequency to 1 (ImageNet recipe)",
        affects="outcome")
    restart_convention: str = knob("exact",
        "exact (F steps between restarts) or as_published (F - 1, buffer dropped, ...)",
        affects="outcome", valid=("exact", "as_published"))
    restart_buffer: str = knob("keep", "momentum buffer at a milestone: keep or drop",
        affects="outcome", valid=("keep", "drop"))
    restart_count: str = knob("reset", "step count at a milestone: reset or carry",
        affects="outcome", valid=("reset", "carry"))
    epochs: int = knob(12, "passes over the training set", "epochs", affects="outcome",
        within="[1, inf)")
    batch_size: int = knob(128, "images a step, over all workers together", "images",
        affects="cost outcome", within="[1, inf)")
    accumulate: int = knob(1,
        "micro-batches that a worker makes of its part of a step's images; 1: none",
        "micro-batches", affects="cost outcome", within="[1, inf)")
    label_smoothing: float = knob(0.0,
        "share of each label that is spread over all classes; train_loss includes it",
        affects="outcome", within="[0, 1)")
    clip_grad_norm: float = knob(0.0,
        "largest norm of the gradient, which is scaled down to it; 0: no limit", affects="outcome",
        within="[0, inf)")
    seed: int = knob(0, "seed of initialisation, data order and augmentation", affects="outcome",
        within="[0, inf)")
    device: str = knob("auto", "auto, cpu, cuda or cuda:N", affects="cost")
    precision: str = knob("auto", "auto (bfloat16 on a GPU that has it), " + ", ".join(PRECISIONS),
        affects="cost outcome", valid=PRECISIONS)
    channels_last: str = knob("where_faster", "memory format: where_faster (on for a GPU, and on "
        "a CPU for networks known to gain), auto (on for a GPU only), on or off",
        affects="outcome", valid=("where_faster", "auto", "on", "off"), before="auto")
    compile: str = knob("off", "torch.compile of a step's forward and backward pass: off, or its "
        "mode (reduce-overhead and max-autotune are CUDA graphs); or cuda-graph, no compiler: one "
        "CUDA graph of a whole step, SRSGD's update included", affects="cost outcome",
        valid=COMPILE)
    static_graph: bool = knob(False,
        "tell DDP that every step uses the same parameters in the same order", affects="cost")
    deterministic: bool = knob(False, "only deterministic kernels, on a GPU slower",
        affects="outcome")
    decode_threads: int = knob(0,
        "ImageNet: threads that decode images, a worker; 0: as many as it has CPUs", "threads",
        affects="data", within="[0, inf)")
    bad_images: str = knob("stop",
        "ImageNet: at an unreadable image stop, or skip it and count it", affects="data",
        flag="value", valid=("stop", "skip"))
    checkpoint_steps: int = knob(0,
        "steps between checkpoints within an epoch; 0: after each epoch only", "steps", affects="",
        flag="value", within="[0, inf)")
    threads: int = knob(0, "CPU threads of a worker; 0: as many as it was given", "threads",
        affects="", within="[0, inf)")
    # fmt: on
