"""A loop over Accelerate as a trainable: the loop stays one's own, and reports each epoch."""

import sys
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from srsgd_ray import SRSGD, Arm, Metric, Study, as_trainable, knob, launch


@dataclass(frozen=True)
class Config:
    hidden: int = knob(32, "units of the hidden layer")
    optimizer: str = knob("srsgd", "srsgd or adamw")
    lr: float = knob(0.1, "learning rate")
    restart: int = knob(30, "steps between two restarts", "steps")
    batch_size: int = knob(32, "rows a step")
    epochs: int = knob(6, "passes over the training rows", "epochs")


def load():
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    parts = order[:1400], order[1400:]
    return [TensorDataset(x[rows], y[rows]) for rows in parts]


@as_trainable(
    metrics=[Metric("val_error", "share of wrong digits", "%", "lower", "validation")],
    place="actor",  # one process
)
def accelerated(config: Config, run):
    train, val = run.cached(load)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, config.hidden), torch.nn.ReLU(), torch.nn.Linear(config.hidden, 10)
    )
    optimizer = (
        SRSGD(model.parameters(), lr=config.lr, restart=config.restart)
        if config.optimizer == "srsgd"
        else torch.optim.AdamW(model.parameters(), lr=config.lr)
    )
    accelerator = Accelerator(cpu=True)
    model, optimizer, batches = accelerator.prepare(
        model, optimizer, DataLoader(train, config.batch_size, shuffle=True)
    )
    x, y = val.tensors
    for _ in range(run.resume(model=model, optimizer=optimizer), config.epochs):
        for rows, labels in batches:
            optimizer.zero_grad()
            accelerator.backward(torch.nn.functional.cross_entropy(model(rows), labels))
            optimizer.step()
        with torch.no_grad():
            run.report(val_error=100 * (model(x).argmax(1) != y).float().mean())


LR = {"lr": FloatDistribution(0.001, 1.0, log=True)}

STUDY = Study(
    name="accelerate_loop",
    question="Is SRSGD better than AdamW in a loop over Accelerate?",
    trainable=accelerated,
    arms=(
        Arm("srsgd", {**LR, "restart": IntDistribution(10, 200, log=True)}, {"optimizer": "srsgd"}),
        Arm("adamw", LR, {"optimizer": "adamw"}),
    ),
    baseline="adamw",
    trials=4,
    confirm_seeds=4,
)

if __name__ == "__main__":
    sys.exit(launch(STUDY))
