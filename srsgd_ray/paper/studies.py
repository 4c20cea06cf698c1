"""The paper's experiments as studies, without a search: each arm is made from a published cell.

An arm's runs are trained on all training images, over several seeds. What the recipes do not say
is inferred, as docs/paper.md lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from srsgd_ray.knobs import one_of
from srsgd_ray.paper.cells import AS_PUBLISHED, FULL, SETS, Cell, cells
from srsgd_ray.study import Arm, Study

PROTOCOLS: dict[str, dict[str, Any]] = {"as_published": AS_PUBLISHED, "corrected": {}}
SHARED = ("lr", "lr_gamma", "weight_decay", "batch_size")  # knobs that all arms have in common
BASE = {
    "cifar": (("model", "block", *SHARED), "data"),
    "imagenet": (("dataset", *SHARED), "data/imagenet"),
}


@dataclass(frozen=True)
class Plan:
    """How the cells of published ``tables`` become the arms of a study.

    ``epochs`` are of arms without their own. ``srsgd`` is the name of an arm of SRSGD, as a format
    of the fields of its cell, and ``rival`` that of the arm it is compared with ("" for none).
    ``label`` is what a cell's x is called on the command line ("" if it has none).
    """

    question: str
    tables: tuple[str, ...]
    epochs: int
    srsgd: str
    rival: str = ""
    label: str = ""


EACH_LESS = "srsgd_{dataset}_{depth}_less{x:g}", "sgd_{dataset}_{depth}", "fewer"
SAVED = "How many epochs can SRSGD save?"
EARLIER = "Can SRSGD drop its learning rate earlier?"
TWO = ("cifar10", "cifar100")
# By the name of the study, which is also that of its script.
PLANS: dict[str, Plan] = {
    **{
        f"table{n}_{data}": Plan(
            f"SRSGD against SGD on {SETS[data]}, by depth?", (f"table{n}",), 200,
            "srsgd_{depth}_{restart_kind}", "sgd_{depth}",
        )
        for n, data in enumerate(TWO, 1)
    },
    "table3_imagenet": Plan(
        "SRSGD against SGD on ImageNet, by depth?", ("table3",), 90, "srsgd_{depth}", "sgd_{depth}"
    ),
    "table4_short_cifar": Plan(
        "How good is SRSGD on CIFAR in half the epochs?", ("table4",), 100,
        "srsgd_{dataset}_{depth}",
    ),
    "table5_short_imagenet": Plan(
        "How good is SRSGD on ImageNet in fewer epochs?", ("table5",), 80, "srsgd_{depth}"
    ),
    **{
        f"f1_{data}": Plan(
            f"Which F1 is best on {SETS[data]}?", (f"f1-{data}",), epochs, "srsgd_f{x:g}",
            f"srsgd_f{best}", "f1",
        )
        for data, epochs, best in (("cifar10", 200, 30), ("cifar100", 200, 50),
                                   ("imagenet", 90, 40))
    },
    "epochs_cifar": Plan(SAVED, tuple(f"epochs-{data}" for data in TWO), 200, *EACH_LESS),
    "epochs_imagenet": Plan(SAVED, ("epochs-imagenet",), 90, *EACH_LESS),
    "intermediate_cifar": Plan(
        EARLIER, tuple(f"intermediate-{data}" for data in TWO), 200, *EACH_LESS
    ),
    "intermediate_imagenet": Plan(EARLIER, ("intermediate-imagenet",), 90, *EACH_LESS),
}  # fmt: skip


def paper_study(name: str) -> Study:
    """A study of the paper, such as ``table1_cifar10``.

    Raises:
        UnknownNameError: unless ``name`` is a key of ``PLANS``.
    """
    one_of("study of the paper", name, PLANS)
    plan = PLANS[name]
    published = [cell for table in plan.tables for cell in cells(table)]
    if plan.label == "fewer":  # SGD at full length stands in the tables
        whole = (cell for table in plan.tables for cell in cells(FULL[table.split("-")[1]]))
        published += [cell for cell in whole if cell.optimizer == "sgd"]
    schedules = ["linear", "exponential", ""]
    published.sort(key=lambda c: (c.dataset, c.depth, schedules.index(c.restart_kind), c.x or 0))
    shared, folder = BASE["imagenet" if published[0].dataset == "imagenet" else "cifar"]
    first = published[0].knobs()
    return Study(
        name=name,
        question=plan.question,
        arms=tuple(_arm(cell, plan, shared) for cell in published),
        base={**{knob: first[knob] for knob in shared}, "data_dir": folder},
        epochs=plan.epochs,
        trials=0,
        confirm_seeds=5,
        confirm_on="train+validation",
        protocols=PROTOCOLS,
        protocol="as_published",
    )


def _arm(cell: Cell, plan: Plan, shared: tuple[str, ...]) -> Arm:
    srsgd = cell.optimizer == "srsgd"
    words = vars(cell)
    rival = plan.rival.format(**words)
    fixed = {knob: value for knob, value in cell.knobs().items() if knob not in shared}
    # Which knobs an arm fixes stays as it was: a study that is resumed is compared in them.
    if not srsgd:
        fixed["dataset"] = cell.dataset
    if not srsgd or (plan.rival and plan.label != "fewer" and not cell.restart_decay):
        del fixed["epochs"]
    labels = {"dataset": cell.dataset, "depth": str(cell.depth), "optimizer": cell.optimizer}
    if srsgd:
        labels["schedule"] = cell.restart_kind
    if plan.label:
        labels[plan.label] = f"{cell.x or 0:g}"
    return Arm(
        plan.srsgd.format(**words) if srsgd else rival,
        fixed=fixed,
        against=rival if srsgd else "",
        labels=labels,
        workers=cell.gpus,
    )
