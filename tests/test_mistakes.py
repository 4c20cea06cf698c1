"""Mistakes in a study script: one message each, with the line, exit status 2, nothing written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from srsgd_ray.cli import main as cli

HEAD = """\
from dataclasses import dataclass
from optuna.distributions import FloatDistribution, IntDistribution
from srsgd_ray import Arm, Metric, Study, as_trainable, knob

@dataclass(frozen=True)
class Config:
    lr: float = knob(0.1)
    depth: int = knob(2)
    epochs: int = knob(3)

@as_trainable(metrics=[Metric("loss", better="lower"), Metric("size")], place="actor")
def work(config: Config, run):
    for _ in range(config.epochs):
        run.report(loss=config.lr, size=1.0)

LR = {"lr": FloatDistribution(0.1, 1.0)}
"""
IMAGE = "from srsgd_ray import Arm, Study\n"
LINE = HEAD.count("\n") + 1


def study(**changes: str) -> str:
    fields = {
        "name": "'mine'", "question": "'?'", "trainable": "work", "trials": "2",
        "arms": "(Arm('a', LR), Arm('b', LR))", **changes,
    }  # fmt: skip
    return HEAD + f"STUDY = Study({', '.join(f'{k}={v}' for k, v in fields.items())})\n"


MISTAKES = {
    "a missing comma between arms": (
        HEAD + "STUDY = Study(name='m', question='?', arms=(\n  Arm('a', LR)\n  Arm('b', LR)))\n",
        LINE + 1,
        "Perhaps you forgot a comma?",
    ),
    "one arm without a comma": (study(arms="(Arm('a', LR))"), LINE, "A tuple of one needs a comma"),
    "a dict as a range": (
        study(arms="(Arm('a', {'lr': {'low': 0.1, 'high': 1}}),)"),
        LINE,
        "the range of lr must be an Optuna distribution, but got {'low': 0.1, 'high': 1}. Write "
        "FloatDistribution(low=0.1, high=1)",
    ),
    "a tuple as a range": (
        study(arms="(Arm('a', {'lr': (0.1, 1)}),)"),
        LINE,
        "the range of lr must be an Optuna distribution, but got (0.1, 1). Write FloatDistribution",
    ),
    "a value as a range": (study(arms="(Arm('a', {'lr': 0.1}),)"), LINE, "into the arm's fixed"),
    "trials in quotes": (
        study(trials="'12'"),
        LINE,
        "trials must be a whole number, but got trials='12'. Write trials=12, without quotes.",
    ),
    "trials as a float": (study(trials="2.5"), LINE, "trials must be a whole number, but got"),
    "an arm's name with a slash": (
        study(arms="(Arm('a/b', LR),)"), LINE, "a line of printable characters without slashes"
    ),
    "an empty arm's name": (study(arms="(Arm('', LR),)"), LINE, "an arm's name must be a line of"),
    "an arm's name of two lines": (study(arms="(Arm('a\\nb', LR),)"), LINE, "printable characters"),
    "an unknown knob": (
        study(arms="(Arm('a', LR, {'dpth': 3}),)"),
        LINE,
        "arm 'a': unknown configuration key 'dpth'. Valid: lr, depth, epochs. Did you mean 'depth",
    ),
    "an unknown knob in the space": (
        study(arms="(Arm('a', {'lrr': LR['lr']}),)"), LINE, "Did you mean 'lr'?"
    ),
    "a knob of another type": (
        study(base="{'depth': 'deep'}"), LINE, "depth must be of type int, but got depth='deep'"
    ),
    "an unknown argument": (study(trails="3"), LINE, "unexpected keyword argument 'trails'"),
    "an unknown metric": (study(metric="'los'"), LINE, "unknown metric 'los'. Valid: loss."),
    "a metric without a direction": (study(metric="'size'"), LINE, "unknown metric 'size'. Valid"),
    "the wrong mode": (
        study(mode="'max'"),
        LINE,
        "mode='max' would choose the worst configuration: of loss the lower value is better",
    ),
    "an unknown trainable": (
        study(trainable="'imge'"), LINE, "unknown trainable 'imge'. Valid: image, quadratic, mine"
    ),
    "a lambda": (
        study().replace("trainable=work", "trainable=lambda config, run: None"),
        LINE,
        "must be a Trainable or a function decorated with @as_trainable",
    ),
    "a function that workers cannot import": (
        HEAD + "def made():\n  return as_trainable(metrics=Metric('loss', better='lower'))("
        "lambda config, run: None, )\n" + study()[len(HEAD):].replace("work", "made()"),
        LINE + 1,
        "must be a function of (config, run) whose first parameter is annotated",
    ),
    "a function within another": (
        HEAD + "def made():\n  def inner(config: Config, run): pass\n  return as_trainable("
        "metrics=Metric('loss', better='lower'))(inner)\n"
        + study()[len(HEAD):].replace("work", "made()"),
        LINE + 3,
        "is a lambda or stands within another function. Define it at the top level of a file.",
    ),
    "lr_drops as a number": (
        IMAGE + "A = (Arm('a'),)\n"
        "STUDY = Study(name='mine', question='?', arms=A, trials=0, lr_drops=0.5)",
        3,
        "lr_drops must be a tuple, but got lr_drops=0.5. A tuple of one needs a comma",
    ),
    "lr_drops for another trainable": (study(lr_drops="(0.5,)"), LINE, "unknown configuration key"),
    "a baseline that there is not": (study(baseline="'c'"), LINE, "unknown arm 'c'. Valid: a, b."),
    "a known point outside of the space": (
        study(arms="(Arm('a', LR, enqueue=({'lr': 5.0},)),)"), LINE, "must lie in the space"
    ),
    "a study in a tuple": (study().rstrip() + ",\n", 0, "must hold one Study"),
    "no study": (HEAD, 0, "must hold one Study, best called STUDY, but holds none"),
    "an error of Python": (HEAD + "1 / 0\n", LINE, "ZeroDivisionError: division by zero"),
    "a name of '..'": (study(name="'..'"), LINE, "a study's name must be of letters, digits"),
    "an unknown sampler": (study(searcher="'anneal'"), LINE, "unknown search 'anneal'. Valid: tpe"),
    "a sampler that is none": (
        study(searcher="'os:getcwd'"), LINE, "must be a class of Optuna samplers"
    ),
    "a scheduler that compares unlike lengths": (
        study(scheduler="'asha'", arms="(Arm('a', LR), Arm('b', LR, {'epochs': 9}))"),
        LINE,
        "scheduler='asha' needs arms of equal epochs",
    ),
    "conditions in a circle": (
        study(
            arms="(Arm('a', {'lr': When(LR['lr'], depth=1), "
            "'depth': When(IntDistribution(1, 3), lr=1)}),)"
        ).replace("import Arm", "import When, Arm"),
        LINE,
        "conditions must not go in a circle",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mistake: str,
) -> None:
    text, line, message = MISTAKES[mistake]
    name = f"mine_{abs(hash(mistake))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["run", f"{name}.py", "--backend", "local", "--results", "r", "--slots", "2"]
    assert cli(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    if line:
        assert f"{name}.py:{line}: " in error
    assert not (tmp_path / "r").exists()
    sys.modules.pop(name, None)


def test_a_script_run_by_python_tells_the_same(tmp_path: Path) -> None:
    text = study(trials="'12'") + "from srsgd_ray import launch\nimport sys\n"
    (tmp_path / "mine.py").write_text(text + "sys.exit(launch(STUDY))\n")
    command = [sys.executable, "mine.py", "--backend", "local", "--results", "r"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"python mine.py: mine.py:{LINE}: trials must be a whole number")
    assert not (tmp_path / "r").exists()
