"""One training run from the command line, alone or under torchrun.

    python -m srsgd_ray.training --optimizer srsgd --lr 0.1 --epochs 12 --out results/run
    torchrun --nproc-per-node 2 -m srsgd_ray.training --out results/run

Its rows go to ``--out`` in the same form as a study's; ``--resume`` goes on after the last epoch.
A start that is refused leaves nothing behind. Options of a part, such as ``--model-options``, are
NAME=VALUE pairs (values as JSON, or as text) or one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

import torch
import torch.distributed as dist

from srsgd_ray.config import TrainConfig
from srsgd_ray.knobs import knob_types
from srsgd_ray.results import Record, RecordError, provenance, write_tables
from srsgd_ray.training.checkpoint import FILE_NAME, MAY_CHANGE
from srsgd_ray.training.distributed import rank_and_size
from srsgd_ray.training.loop import train
from srsgd_ray.training.outcome import Save

__all__ = ["main"]

TRIAL = "single-run-000"


def main(argv: Sequence[str] | None = None) -> int:
    """Train once; exit status 0, 1 if the run diverged, 2 after a message for bad input."""
    parser = _parser()
    given = vars(parser.parse_args(argv))
    out, resume = Path(given.pop("out")), given.pop("resume")
    try:
        config = TrainConfig.from_dict(_values(given)).check()
        with _process_group(config):
            return _run(config, out, resume)
    except ValueError as error:
        print(f"srsgd-ray train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        words = [word for word in (sys.argv[1:] if argv is None else argv) if word != "--resume"]
        print(
            f"\nStopped. Every finished epoch is kept. Go on with:\n"
            f"  python -m srsgd_ray.training {shlex.join(words)} --resume",
            file=sys.stderr,
        )
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m srsgd_ray.training",
        description=(__doc__ or "").split("\n", 1)[0],
    )
    parser.add_argument("--out", default="results/run", metavar="DIR", help="folder of the results")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    hints = get_type_hints(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        hint, flag = hints[field.name], f"--{field.name.replace('_', '-')}"
        default = {} if field.default is dataclasses.MISSING else field.default
        text = f"{field.metadata['doc']} [{default}]".replace("%", "%%")
        if hint == dict[str, Any]:
            parser.add_argument(flag, nargs="+", metavar="NAME=VALUE", help=text)
        elif hint is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        elif str(hint).startswith("tuple"):
            kind = int if "int" in str(hint) else float
            parser.add_argument(flag, type=kind, nargs="*", metavar="N", help=text)
        else:
            parser.add_argument(flag, type=hint, metavar=hint.__name__.upper(), help=text)
    return parser


def _values(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given on the command line, with the options of parts as dicts."""
    types = knob_types(TrainConfig)
    return {
        name: _options(name, value) if types[name] == dict[str, Any] else value
        for name, value in given.items()
        if value is not None
    }


def _options(name: str, words: Sequence[str]) -> dict[str, Any]:
    flag = f"--{name.replace('_', '-')}"
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            found: dict[str, Any] = json.loads(words[0])
        except ValueError as error:
            raise ValueError(
                f"{flag} must be NAME=VALUE pairs or a JSON object, but got {words[0]!r}: {error}."
            ) from error
        return found
    pairs: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(
                f"{flag} must be NAME=VALUE pairs or a JSON object, but got {word!r}. "
                f"Write for example {flag} width=32."
            )
        try:
            pairs[key] = json.loads(text)
        except ValueError:
            pairs[key] = text
    return pairs


@contextmanager
def _process_group(config: TrainConfig) -> Iterator[None]:
    """The process group that torchrun asks for, if it does."""
    if "RANK" not in os.environ or dist.is_initialized():
        yield
        return
    gpu = config.device != "cpu" and torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def _run(config: TrainConfig, out: Path, resume: bool) -> int:
    rank, size = rank_and_size()
    record: Record | None = None
    found = (out / FILE_NAME).is_file()

    def ready() -> None:
        nonlocal record
        if size > 1:
            dist.barrier()  # nothing is written before every rank has found all that it needs
        if rank == 0:
            record = _open(config, out, resume)

    def report(row: dict[str, Any], save: Save | None) -> None:
        if record is None:
            return
        record.epoch(TRIAL, row)
        if save is not None:
            save(out)
        write_tables(out, record.contents)
        print(_line(row, config), flush=True)

    def keep(save: Save) -> None:
        save(out)

    try:
        outcome = train(
            config,
            report,
            resume_from=out if resume and found else None,
            keep=keep,
            ready=ready,
        )
        if record is not None:
            facts = {"parameters": outcome.parameters, "workers": size, "host": platform.node()}
            if outcome.diverged_step is not None:
                facts["diverged_step"] = outcome.diverged_step
            record.end(TRIAL, outcome.state, outcome.reason, **facts)
            write_tables(out, record.contents)
            if outcome.reason:
                print(outcome.reason)
    finally:
        if record is not None:
            record.close()
    return 0 if outcome.state == "complete" else 1


def _open(config: TrainConfig, out: Path, resume: bool) -> Record:
    if not resume:
        _writable(out)
        record = Record.create(out, {"study": out.resolve().name, "config": config.to_dict()})
        record.session(**provenance())
        record.begin(TRIAL, "single", config.optimizer, 0, config.to_dict())
        return record
    record = Record.reopen(out)
    if TRIAL not in record.trials:
        record.close()
        raise RecordError(f"{out} holds a study, but no single run. Choose another --out.")
    # A knob that came later had its default then.
    mine, theirs = config.to_dict(), {**TrainConfig().to_dict(), **record.trials[TRIAL].config}
    differ = [key for key in mine if key not in MAY_CHANGE and mine[key] != theirs[key]]
    if differ:
        record.close()
        raise RecordError(
            f"{out} holds another run: {', '.join(differ)} differ. Resume it with the options it "
            f"was started with, or choose another --out."
        )
    record.session(**provenance())
    return record


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise RecordError(
            f"--out must be a folder that can be written, but got {out}: {error}. "
            f"Give another --out."
        ) from error


def _line(row: dict[str, Any], config: TrainConfig) -> str:
    held = (
        "" if row["val_error"] is None else f"  val {row['val_loss']:.4f} {row['val_error']:.2f}%"
    )
    test = "" if row["test_error"] is None else f"  test {row['test_error']:.2f}%"
    return (
        f"epoch {row['epoch']}/{config.epochs}  lr {row['epoch_lr']:.4g}  "
        f"train {row['train_loss']:.4f} {row['train_error']:.2f}%{held}{test}  "
        f"{row['train_seconds']:.2f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
