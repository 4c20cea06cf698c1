"""A study that goes on as another one: what a resume takes in, and what an extension does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.results import Record, RecordError, TrialRecord, columns_to_plain
from srsgd_ray.results.contents import Contents
from srsgd_ray.study.arm import Arm, params_in
from srsgd_ray.study.confirming import name_selected
from srsgd_ray.study.samplers import unlike
from srsgd_ray.study.spec import Study

MORE = ("confirm_seeds", "searches")  # may be more when a study is resumed
FIELDS_OF_ARMS = ("space", "fixed", "against", "trials", "confirm_seeds", "enqueue")


@dataclass(frozen=True)
class Growth:
    """What a recorded study goes on as.

    Attributes:
        study: from here on.
        taken: a line about each difference.
        remarks: in what it is not as if it had been so from the start.
        outside: search trials that a changed space does not hold; None: no space was changed.
    """

    study: Study
    taken: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    outside: list[str] | None = None

    def foreseen(self, contents: Contents) -> Contents:
        """The contents as they will be once a changed space is noted: a plan counts by them."""
        if self.outside is not None:
            contents.header = {**contents.header, "outside": list(self.outside)}
        return contents

    def note(self, record: Record, script: Mapping[str, Any]) -> None:
        """Let the record of the study say it, if it is anything; ``script``: see its header."""
        spec, recorded = self.study.to_dict(), record.contents.header["spec"]
        if recorded != spec:
            name_selected(Study.from_dict(recorded), record)
            columns = columns_to_plain(self.study.columns())
            record.extend(spec, columns, dict(script), self.remarks, self.outside)
        for trial in record.contents.header.get("outside", ()):
            if record.trials[trial].end is None:
                record.end(trial, "failed", "the changed space does not hold it")


def edited(study: Study, header: Mapping[str, Any]) -> Study:
    """The recorded study with what was changed in its script since.

    Args:
        study: as the script has it now, before any option of the command line.
        header: of the record: ``spec``, what was run, and ``script``, what the script had then.
    """
    recorded = Study.from_dict(header["spec"])
    then = header.get("script")
    if then is None:
        return dataclasses.replace(recorded, question=study.question, folder=study.folder)
    now = study.to_dict()
    changed = {k for k in now if k != "arms" and now[k] != then.get(k)}
    fields = {f.name for f in dataclasses.fields(Study)} - {"arms", "place", "folder"}
    changes: dict[str, Any] = {k: getattr(study, k) for k in changed if k in fields}
    was = {arm["name"]: arm for arm in then["arms"]}
    theirs = {arm.name: arm for arm in recorded.arms}
    arms = [arm for arm in recorded.arms if arm.name not in was]
    for arm, plain in zip(study.arms, now["arms"], strict=True):
        # An arm that an option had left out stays out.
        if arm.name not in was or arm.name in theirs:
            arms.append(theirs[arm.name] if plain == was.get(arm.name) else arm)
    order = {name: place for place, name in enumerate(theirs)}
    arms.sort(key=lambda arm: order.get(arm.name, len(order)))
    return dataclasses.replace(recorded, **changes, arms=tuple(arms), folder=study.folder)


def extended(
    study: Study, contents: Contents, folder: object, extend: bool = False, respace: bool = False
) -> Growth:
    """What a recorded study goes on as, if it is resumed or extended as ``study``.

    Args:
        study: as it is now.
        contents: of its record.
        folder: of it, for messages.
        extend: whether its searches may continue after the confirmation began.
        respace: whether the space of an arm may change.

    Raises:
        RecordError: naming each difference that cannot be, with both values and the reason.
    """
    confirming = any(trial.phase == "confirm" for trial in contents.trials.values())
    recorded = Study.from_dict(contents.header["spec"])
    kept = _kept(recorded, contents)
    taken = [f"{name} stays {was!r}, the default when it began" for name, was in kept.items()
             if name not in recorded.base]  # fmt: skip
    study, recorded = (dataclasses.replace(s, base={**kept, **s.base}) for s in (study, recorded))
    if study.confirm_seed is None and recorded.confirm_seed == recorded.seed + 1:
        # Begun by a version that had no hashes.
        study = dataclasses.replace(study, confirm_seed=recorded.confirm_seed)
    if recorded.until_decided is not None:  # what it has grown to stays
        study = dataclasses.replace(
            study,
            confirm_seeds=max(study.confirm_seeds, recorded.confirm_seeds),
            searches=max(study.searches, recorded.searches),
        )
    refused, respaced = [], set()
    for what, was, now in _differences(recorded, study):
        grows = isinstance(was, int) and isinstance(now, int) and now > was
        arm, _, part = what.rpartition(": ")
        changed = f"{what} was {_short(was)} and is now {_short(now)}"
        if what in ("question", "until_decided"):
            taken.append(f"{what}: {now}")
        elif isinstance(now, Arm):
            taken.append(f"{what} is new")
        elif isinstance(was, Arm):
            refused.append(f"{what} is gone")
        elif grows and what.endswith((*MORE, "trials") if extend or not confirming else MORE):
            taken.append(f"{what}: {was} before, {now} now")
        elif grows and what.endswith("trials"):
            refused.append(
                f"{changed}, but the confirmation has begun: a search that continues after the "
                f"test data were read makes the study's next look at them, so ask for that with "
                f"--extend"
            )
        elif part == "space" or (part == "fixed" and arm in respaced):
            respaced.add(arm)
            if respace:
                taken.append(changed)
            elif part == "space":
                refused.append(
                    f"{changed}; --extend --changed-space continues in the new space, and keeps "
                    f"the trials that fit it"
                )
        else:
            refused.append(changed)
    if refused:
        raise RecordError(
            f"{folder} holds another study: {'; '.join(refused)}. Resume it as it was, or choose "
            f"another --name."
        )
    if respaced and study.searcher == "grid":
        raise RecordError(
            "a grid is searched point by point, and one of another space has other points: "
            "choose another --name for it."
        )
    outside = None
    if respaced:
        tried = [t for t in contents.trials.values() if t.phase == "search"]
        fits = {t.trial for t in tried if f"arm {t.arm!r}" not in respaced or holds(study, t)}
        outside = [t.trial for t in tried if t.trial not in fits]
        taken.append(f"{len(fits)} of {len(tried)} search trials fit, and are kept")
    return Growth(study, taken, _remarks(recorded, study, outside), outside)


def _kept(recorded: Study, contents: Contents) -> dict[str, Any]:
    """Knobs whose default was another when the study began, with that one.

    Else some of its trials would be computed otherwise than the rest.
    """
    fields = dataclasses.fields(recorded.work.Config)
    former = {f.name: f.metadata["before"] for f in fields if f.metadata.get("before") is not None}
    for arm in recorded.arms:
        former = {k: v for k, v in former.items() if k not in arm.searched.ranges}
    return {
        name: was
        for name, was in former.items()
        if any(
            trial.config.get(name) == was and name not in recorded.arm(trial.arm).fixed
            for trial in contents.trials.values()
        )
    }


def _remarks(recorded: Study, study: Study, outside: list[str] | None) -> list[str]:
    """In what the searches are not as if they had been so from the start, once each."""
    found = []
    names = {arm.name for arm in recorded.arms}
    for arm in study.arms:
        before = recorded.trials_of(arm.name) if arm.name in names else 0
        if 0 < before < study.trials_of(arm.name):
            found.append(unlike(study.searcher, before, study.trials_of(arm.name)))
    if outside is not None:
        found.append(
            f"The search space was changed when the study had begun: {len(outside)} earlier trials "
            f"outside of the new one count no more, and what was found in the old one chose it."
        )
    return list(dict.fromkeys(filter(None, found)))


def holds(study: Study, trial: TrialRecord) -> bool:
    """Whether a search trial is one that the study's spaces could propose."""
    found = params_in(study.arm(trial.arm).searched, study.fixed_of(trial.arm), trial.config)
    if found is None:
        return False
    now = json.loads(json.dumps(study.plain(trial.arm, found, trial.search)))
    was = json.loads(json.dumps(trial.config))
    return all(now[name] == was[name] for name in now if name in was)


def grown(study: Study, table: Callable[[], pd.DataFrame]) -> Study | None:
    """A finished study with twice as many pairs, up to ``until_decided``.

    None if all comparisons are decided, or there are as many pairs already.
    """
    if study.until_decided is None or study.pairs >= study.until_decided:
        return None
    trials = table()
    found = analysis.confirmation(trials, analysis.baselines(trials))
    if all(comparison.lower is not None for comparison in found.comparisons):
        return None
    pairs = min(2 * study.pairs, study.until_decided)
    if study.searches > 1:
        return dataclasses.replace(study, searches=pairs)
    return dataclasses.replace(study, confirm_seeds=pairs)


def _differences(recorded: Study, study: Study) -> Iterator[tuple[str, Any, Any]]:
    """What differs, and both values; an arm that only one of them has stands for itself."""
    mine, theirs = study.to_dict(), recorded.to_dict()
    for key, now in mine.items():
        if key not in ("arms", "trainable_folder") and now != theirs.get(key):
            yield key, theirs.get(key), now
    then, arms = ({arm.name: arm for arm in s.arms} for s in (recorded, study))
    for name in {**then, **arms}:
        if name not in then or name not in arms:
            yield f"arm {name!r}", then.get(name), arms.get(name)
            continue
        for what in FIELDS_OF_ARMS:
            was, now = _plain(then[name], what), _plain(arms[name], what)
            if was == now:
                continue
            if what == "space":  # what differs of it, or both would be cut off before that
                was, now = ({k: v for k, v in a.items() if b.get(k) != v} for a, b in
                            ((was, now), (now, was)))  # fmt: skip
            yield f"arm {name!r}: {what}", was, now


def _plain(arm: Arm, what: str) -> Any:
    if what == "space":
        limits = {
            f"{name} only where": {other: list(allowed) for other, allowed in of.items()}
            for name, of in arm.searched.conditions.items()
        }
        return {name: str(spread) for name, spread in arm.searched.ranges.items()} | limits
    value = getattr(arm, what)
    if isinstance(value, Mapping):
        return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}
    return [dict(point) for point in value] if what == "enqueue" else value


def _short(value: Any) -> str:
    text = str(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
