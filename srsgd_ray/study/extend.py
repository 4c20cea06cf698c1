"""A study that is resumed by an edited script: what is taken in, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from srsgd_ray.results import RecordError
from srsgd_ray.results.record import Contents
from srsgd_ray.study.spec import Arm, Study

__all__ = ["edited", "extended"]

# What the command line may set: a resumed study keeps it, whatever the script's default is.
COSMETIC = ("question", "trainable_folder")
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
        if arm.name not in was or (plain != was[arm.name] and arm.name in theirs):
            arms.append(arm)
        elif arm.name in theirs:
            arms.append(theirs[arm.name])
    gone = [arm for name, arm in theirs.items() if name not in {a.name for a in arms}]
    kept = [arm for arm in gone if arm.name not in was]
    order = [arm.name for arm in recorded.arms]
    arms = sorted([*arms, *kept], key=lambda a: order.index(a.name) if a.name in order else 999)
    return dataclasses.replace(recorded, **changes, arms=tuple(arms), folder=study.folder)


def extended(study: Study, contents: Contents, folder: object) -> tuple[Study, list[str]]:
    """Whether a recorded study can go on as ``study``, and what is new in it.

    Returns:
        The study that goes on, and a line about each difference that was taken in.

    Raises:
        RecordError: naming each difference that cannot be, with both values and the reason.
    """
    recorded = Study.from_dict(contents.header["spec"])
    mine, theirs = study.to_dict(), recorded.to_dict()
    confirming = any(trial.phase == "confirm" for trial in contents.trials.values())
    taken: list[str] = []
    refused: list[str] = []

    def judge(what: str, was: Any, now: Any) -> None:
        grows = isinstance(was, int) and isinstance(now, int) and now > was
        if (what.endswith("confirm_seeds") and grows) or (
            what.endswith("trials") and grows and not confirming
        ):
            taken.append(f"{what}: {was} before, {now} now")
        elif grows and what.endswith("trials"):
            refused.append(
                f"{what} was {was} and is now {now}, but the confirmation has begun: a search that "
                f"goes on after the test data were read is none"
            )
        else:
            refused.append(f"{what} was {_short(was)} and is now {_short(now)}")

    for key, now in mine.items():
        was = theirs.get(key)
        if key == "arms" or now == was:
            continue
        if key in COSMETIC:
            if key == "question":
                taken.append(f"question: {now}")
            continue
        judge(key, was, now)
    _judge_arms(recorded, study, judge, taken, refused)
    if refused:
        raise RecordError(
            f"{folder} holds another study: {'; '.join(refused)}. Resume it as it was, or choose "
            f"another --name."
        )
    return study, taken


def _judge_arms(
    recorded: Study, study: Study, judge: Any, taken: list[str], refused: list[str]
) -> None:
    then, now = ({arm.name: arm for arm in s.arms} for s in (recorded, study))
    for name in then:
        if name not in now:
            refused.append(f"arm {name!r} is gone")
    for name, arm in now.items():
        if name not in then:
            taken.append(f"arm {name!r} is new")
            continue
        for field in FIELDS_OF_ARMS:
            a, b = _plain(then[name], field), _plain(arm, field)
            if a != b:
                judge(f"arm {name!r}: {field}", a, b)


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
