"""MLflow: an experiment a study and a run a trial, in a database of MLflow's own tables."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from srsgd_ray.export.place import environment, library
from srsgd_ray.export.runs import Exported, Run, plain

FILE = "mlflow.db"
KEY, EPOCHS = "srsgd_ray.run", "srsgd_ray.epochs"  # tags: which run it is, and how far it was taken
STATUS = {"running": "RUNNING", "pruned": "KILLED", "complete": "FINISHED"}
MOST = 100, 1000  # parameters and metrics that MLflow takes at a time


def write(study: Exported, out: Path) -> Path:
    """Add the runs of a study that ``mlflow.db`` does not hold, and continue those it holds."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of each table it makes
    with environment(MLFLOW_DISABLE_TELEMETRY="true"):
        mlflow = library("mlflow", "mlflow-skinny")
        out.mkdir(parents=True, exist_ok=True)
        client, where = mlflow.MlflowClient(f"sqlite:///{out.resolve() / FILE}"), out.resolve()
        found = client.get_experiment_by_name(study.name)
        if found is None:
            files = (where / "artifacts").as_uri()
            experiment = client.create_experiment(study.name, artifact_location=files)
        else:
            experiment = found.experiment_id
        client.set_experiment_tag(experiment, "mlflow.note.content", study.about())
        for name, text in study.meanings.items():
            client.set_experiment_tag(experiment, f"metric.{name}", text)
        there = {run.data.tags.get(KEY): run for run in _runs(client, experiment)}
        for run in study.runs:
            _put(client, experiment, run, there.get(run.key))
    return out / FILE


def _runs(client: Any, experiment: str) -> list[Any]:
    found, token = [], None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _put(client: Any, experiment: str, run: Run, there: Any) -> None:
    entities = library("mlflow.entities")
    tags = {**run.tags, KEY: run.key, EPOCHS: str(run.last)}
    if there is not None and all(there.data.tags.get(name) == said for name, said in tags.items()):
        return
    known = 0 if there is None else int(there.data.tags.get(EPOCHS, 0))
    if there is None:
        began = round(1000 * run.started)
        name = {"mlflow.runName": run.trial, KEY: run.key}
        there = client.create_run(experiment, start_time=began, tags=name, run_name=run.trial)
    run_id = there.info.run_id
    metrics = [
        entities.Metric(name, value, round(1000 * epoch.time), epoch.step)
        for epoch in run.epochs
        if epoch.step > known
        for name, value in epoch.values.items()
    ]
    if run.ended is not None:
        ended = round(1000 * run.ended)
        metrics += [entities.Metric(n, v, ended, run.last) for n, v in run.outcomes.items()]
    params = [entities.Param(name, str(plain(value))) for name, value in run.config.items()]
    for at in range(0, len(params), MOST[0]):
        client.log_batch(run_id, params=params[at : at + MOST[0]])
    for at in range(0, len(metrics), MOST[1]):
        client.log_batch(run_id, metrics=metrics[at : at + MOST[1]])
    # Last: a run that was cut off here is continued, and MLflow takes an equal metric once.
    client.log_batch(run_id, tags=[entities.RunTag(name, said) for name, said in tags.items()])
    if run.ended is not None:
        client.set_terminated(run_id, STATUS.get(run.state, "FAILED"), round(1000 * run.ended))
