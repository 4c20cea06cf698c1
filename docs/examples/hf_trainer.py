"""A Hugging Face Trainer as a trainable: it owns the loop, a TrainerCallback reports."""

import sys
import tempfile
from dataclasses import dataclass

import torch
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from srsgd_ray import SRSGD, Arm, Metric, Study, as_trainable, knob, launch


@dataclass(frozen=True)
class Config:
    hidden: int = knob(32, "units of the hidden layer")
    optimizer: str = knob("srsgd", "srsgd or adamw")
    lr: float = knob(0.1, "learning rate")
    restart: int = knob(30, "steps between two restarts", "steps")
    batch_size: int = knob(32, "rows a step")
    epochs: int = knob(6, "passes over the training rows", "epochs")


class Digits(torch.nn.Module):
    """What Trainer wants of a model: a dict with the loss, where there are labels."""

    def __init__(self, hidden):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10)
        )

    def forward(self, x, labels):
        logits = self.net(x)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


class Shuffled(Trainer):
    """Shuffles by torch's global generator, whose state run.report saves and resume restores."""

    def get_train_dataloader(self):
        return DataLoader(
            self.train_dataset, self.args.train_batch_size, shuffle=True,
            collate_fn=self.data_collator,
        )  # fmt: skip


class Report(TrainerCallback):
    """One report an epoch, when its evaluation is done."""

    def __init__(self, run):
        self.run = run

    def on_evaluate(self, args, state, control, metrics, **more):
        self.run.report(val_loss=metrics["eval_loss"], val_error=metrics["eval_error"])


def load():
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).tolist()
    rows = [{"x": torch.tensor(x[i] / 16, dtype=torch.float32), "labels": int(y[i])} for i in order]
    return rows[:1400], rows[1400:]


def error(found):
    return {"error": 100 * float((found.predictions.argmax(1) != found.label_ids).mean())}


@as_trainable(
    metrics=[
        Metric("val_loss", "mean cross entropy", "nats", "lower", "validation"),
        Metric("val_error", "share of wrong digits", "%", "lower", "validation"),
    ],
    search="val_error",
    place="actor",  # one process
)
def hugging_face(config: Config, run):
    train, val = run.cached(load)
    model = Digits(config.hidden)
    optimizer = (
        SRSGD(model.parameters(), lr=config.lr, restart=config.restart)
        if config.optimizer == "srsgd"
        else torch.optim.AdamW(model.parameters(), lr=config.lr)
    )
    total = config.epochs * -(-len(train) // config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=config.batch_size, eval_strategy="epoch",
            save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True,
            logging_strategy="no", seed=run.seed,
        )  # fmt: skip
        trainer = Shuffled(
            model, arguments, train_dataset=train, eval_dataset=val, compute_metrics=error,
            optimizers=(optimizer, schedule), callbacks=[Report(run)],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)  # srsgd_ray shows the progress
        # After Trainer was made, for it seeds the generators, and before it trains.
        done = run.resume(model=model, optimizer=optimizer, schedule=schedule)
        arguments.num_train_epochs = config.epochs - done
        trainer.train()


LR = {"lr": FloatDistribution(0.001, 1.0, log=True)}

STUDY = Study(
    name="hf_trainer",
    question="Is SRSGD better than AdamW under a Hugging Face Trainer?",
    trainable=hugging_face,
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
