"""A study that is resumed by an edited script: what is taken in, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.results import RecordError
from srsgd_ray.results.record import Contents
from srsgd_ray.study.arm import Arm
from srsgd_ray.study.spec import Study

MORE = ("confirm_seeds", "searches")  # may be more when a study is resumed
FIELDS_OF_ARMS = ("space", "fixed", "against", "trials", "confirm_seeds", "enqueue")


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


def extended(study: Study, contents: Contents, folder: object) -> tuple[Study, list[str]]:
    """Whether a recorded study can be resumed as ``study``, and what is new in it.

    Returns:
        The study that is resumed, and a line about each difference that was taken in.

    Raises:
        RecordError: naming each difference that cannot be, with both values and the reason.
    """
    confirming = any(trial.phase == "confirm" for trial in contents.trials.values())
    recorded = Study.from_dict(contents.header["spec"])
    if study.confirm_seed is None and recorded.confirm_seed == recorded.seed + 1:
        # Begun by a version that had no hashes.
        study = dataclasses.replace(study, confirm_seed=recorded.confirm_seed)
    if recorded.until_decided is not None:  # what it has grown to stays
        study = dataclasses.replace(
            study,
            confirm_seeds=max(study.confirm_seeds, recorded.confirm_seeds),
            searches=max(study.searches, recorded.searches),
        )
    taken, refused = [], []
    for what, was, now in _differences(recorded, study):
        grows = isinstance(was, int) and isinstance(now, int) and now > was
        if what in ("question", "until_decided"):
            taken.append(f"{what}: {now}")
        elif isinstance(now, Arm):
            taken.append(f"{what} is new")
        elif isinstance(was, Arm):
            refused.append(f"{what} is gone")
        elif grows and what.endswith(MORE if confirming else (*MORE, "trials")):
            taken.append(f"{what}: {was} before, {now} now")
        elif grows and what.endswith("trials"):
            refused.append(
                f"{what} was {was} and is now {now}, but the confirmation has begun: no search may "
                f"continue after the test data were read"
            )
        else:
            refused.append(f"{what} was {_short(was)} and is now {_short(now)}")
    if refused:
        raise RecordError(
            f"{folder} holds another study: {'; '.join(refused)}. Resume it as it was, or choose "
            f"another --name."
        )
    return study, taken


def grown(study: Study, trials: pd.DataFrame) -> Study | None:
    """A finished study with twice as many pairs, up to ``until_decided``.

    None if all comparisons are decided, or there are as many pairs already.
    """
    if study.until_decided is None or study.pairs >= study.until_decided:
        return None
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
        for field in FIELDS_OF_ARMS:
            was, now = _plain(then[name], field), _plain(arms[name], field)
            if was != now:
                yield f"arm {name!r}: {field}", was, now


def _plain(arm: Arm, field: str) -> Any:
    if field == "space":
        return arm.searched.to_dict()["ranges"] | arm.searched.to_dict().get("conditions", {})
    value = getattr(arm, field)
    if isinstance(value, Mapping):
        return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}
    return [dict(point) for point in value] if field == "enqueue" else value


def _short(value: Any) -> str:
    text = str(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
