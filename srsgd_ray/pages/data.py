"""What a page shows of a study, as plain values: each of them is a number of the tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.analysis.summary import configurations
from srsgd_ray.pages.importance import importance
from srsgd_ray.results import (
    RecordError,
    read_epochs,
    read_predictions,
    read_record,
    read_trials,
    schema_of,
)
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.results.tables import frames
from srsgd_ray.typed import typed

MOST_RESTARTS = 400  # of an arm; more could not be distinguished on a page
# Columns of a trial's row that are the same in all of them, or that only programs read.
LEFT_OUT = ("study", "search_space", "baseline", "metric", "mode", "pareto", "pareto_metric",
            "confirm_metric", "confirm_seeds", "searches", "search_trials", "extended",
            "tie_break", "trainable", "protocol")  # fmt: skip
WHERE = ("commit", "srsgd_ray_version", "torch_version", "ray_version", "optuna_version",
         "python_version", "host", "hardware")  # fmt: skip


def study_data(folder: Path | str, contents: Contents | None = None) -> dict[str, Any]:
    """Everything that the page of a study shows; JSON holds it, and None stands for no number.

    Args:
        folder: of the study.
        contents: of its record, which may know more than its tables do while it runs; None: the
            tables are read.

    Raises:
        RecordError: if the folder holds no tables, or they cannot be read.
    """
    folder = Path(folder)
    if contents is not None:
        trials, epochs = frames(contents)
    else:
        trials, epochs = read_trials(folder), read_epochs(folder)
        contents = read_record(folder) if (folder / RECORD).exists() else None
    if trials.empty:
        raise RecordError(f"no trials yet in {folder}.")
    metric = analysis.confirm_metric(trials)
    schema = schema_of(trials)
    unit = schema[metric].unit if metric in schema else ""
    points = analysis.several_points(trials)
    rivals, predictions = analysis.baselines(trials), read_predictions(folder)
    found = analysis.confirmation(trials, rivals, predictions=predictions) if not points else None
    said = [] if found is None else [c.verdict for c in found.comparisons]
    if points and (trials["phase"] == "confirm").any():
        said = analysis.epochs_saved_verdicts(trials, rivals, metric)
    return {
        "name": str(trials["study"].iloc[0]),
        "question": contents.header["spec"].get("question", "") if contents else "",
        "verdicts": said,
        "remarks": [*filter(None, [found and found.scope]), *analysis.remarks(trials)],
        "arms": [{"name": arm, "label": analysis.arm_label(arm)} for arm in analysis.arms(trials)],
        "confirmation": {
            "metric": analysis.in_words(metric),
            "unit": unit,
            "units": "searches" if found is not None and found.searches > 1 else "runs",
            "arms": [] if found is None else [
                {"arm": a.arm, **_of(vars(a.estimate)), "lost": analysis.lost_text(a.arm, a.lost)}
                for a in found.arms
            ],
            "runs": _runs(trials, metric),
            "differences": [] if found is None else [_difference(c) for c in found.comparisons],
        },
        "winners": _plain(configurations(trials)),
        "curves": _curves(trials, epochs),
        "restarts": _restarts(trials, epochs),
        "search": _search(trials),
        "trials": _trials(trials),
        "provenance": _provenance(trials),
        "commands": _commands(folder, contents),
    }  # fmt: skip


def _difference(found: analysis.Comparison) -> dict[str, Any]:
    over, images = found.estimate, found.over_images
    what = "searches and seeds" if found.replicated > 1 else "seeds"
    values = {
        "arm minus rival": f"{found.arm} - {found.baseline}",
        "pairs": len(found.seeds),
        "mean": over.mean,
        f"over {what}, from": over.low,
        "to": over.high,
        "and images, from": None if images is None else images.low,
        "to ": None if images is None else images.high,
        "p": found.p_holm,
    }
    return _of(values)


def _runs(trials: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    runs = analysis.rows(trials, "confirm").query("state == 'complete'")
    if metric not in runs:
        return []
    search = runs.get("search", 0)
    shown = runs[["arm", "trial", "seed"]].assign(search=search, value=runs[metric])
    rows: list[dict[str, Any]] = _plain(shown)["rows"]
    return rows


def _curves(trials: pd.DataFrame, epochs: pd.DataFrame) -> list[dict[str, Any]]:
    """Each metric of the confirmation runs against the epoch, over the seeds."""
    found = []
    for name in schema_of(epochs).named("metric"):
        if name in epochs:
            rows = analysis.seed_curves(epochs, trials, name)
            if not rows.empty:
                unit = schema_of(epochs)[name].unit
                label = f"{analysis.in_words(name)} {unit}".rstrip()
                found.append({"metric": name, "label": label, **_plain(rows)})
    return found


def _restarts(trials: pd.DataFrame, epochs: pd.DataFrame) -> list[dict[str, Any]]:
    """The epochs at which the momentum of an arm's first confirmation run restarts."""
    found: list[dict[str, Any]] = []
    confirm = analysis.rows(epochs, "confirm")
    for arm in analysis.restarting(trials):
        own = confirm[confirm["arm"] == arm]
        if own.empty:
            continue
        own = own[own["trial"] == own["trial"].iloc[0]]
        each = analysis.steps_per_epoch(own, str(own["trial"].iloc[0]))
        at = analysis.restart_steps(own.iloc[0], int(own["epoch"].max()) * each, each)
        if len(at) <= MOST_RESTARTS:
            found.append({"arm": arm, "epochs": [step / each for step in at]})
    return found


def _search(trials: pd.DataFrame) -> dict[str, Any] | None:
    """What the search tried, what mattered, and how its best improved."""
    search = analysis.rows(trials, "search")
    if search.empty:
        return None
    metric, mode = analysis.search_goal(trials)
    column = schema_of(trials)[metric]
    ranges: dict[str, dict[str, Any]] = {}
    if "search_space" in search:
        for text in search["search_space"].dropna().unique():
            ranges |= json.loads(text)
    best = analysis.best_so_far(trials)
    front = []
    if analysis.design(trials, "pareto"):
        second = analysis.design(trials, "pareto_metric")
        for arm in analysis.arms(search):
            rows = analysis.pareto_front(trials, arm, second=second)
            front.append({"arm": arm, **_plain(rows)})
    return {
        "metric": metric,
        "label": f"{analysis.in_words(metric)} {column.unit}".rstrip(),
        "mode": mode,
        "knobs": {
            name: bool(ranges.get(name, {}).get("log")) for name in analysis.main_knobs(trials)
        },
        "best_so_far": _plain(best.rename(columns={f"best_{metric}": "best", metric: "value"})),
        "importance": importance(trials),
        "front": front,
    }


def _trials(trials: pd.DataFrame) -> dict[str, Any]:
    """Every trial with what distinguishes it: columns of one value are left out."""
    schema = schema_of(trials)
    kept = []
    for name in trials:
        column = schema[str(name)]
        always = column.role in ("identity", "metric") or name in ("state", "reason", "epochs_done")
        varies = trials[name].map(str).nunique() > 1
        if (
            name not in LEFT_OUT
            and trials[name].notna().any()
            and (always or (varies and column.role in ("knob", "outcome")))
        ):
            kept.append(str(name))
    shown = trials[kept].astype(object)
    # A knob of restarts says nothing of an arm that has none.
    without = ~trials["arm"].isin(analysis.restarting(trials))
    for name in kept:
        if name.startswith("restart_"):
            shown.loc[without, name] = None
    table = _plain(shown)
    table["about"] = {n: f"{schema[n].doc}{f', {schema[n].unit}' * bool(schema[n].unit)}"
                      for n in kept}  # fmt: skip
    return table


def _provenance(trials: pd.DataFrame) -> list[list[str]]:
    began, ended = trials["started"].min(), trials["ended"].max()
    rows = []
    for name, moment in (("began", began), ("last trial ended", ended)):
        if pd.notna(moment):
            rows.append([name, pd.Timestamp(moment, unit="s").strftime("%Y-%m-%d %H:%M:%S UTC")])
    rows.append(["training", f"{float(trials['train_seconds'].fillna(0).sum()):,.0f} s in all"])
    for name in WHERE:
        said = sorted({str(v) for v in trials[name].dropna() if v}) if name in trials else []
        if said:
            rows.append([name.replace("_", " "), ", ".join(said)])
    return rows


def _commands(folder: Path, contents: Contents | None) -> dict[str, str]:
    if contents is None:
        return {}
    again = f"{contents.header['study']}-again"
    return {
        "Repeat the study": typed("srsgd-ray", "run", folder, "--name", again),
        "Resume it, or add to it": typed("srsgd-ray", "resume", folder),
        "Its table as text": typed("srsgd-ray", "table", folder),
        "Its figures": typed("srsgd-ray", "figures", folder),
    }


def _plain(frame: pd.DataFrame) -> dict[str, Any]:
    """A table as its columns' names and its rows, as JSON can hold them."""
    rows = [_of(row) for row in frame.astype(object).to_dict("records")]
    return {"columns": [str(name) for name in frame], "rows": rows}


def _of(values: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): _value(value) for name, value in values.items()}


def _value(value: Any) -> Any:
    """A value as JSON holds it; what is no finite number becomes None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable) and not isinstance(value, str | dict):
        return ", ".join(str(_value(item)) for item in value)
    return None if value is pd.NA or value is pd.NaT else value
