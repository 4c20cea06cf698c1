"""A model, data and loop that srsgd_ray has never heard of: SRSGD against AdamW, by AUC."""

import sys
from dataclasses import dataclass

import torch
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from torch.nn.parallel import DistributedDataParallel

from srsgd_ray import SRSGD, Arm, Metric, Study, as_trainable, knob, launch


@dataclass(frozen=True)
class Config:
    hidden: int = knob(16, "units of the hidden layer")
    optimizer: str = knob("srsgd", "srsgd or adamw")
    lr: float = knob(0.1, "learning rate")
    restart: int = knob(30, "steps between two restarts", "steps")
    batch_size: int = knob(32, "rows a step, over all workers")
    epochs: int = knob(20, "passes over the training rows", "epochs")


def load():
    """Standardised rows, labels, and which are for training, validation and test."""
    x, y = (torch.tensor(a, dtype=torch.float32) for a in load_breast_cancer(return_X_y=True))
    part = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).split([341, 114, 114])
    x = (x - x[part[0]].mean(0)) / x[part[0]].std(0)
    return [(x[rows], y[rows]) for rows in part]


@as_trainable(
    metrics=[
        Metric("loss", "mean cross entropy over the epoch", "nats", "lower", "train"),
        Metric("val_auc", "area under the ROC curve", better="higher", split="validation"),
        Metric("test_auc", "area under the ROC curve", better="higher", split="test"),
    ],
    search="val_auc",
)
def cancer(config: Config, run):
    (x, y), val, test = run.cached(load)
    model = torch.nn.Sequential(
        torch.nn.Linear(30, config.hidden), torch.nn.Tanh(), torch.nn.Linear(config.hidden, 1)
    )
    wrapped = DistributedDataParallel(model) if run.size > 1 else model
    optimizer = {
        "srsgd": lambda: SRSGD(model.parameters(), lr=config.lr, restart=config.restart),
        "adamw": lambda: torch.optim.AdamW(model.parameters(), lr=config.lr),
    }[config.optimizer]()

    def auc(part):
        with torch.no_grad():
            return roc_auc_score(part[1], model(part[0]).flatten())

    for epoch in range(run.resume(model=model, optimizer=optimizer), config.epochs):
        total = torch.zeros(())
        for rows in torch.randperm(len(x)).split(config.batch_size):
            mine = rows[run.rank :: run.size]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                wrapped(x[mine]).flatten(), y[mine]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(mine) / len(x)
        if run.size > 1:
            torch.distributed.all_reduce(total)  # each worker saw its part of the rows
        last = run.final and epoch + 1 == config.epochs
        run.report(loss=total.item(), val_auc=auc(val), test_auc=auc(test) if last else None)


LR = {"lr": FloatDistribution(0.001, 1.0, log=True), "hidden": IntDistribution(4, 64, log=True)}

STUDY = Study(
    name="own_model",
    question="Is SRSGD better than AdamW for a small network on the breast-cancer table?",
    trainable=cancer,
    arms=(
        Arm("srsgd", {**LR, "restart": IntDistribution(3, 200, log=True)}, {"optimizer": "srsgd"}),
        Arm("adamw", LR, {"optimizer": "adamw"}),
    ),
    baseline="adamw",
    trials=12,
    confirm_seeds=8,
)

if __name__ == "__main__":
    sys.exit(launch(STUDY))
