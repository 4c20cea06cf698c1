"""Performance profiles: how often an arm is the fastest over several studies, or how near to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_high

import pandas as pd

from srsgd_ray.analysis.rows import arms
from srsgd_ray.analysis.targets import BASELINE, target_metric, targets_of, times_to_target

MOST = 4.0  # ratio up to which AlgoPerf integrates the profile


@dataclass(frozen=True)
class Profile:
    """Performance profiles of arms over studies.

    Attributes:
        times: one row for each study and arm: ``study``, ``metric``, ``target``, ``arm``, ``time``
            (median over the confirmation runs; inf if half of them or more miss) and ``ratio`` to
            the study's fastest arm (inf for a miss).
        cost: what the times count: epochs, steps or seconds.
    """

    times: pd.DataFrame
    cost: str

    @property
    def unmet(self) -> str:
        """Which studies no arm meets the target of, as a sentence; empty if there is none."""
        best = self.times.groupby("study", sort=False)["time"].min()
        named = [str(study) for study in best[best == math.inf].index]
        if not named:
            return ""
        if len(named) == len(best):
            return (
                "No arm meets its target in any of the studies: shares and scores are 0, and say "
                "nothing of the arms. Set a target that some meet."
            )
        return (
            f"No arm meets the target in {', '.join(named)}: that counts as a miss of every arm, "
            f"so that no share reaches 1."
        )

    def curve(self, arm: str) -> pd.DataFrame:
        """The profile of an arm: ``ratio``, and the ``share`` of studies with that or less."""
        ratios = self.times.loc[self.times["arm"] == arm, "ratio"]
        at = sorted({1.0, *ratios[ratios < math.inf]})
        return pd.DataFrame({"ratio": at, "share": [float((ratios <= r).mean()) for r in at]})

    @property
    def scores(self) -> pd.Series[float]:
        """Mean height of each arm's profile over the ratios from 1 to 4: AlgoPerf's score."""
        gained = (MOST - self.times["ratio"].clip(upper=MOST)) / (MOST - 1)
        return gained.groupby(self.times["arm"], sort=False).mean()


def performance_profile(
    studies: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    target: float | str = BASELINE,
    metric: str | None = None,
    cost: str = "epochs",
) -> Profile:
    """Performance profiles over several studies, of the arms that all of them have.

    Source: Dolan and Moré (Mathematical Programming 91, 2002): for each arm the share of problems
    that it solves in at most so many times what the best one takes. As in AlgoPerf (Dahl et al.,
    arXiv 2306.07179) an arm's time on a study is the median over its runs, here the higher of two
    middle ones, and a miss is infinite.

    Args:
        studies: the tables of epochs and of trials of each study, by its name.
        target, metric, cost: see :func:`srsgd_ray.analysis.to_target`; of a study with several
            baselines the target is that of its first arm.

    Raises:
        ValueError: if fewer than two arms are common to all studies, or as for a study alone.
    """
    names = [arms(trials) for _, trials in studies.values()]
    common = [arm for arm in names[0] if all(arm in own for own in names)] if names else []
    if len(common) < 2:
        raise ValueError(
            f"performance profiles need two arms that all studies have, but got "
            f"{', '.join(common) or 'none'}. Name studies whose arms have the same names."
        )
    parts = []
    for name, (epochs, trials) in studies.items():
        own = target_metric(epochs, trials, metric)
        value = next(iter(targets_of(trials, own, target).values()))
        found = times_to_target(epochs, trials, value, own, cost).dropna(subset="time")
        times = {arm: [*found.loc[found["arm"] == arm, "time"]] or [math.inf] for arm in common}
        spent = pd.Series({arm: median_high(own) for arm, own in times.items()}, name="time")
        best = spent.min()
        ratio = (spent / best).where(spent < math.inf, math.inf)
        part = pd.DataFrame({"arm": spent.index, "time": [*spent], "ratio": [*ratio]})
        parts.append(part.assign(study=name, metric=own, target=value))
    table = pd.concat(parts, ignore_index=True)
    return Profile(table[["study", "metric", "target", "arm", "time", "ratio"]], cost)
