"""TensorBoard's event files: one run a trial, with its hyperparameters.

What a file holds is a function of its run alone, and that of a run that has gone further begins
with the same bytes. So a file that begins as it should is continued, and any other replaced:
whether an export wrote it or a study that runs, and however often, nothing is in it twice.
TensorBoard's record writer and messages take 0.5 s to import; other writers of such files import
torch.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srsgd_ray.export.place import library, replace
from srsgd_ray.export.runs import Exported, Run, plain
from srsgd_ray.table import table

FILE = "events.out.tfevents.srsgd_ray"  # TensorBoard reads files with "tfevents" in their names
STUDY, END = "study", "end"  # the run that is the study; what groups the numbers of a run's end
STATUS = {"running": "STATUS_RUNNING", "diverged": "STATUS_FAILURE", "failed": "STATUS_FAILURE"}


def place(folder: Path) -> Path:
    """Where the event files of a study lie, whoever writes them."""
    return folder / "tensorboard"


def write(study: Exported, out: Path) -> Path:
    """Write the runs of a study, a folder each, and one for what is said of the whole."""
    for run in study.runs:
        put(out / run.trial, run)
    started = min((run.started for run in study.runs), default=0.0)
    meanings = "".join(f"\n- **{name}**: {text}" for name, text in study.meanings.items())
    texts = {"question": study.question, "metrics": meanings}
    said = {**texts, "verdict": "\n\n".join(study.verdicts)}
    _continue(out / STUDY / FILE, _records(_texts(said, started), started))
    return out


def put(folder: Path, run: Run) -> None:
    """Bring the event file of a run up to date."""
    _continue(folder / FILE, _records(_events(run), run.started))


def _continue(path: Path, data: bytes) -> None:
    """Append what the file lacks, or replace it if it begins otherwise."""
    there = path.read_bytes() if path.is_file() else b""
    if there and data.startswith(there):
        with path.open("ab") as file:
            file.write(data[len(there) :])
    elif there != data:
        replace(path, data)


def _records(events: Iterator[dict[str, Any]], started: float) -> bytes:
    """Events in TensorBoard's format of files."""
    made = library("tensorboard.compat.proto.event_pb2")
    out = io.BytesIO()
    writer = library("tensorboard.summary.writer.record_writer").RecordWriter(out)
    for event in ({"wall_time": started, "file_version": "brain.Event:2"}, *events):
        writer.write(made.Event(**event).SerializeToString(deterministic=True))
    return out.getvalue()


def _events(run: Run) -> Iterator[dict[str, Any]]:
    """The events of a run, in the order in which they happened."""
    hparams = library("tensorboard.plugins.hparams.summary_v2")
    knobs = {"arm": run.arm, "phase": run.phase, "search": run.search, **run.searched}
    knobs |= {"seed": run.config["seed"]} if "seed" in run.config else {}
    values = {name: plain(value) for name, value in knobs.items()}
    begun = hparams.hparams_pb(values, trial_id=run.trial, start_time_secs=run.started)
    yield {"wall_time": run.started, "summary": begun}
    config = _markdown(run.config)
    yield from _texts({"configuration": config}, run.started)
    for epoch in run.epochs:
        yield _scalars(epoch.values, epoch.step, epoch.time)
    if run.ended is None:
        return
    outcomes = {f"{END}/{name}": value for name, value in run.outcomes.items()}
    yield _scalars(outcomes, run.last, run.ended)
    yield from _texts({END: _markdown(run.tags)}, run.ended)
    yield {"wall_time": run.ended, "summary": _session_end(run)}


def _scalars(values: dict[str, float], step: int, time: float) -> dict[str, Any]:
    # As float32: TensorBoard's loader does not show what is stored as double.
    found = [{"tag": name, "simple_value": value} for name, value in values.items()]
    return {"wall_time": time, "step": step, "summary": {"value": found}}


def _texts(texts: dict[str, str], time: float) -> Iterator[dict[str, Any]]:
    """Texts in Markdown; empty ones are left out."""
    text = library("tensorboard.plugins.text.metadata")
    tensors = library("tensorboard.util.tensor_util")
    for name, said in texts.items():
        if said:
            value = {
                "tag": name,
                "metadata": text.create_summary_metadata(display_name=name, description=""),
                "tensor": tensors.make_tensor_proto([said.encode()]),
            }
            yield {"wall_time": time, "summary": {"value": [value]}}


def _markdown(values: dict[str, Any]) -> str:
    import pandas as pd

    rows = pd.DataFrame({"name": list(values), "value": [str(plain(v)) for v in values.values()]})
    return table(rows, "markdown", align="l")


def _session_end(run: Run) -> Any:
    """What the hyperparameter page shows of a run's end."""
    data = library("tensorboard.plugins.hparams.plugin_data_pb2")
    meta = library("tensorboard.plugins.hparams.metadata")
    status = library("tensorboard.plugins.hparams.api_pb2").Status
    end = data.SessionEndInfo(
        status=status.Value(STATUS.get(run.state, "STATUS_SUCCESS")), end_time_secs=run.ended
    )
    value = {
        "tag": meta.SESSION_END_INFO_TAG,
        "metadata": meta.create_summary_metadata(data.HParamsPluginData(session_end_info=end)),
        "tensor": meta.NULL_TENSOR,
    }
    return {"value": [value]}
