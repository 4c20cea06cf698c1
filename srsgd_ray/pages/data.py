"""What a page shows of a study, as plain values: each of them is a number of the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.pages.confirmed import confirmed
from srsgd_ray.pages.importance import ABOUT as ABOUT_IMPORTANCE
from srsgd_ray.pages.importance import importance
from srsgd_ray.pages.plain import plain, plain_table
from srsgd_ray.results import (
    RecordError,
    read_epochs,
    read_predictions,
    read_record,
    read_trials,
    schema_of,
)
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.reading import frames
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.typed import typed

ALWAYS = ("trial", "arm", "phase", "state", "reason", "epochs_done")
RERUN = "Repeat any one trial, TRIAL"
MOST_CURVES = 200  # of search trials: more would hide each other
MOST_RESTARTS = 400  # of an arm; more could not be distinguished on a page
# Columns of a trial's row that are the same in all of them, or that only programs read.
LEFT_OUT = ("study", "number", "started", "ended", "search_space", "baseline", "metric", "mode",
            "pareto", "pareto_metric", "confirm_metric", "confirm_seeds", "searches",
            "search_trials", "extended", "tie_break", "trainable", "protocol")  # fmt: skip
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
    return {
        "name": str(trials["study"].iloc[0]),
        "question": contents.header["spec"].get("question", "") if contents else "",
        **confirmed(trials, read_predictions(folder)),
        "remarks": analysis.remarks(trials),
        "arms": [{"name": arm, "label": analysis.arm_label(arm)} for arm in analysis.arms(trials)],
        "curves": _curves(trials, epochs),
        "restarts": _restarts(trials, epochs),
        "search": _search(trials, epochs),
        "trials": _trials(trials),
        "provenance": _provenance(trials),
        "commands": _commands(folder, contents),
    }


def _curves(trials: pd.DataFrame, epochs: pd.DataFrame) -> list[dict[str, Any]]:
    """Each metric of the confirmation runs against the epoch, over the seeds."""
    found = []
    for name in schema_of(epochs).named("metric"):
        if name in epochs:
            rows = analysis.seed_curves(epochs, trials, name)
            if not rows.empty:
                unit = schema_of(epochs)[name].unit
                label = f"{analysis.in_words(name)} {unit}".rstrip()
                found.append({"metric": name, "label": label, **plain_table(rows)})
    return found


def _restarts(trials: pd.DataFrame, epochs: pd.DataFrame) -> list[dict[str, Any]]:
    """The epochs at which the momentum of an arm's first longest confirmation run restarts."""
    found: list[dict[str, Any]] = []
    confirm = analysis.rows(epochs, "confirm")
    for arm in analysis.restarting(trials):
        own = confirm[confirm["arm"] == arm]
        if own.empty:
            continue
        longest = own.loc[own["epoch"] == own["epoch"].max(), "trial"].iloc[0]
        own = own[own["trial"] == longest]
        each = analysis.steps_per_epoch(own, str(own["trial"].iloc[0]))
        at = analysis.restart_steps(own.iloc[0], int(own["epoch"].max()) * each, each)
        if len(at) <= MOST_RESTARTS:
            found.append({"arm": arm, "epochs": [step / each for step in at]})
    return found


def _search(trials: pd.DataFrame, epochs: pd.DataFrame) -> dict[str, Any] | None:
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
            front.append({"arm": arm, **plain_table(rows)})
    return {
        "metric": metric,
        "label": f"{analysis.in_words(metric)} {column.unit}".rstrip(),
        "mode": mode,
        "knobs": {
            name: bool(ranges.get(name, {}).get("log")) for name in analysis.searched_knobs(trials)
        },
        "first_knobs": list(analysis.main_knobs(trials)),
        "best": _best(trials),
        "best_so_far": plain_table(
            best.rename(columns={f"best_{metric}": "best", metric: "value"})
        ),
        "curves": _search_curves(search, epochs, metric),
        "importance": importance(trials),
        "importance_about": ABOUT_IMPORTANCE,
        "front": front,
    }


def _search_curves(search: pd.DataFrame, epochs: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """The search metric at each epoch of the last search trials; of one report there is none."""
    if metric not in epochs:
        return []
    last = search[search["epochs_done"] > 1].tail(MOST_CURVES)
    own = analysis.rows(epochs, "search").sort_values("epoch")
    values = own.groupby("trial", sort=False)[metric].agg(list).to_dict()
    return [
        {"trial": row["trial"], "arm": row["arm"], "state": row["state"],
         "values": list(plain(dict(enumerate(values[row["trial"]]))).values())}
        for row in last[["trial", "arm", "state"]].to_dict("records")
        if row["trial"] in values
    ]  # fmt: skip


def _best(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """The best complete search trial of each arm so far, by the search metric."""
    metric, mode = analysis.search_goal(trials)
    search = analysis.rows(trials, "search").query("state == 'complete'")
    found = [analysis.best_trial(trials, arm, metric, mode) for arm in analysis.arms(search)]
    return [
        plain({"arm": row["arm"], "trial": row["trial"], "value": row[metric]}) for row in found
    ]


def _trials(trials: pd.DataFrame) -> dict[str, Any]:
    """Every trial with what distinguishes it: columns of one value are left out.

    First what a reader looks for: the state and its reason, the metrics that are judged by, and the
    knobs that were searched. ``shared`` are the knobs that all trials have in common.
    """
    schema = schema_of(trials)
    judged = (analysis.search_goal(trials)[0], analysis.confirm_metric(trials))
    searched = analysis.searched_knobs(trials)
    first = [*ALWAYS[:3], "search", *ALWAYS[3:5], "superseded", *judged, *searched]
    there = [str(name) for name in trials if name not in LEFT_OUT and trials[name].notna().any()]
    varies = {name for name in there if trials[name].map(str).nunique() > 1}
    known = {"knob", "outcome", "identity"}
    kept = [n for n in there if schema[n].role == "metric" or n in ALWAYS]
    kept += [n for n in there if n in varies and schema[n].role in known and n not in kept]
    kept = [*(n for n in dict.fromkeys(first) if n in kept), *(n for n in kept if n not in first)]
    shown = trials[kept].astype(object)
    # A knob of restarts says nothing of an arm that has none.
    without = ~trials["arm"].isin(analysis.restarting(trials))
    for name in kept:
        if name.startswith("restart_"):
            shown.loc[without, name] = None
    table = plain_table(shown)
    table["about"] = {n: f"{schema[n].doc}{f', {schema[n].unit}' * bool(schema[n].unit)}"
                      for n in kept}  # fmt: skip
    same = [n for n in there if schema[n].role == "knob" and n not in varies]
    table["shared"] = plain_table(trials[same].head(1))["rows"][0]
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
    """What can be typed, in any folder; without the record a study is not run again."""
    folder = folder.resolve()

    def command(verb: str, *words: object) -> str:
        return typed("srsgd-ray", verb, folder, *words, anywhere=True)

    found = {
        RERUN: command("rerun", "TRIAL"),
        "Its table as text": command("table"),
        "Its figures": command("figures"),
    }
    if contents is None:
        return found
    return {
        "Repeat the study": command("run", "--name", f"{contents.header['study']}-again"),
        "Resume it, or add to it": command("resume"),
        **found,
    }
