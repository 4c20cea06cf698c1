"""A Lightning module as a trainable: its Trainer owns the loop, a callback reports."""

import logging
import sys
import warnings
from dataclasses import dataclass

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from srsgd_ray import SRSGD, Arm, Metric, Study, as_trainable, knob, launch


@dataclass(frozen=True)
class Config:
    hidden: int = knob(32, "units of the hidden layer")
    lr: float = knob(0.1, "learning rate")
    restart: int = knob(0, "steps between two restarts; 0: plain SGD with momentum", "steps")
    epochs: int = knob(6, "passes over the training rows", "epochs")


class Digits(LightningModule):
    """A module as one writes it without srsgd_ray."""

    def __init__(self, config):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(64, config.hidden), torch.nn.ReLU(), torch.nn.Linear(config.hidden, 10)
        )
        self.optimizer = (
            SRSGD(self.parameters(), lr=config.lr, restart=config.restart)
            if config.restart
            else torch.optim.SGD(self.parameters(), lr=config.lr, momentum=0.9)
        )

    def configure_optimizers(self):
        return self.optimizer

    def training_step(self, batch, _):
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, _):
        wrong = (self.net(batch[0]).argmax(1) != batch[1]).float().mean()
        self.log("val_error", 100 * wrong)


class Report(Callback):
    """One report an epoch. Validation runs within the epoch, after its last step."""

    def __init__(self, run):
        self.run = run

    def on_validation_end(self, trainer, module):
        self.run.report(val_error=trainer.callback_metrics["val_error"])


def load():
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return TensorDataset(x[order[:1400]], y[order[:1400]]), TensorDataset(
        x[order[1400:]], y[order[1400:]]
    )


@as_trainable(
    metrics=[Metric("val_error", "share of wrong digits", "%", "lower", "validation")],
    place="actor",  # one process: with several, Lightning wants to start them itself
)
def lightning(config: Config, run):
    train, val = run.cached(load)
    module = Digits(config)
    done = run.resume(model=module, optimizer=module.optimizer)  # before fit
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # srsgd_ray shows the progress
    warnings.filterwarnings("ignore", module="lightning")
    trainer = Trainer(
        max_epochs=config.epochs - done,
        callbacks=[Report(run)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,  # run.report writes them
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,  # a report before the first epoch would be one too many
    )
    trainer.fit(module, DataLoader(train, 32, shuffle=True), DataLoader(val, len(val)))


LR = {"lr": FloatDistribution(0.01, 1.0, log=True)}

STUDY = Study(
    name="lightning_module",
    question="Is SRSGD better than SGD for a Lightning module?",
    trainable=lightning,
    arms=(
        Arm("srsgd", {**LR, "restart": IntDistribution(10, 200, log=True)}),
        Arm("sgd", LR, {"restart": 0}),
    ),
    baseline="sgd",
    trials=4,
    confirm_seeds=4,
)

if __name__ == "__main__":
    sys.exit(launch(STUDY))
