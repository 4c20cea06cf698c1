"""The paper's experiments as studies: its tables and its ablations, without a search.

Numbers are those of the published recipes (``srsgd_ray.paper``, which a test holds these
against), or inferred where these do not say, as the docs list. Every arm is one published
configuration; its runs are trained on all training images, over several seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from srsgd_ray.study.spec import Arm, Study

__all__ = [
    "PROTOCOLS",
    "epoch_reduction",
    "f1_ablation",
    "intermediate_reduction",
    "short_cifar",
    "short_imagenet",
    "table_cifar",
    "table_imagenet",
]

PROTOCOLS: dict[str, dict[str, Any]] = {
    # What the published numbers came from: see docs/paper.md for each difference.
    "as_published": {
        "restart_convention": "as_published",
        "normalisation": "as_published",
        "test_every_epoch": True,
        "precision": "float32",
    },
    "corrected": {},
}
CIFAR_DEPTHS = (110, 290, 470, 650, 1001)
IMAGENET_DEPTHS = (50, 101, 152, 200)
SCHEDULES: dict[str, dict[str, dict[str, Any]]] = {
    "cifar10": {
        "linear": {"restart_kind": "linear", "restart_f1": 30, "restart_growth": 2},
        "exponential": {"restart_kind": "exponential", "restart_f1": 40, "restart_growth": 1.25},
    },
    "cifar100": {
        "linear": {"restart_kind": "linear", "restart_f1": 50, "restart_growth": 2},
        "exponential": {"restart_kind": "exponential", "restart_f1": 45, "restart_growth": 1.5},
    },
}
CIFAR = {
    "model": "preresnet",
    "block": "bottleneck",
    "lr": 0.1,
    "lr_gamma": 0.1,
    "weight_decay": 5e-4,
    "batch_size": 128,
    "data_dir": "data",
}
IMAGENET = {
    "dataset": "imagenet",
    "lr": 0.1,
    "lr_gamma": 0.1,
    "weight_decay": 1e-4,
    "batch_size": 256,
    "data_dir": "data/imagenet",
}
# Epochs and milestones of the short recipes; those of other lengths are inferred from these.
SHORT_IMAGENET = {50: (80, 51), 101: (80, 56), 152: (75, 51), 200: (60, 46)}
F1_VALUES = {
    "cifar10": (1, 5, 10, 20, 30, 40, 50, 60, 70, 80),
    "cifar100": (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90),
    "imagenet": (1, 5, 20, 40, 60, 80, 100, 200, 300),
}


def table_cifar(dataset: str, name: str) -> Study:
    """Table 1 or 2: five depths, both restart schedules and SGD, 200 epochs."""
    arms = []
    for depth in CIFAR_DEPTHS:
        for schedule in SCHEDULES[dataset]:
            arms.append(_cifar_srsgd(dataset, depth, schedule, f"srsgd_{depth}_{schedule}"))
        arms.append(_sgd(dataset, depth, f"sgd_{depth}"))
    return _study(name, f"SRSGD against SGD on {_title(dataset)}, by depth?", arms, CIFAR, 200)


def table_imagenet(name: str) -> Study:
    """Table 3: four depths, SRSGD and SGD, 90 epochs."""
    arms = []
    for depth in IMAGENET_DEPTHS:
        arms.append(_imagenet_srsgd(depth, f"srsgd_{depth}"))
        arms.append(_sgd("imagenet", depth, f"sgd_{depth}"))
    return _study(name, "SRSGD against SGD on ImageNet, by depth?", arms, IMAGENET, 90)


def short_cifar(name: str) -> Study:
    """Table 4: 100 epochs on CIFAR-10 and CIFAR-100, SRSGD with the linear schedule."""
    more = {"epochs": 100, "lr_milestones": (80, 90, 95)}
    arms = [
        _cifar_srsgd(dataset, depth, "linear", f"srsgd_{dataset}_{depth}", "", more)
        for dataset in SCHEDULES
        for depth in CIFAR_DEPTHS
    ]
    return _study(name, "How good is SRSGD on CIFAR in half the epochs?", arms, CIFAR, 100)


def short_imagenet(name: str) -> Study:
    """Table 5: 60 to 80 epochs on ImageNet, SRSGD."""
    arms = [
        _imagenet_srsgd(depth, f"srsgd_{depth}", "", epochs, (31, last))
        for depth, (epochs, last) in SHORT_IMAGENET.items()
    ]
    return _study(name, "How good is SRSGD on ImageNet in fewer epochs?", arms, IMAGENET, 80)


def f1_ablation(dataset: str, name: str) -> Study:
    """The F1 ablation: PreResNet-290 (CIFAR) or ResNet-101; growth r = 2 is inferred."""
    arms = []
    for f1 in F1_VALUES[dataset]:
        labels = {"f1": str(f1)}
        if dataset == "imagenet":
            restarts = {"restart_list": (f1, 2 * f1, 2 * f1)}
            arm = _imagenet_srsgd(101, f"srsgd_f{f1}", "srsgd_f40", more=restarts, labels=labels)
        else:
            best = SCHEDULES[dataset]["linear"]["restart_f1"]
            arm = _cifar_srsgd(
                dataset, 290, "linear", f"srsgd_f{f1}", f"srsgd_f{best}", {"restart_f1": f1}, labels
            )
        arms.append(arm)
    base, epochs = (IMAGENET, 90) if dataset == "imagenet" else (CIFAR, 200)
    return _study(name, f"Which F1 is best on {_title(dataset)}?", arms, base, epochs)


def epoch_reduction(datasets: Iterable[str], name: str) -> Study:
    """Error against epochs fewer: 200 less 0 to 90 (CIFAR), 90 less 0 to 30 (ImageNet).

    Milestones are inferred where no recipe has them: CIFAR 80, 120 - x/3, 160 - 2x/3 for x epochs
    fewer; ImageNet 31, 61 - x/2, rounded down.
    """
    arms = []
    for dataset in datasets:
        cuts = range(0, 31, 5) if dataset == "imagenet" else range(0, 91, 15)
        for depth in IMAGENET_DEPTHS if dataset == "imagenet" else CIFAR_DEPTHS:
            for cut in cuts:
                if dataset == "imagenet" and cut == 5:
                    continue
                arms.append(_fewer(dataset, depth, cut, *_shortened(dataset, depth, cut)))
            arms.append(_sgd(dataset, depth, f"sgd_{dataset}_{depth}", {"fewer": "0"}))
    return _reduction(name, "How many epochs can SRSGD save?", datasets, arms)


def intermediate_reduction(datasets: Iterable[str], name: str) -> Study:
    """Error against epochs fewer at each intermediate learning rate, at full length."""
    arms = []
    for dataset in datasets:
        cuts = range(0, 21, 5) if dataset == "imagenet" else range(0, 31, 5)
        for depth in IMAGENET_DEPTHS if dataset == "imagenet" else CIFAR_DEPTHS:
            for cut in cuts:
                full = (90, (31, 61 - cut)) if dataset == "imagenet" else _late(cut)
                arms.append(_fewer(dataset, depth, cut, *full))
            arms.append(_sgd(dataset, depth, f"sgd_{dataset}_{depth}", {"fewer": "0"}))
    return _reduction(name, "Can SRSGD drop its learning rate earlier?", datasets, arms)


def _late(cut: int) -> tuple[int, tuple[int, ...]]:
    return 200, (80, 120 - cut, 160 - 2 * cut)


def _shortened(dataset: str, depth: int, cut: int) -> tuple[int, tuple[int, ...]]:
    if dataset != "imagenet":
        return 200 - cut, (80, 120 - cut // 3, 160 - 2 * cut // 3)
    epochs, last = SHORT_IMAGENET[depth]
    return 90 - cut, (31, last if 90 - cut == epochs else 61 - (cut + 1) // 2)


def _fewer(dataset: str, depth: int, cut: int, epochs: int, milestones: tuple[int, ...]) -> Arm:
    name, rival = f"srsgd_{dataset}_{depth}_less{cut}", f"sgd_{dataset}_{depth}"
    labels = {"fewer": str(cut)}
    if dataset == "imagenet":
        return _imagenet_srsgd(depth, name, rival, epochs, milestones, labels=labels)
    more = {"epochs": epochs, "lr_milestones": milestones}
    return _cifar_srsgd(dataset, depth, "linear", name, rival, more, labels)


def _reduction(name: str, question: str, datasets: Iterable[str], arms: list[Arm]) -> Study:
    base, epochs = (IMAGENET, 90) if "imagenet" in set(datasets) else (CIFAR, 200)
    return _study(name, question, arms, base, epochs)


def _cifar_srsgd(
    dataset: str,
    depth: int,
    schedule: str,
    name: str,
    against: str | None = None,
    more: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Arm:
    fixed = {
        "dataset": dataset,
        "depth": depth,
        "optimizer": "srsgd",
        "lr_milestones": (80, 120, 160),
        **SCHEDULES[dataset][schedule],
        **(more or {}),
    }
    named = {"dataset": dataset, "depth": str(depth), "optimizer": "srsgd", "schedule": schedule}
    rival = f"sgd_{depth}" if against is None else against
    return Arm(name, fixed=fixed, against=rival, labels={**named, **(labels or {})},
               workers=_gpus(dataset, depth))  # fmt: skip


def _imagenet_srsgd(
    depth: int,
    name: str,
    against: str | None = None,
    epochs: int = 90,
    milestones: tuple[int, ...] = (31, 61),
    more: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Arm:
    fixed = {
        "model": f"imagenet_resnet{depth}",
        "depth": depth,
        "optimizer": "srsgd",
        "epochs": epochs,
        "lr_milestones": milestones,
        "restart_kind": "explicit",
        "restart_list": (40, 80, 80),
        "restart_decay": True,
        **(more or {}),
    }
    fixed["restart_f1"] = fixed["restart_list"][0]
    named = {
        "dataset": "imagenet", "depth": str(depth), "optimizer": "srsgd", "schedule": "linear",
    }  # fmt: skip
    rival = f"sgd_{depth}" if against is None else against
    return Arm(name, fixed=fixed, against=rival, labels={**named, **(labels or {})},
               workers=_gpus("imagenet", depth))  # fmt: skip


def _sgd(dataset: str, depth: int, name: str, labels: Mapping[str, str] | None = None) -> Arm:
    net: dict[str, Any] = {"dataset": dataset, "depth": depth}
    drops: tuple[int, ...] = (80, 120, 160)
    if dataset == "imagenet":
        net, drops = {**net, "model": f"imagenet_resnet{depth}"}, (31, 61)
    fixed = {**net, "optimizer": "sgd", "momentum": 0.9, "lr_milestones": drops}
    named = {"dataset": dataset, "depth": str(depth), "optimizer": "sgd"}
    return Arm(name, fixed=fixed, against="", labels={**named, **(labels or {})},
               workers=_gpus(dataset, depth))  # fmt: skip


def _gpus(dataset: str, depth: int) -> int:
    if dataset == "imagenet":
        return 8
    return 4 if depth == 1001 else 1


def _title(dataset: str) -> str:
    return {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}[dataset]


def _study(
    name: str, question: str, arms: list[Arm], base: Mapping[str, Any], epochs: int
) -> Study:
    return Study(
        name=name,
        question=question,
        arms=tuple(arms),
        baseline="",
        base=base,
        epochs=epochs,
        trials=0,
        confirm_seeds=5,
        confirm_on="train+validation",
        protocols=PROTOCOLS,
        protocol="as_published",
    )
