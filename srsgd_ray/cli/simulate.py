"""``srsgd-ray simulate``: what another search would have made of a study's recorded trials."""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import optuna
import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.analysis.interval import share
from srsgd_ray.knobs import one_of
from srsgd_ray.progress import Progress, duration
from srsgd_ray.results import read_epochs, read_trials, schema_of
from srsgd_ray.study.recorded import Recorded, recorded
from srsgd_ray.study.simulate import Design, simulate
from srsgd_ray.table import FORMATS, table

WIDTH = 100
ABOUT = (
    "Intervals (95 %) hold what the order of these trials does, not that another recording would "
    "hold others. Times are those of the recorded epochs: what lies between trials is not in them."
)


def simulate_verb(given: argparse.Namespace) -> None:
    """Print, arm by arm, what simulated searches find, and what they spend."""
    one_of("format", given.format, FORMATS)
    if given.searches < 2:
        raise ValueError(f"--searches must be at least 2, but got {given.searches}.")
    design = Design(
        given.searcher, given.scheduler, given.trials, given.epochs, given.slots, given.grace,
        given.reduction,
    )  # fmt: skip
    design.check()
    trials, epochs = read_trials(given.folder), read_epochs(given.folder)
    arms = [arm for arm in analysis.arms(trials) if len(analysis.rows(trials, "search", arm))]
    if given.arm is not None:
        one_of("arm", given.arm, arms)
        arms = [given.arm]
    if not arms:
        raise ValueError(f"only a search can be simulated, but {given.folder} has none.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it logs each study that is made
    known = [recorded(trials, epochs, arm) for arm in arms]
    unit = schema_of(trials)[known[0].metric].unit
    with Progress(sys.stderr) as progress:
        found = [Found(one, design, given.searches, progress) for one in known]
    if given.format == "csv":
        print(table(pd.concat([each.frame() for each in found]), "csv"))
        return
    for each in found:
        print(each.text(unit, given.format), end="\n\n")
    print(textwrap.fill(ABOUT, WIDTH) if given.format == "text" else ABOUT)


class Found:
    """What simulated searches of one arm found: as asked, and a plain one for the same epochs.

    The latter takes the trials in random order, each to its end, and spends in each search as many
    epochs as the one that was asked for: that is the fair comparison.
    """

    def __init__(self, known: Recorded, design: Design, searches: int, progress: Progress) -> None:
        self.known, self.design = known, design
        self.asked = self._searched([design] * searches, f"{known.arm}: {design}", progress)
        plain = [
            Design(trials=len(known.trials), epochs=int(spent), slots=design.slots)
            for spent in self.asked["epochs"]
        ]
        self.plain = self._searched(plain, f"{known.arm}: the same epochs at random", progress)

    def _searched(self, designs: Sequence[Design], name: str, progress: Progress) -> pd.DataFrame:
        found: list[dict[str, Any]] = []
        for seed, design in enumerate(designs):
            found += simulate(self.known, design, [seed])
            done = seed + 1
            text = f"{name}: {done} of {len(designs)} searches"
            progress.show((text, done, len(designs)), name, last=done == len(designs))
        return pd.DataFrame(found)

    def frame(self) -> pd.DataFrame:
        """Every simulated search: ``arm``, ``search`` (asked or plain), and what it came to."""
        parts = [self.asked.assign(search=str(self.design)), self.plain.assign(search="plain")]
        frame = pd.concat(parts, ignore_index=True)
        frame.insert(0, "arm", self.known.arm)
        return frame

    def text(self, unit: str, form: str) -> str:
        """Both as a table, and the difference between them as a sentence."""
        known, digits = self.known, ".2f" if unit == "%" else ".4g"
        what = f"{analysis.in_words(known.metric)}{f' {unit}' * bool(unit)}"
        lines = []
        for name, found in ((str(self.design), self.asked), ("plain, as many epochs", self.plain)):
            hit = int((found["worse"] <= 0).sum())
            apart = analysis.estimate([x for x in found["worse"] if not math.isnan(x)])
            chance = share([hit], [len(found)])
            lines.append({
                "search": name,
                "trials": f"{found['trials'].mean():.3g}",
                "epochs": f"{found['epochs'].mean():.4g}",
                "of all": f"{100 * found['epochs'].mean() / known.epochs:.0f} %",
                "best found": f"{100 * hit / len(found):.0f} % "
                f"({100 * chance.low:.0f} to {100 * chance.high:.0f})",
                f"{what} worse by": f"{apart.mean:{digits}} ({apart.low:{digits}} to "
                f"{apart.high:{digits}})",
                "time": duration(found["seconds"].mean()),
            })  # fmt: skip
        arm = analysis.arm_label(known.arm)
        best = f"{known.names[known.best]}, {what} {known.value(known.best):{digits}}"
        left = "".join(f"; {n} {state} left out" for state, n in known.left_out.items())
        title = (
            f"{arm}: {len(known.trials)} recorded trials, {known.epochs} epochs{left}; best "
            f"{best}; {len(self.asked)} simulated searches a row, slots: {self.design.slots}."
        )
        shown, said = table(pd.DataFrame(lines), form, align="lr"), self._difference(digits, unit)
        filled = (textwrap.fill(text, WIDTH) if form == "text" else text for text in (title, said))
        return "\n\n".join((next(filled), shown, next(filled)))

    def _difference(self, digits: str, unit: str) -> str:
        name, arm = str(self.design), analysis.arm_label(self.known.arm)
        none = self.asked["worse"].isna() | self.plain["worse"].isna()
        apart = analysis.estimate(list((self.asked["worse"] - self.plain["worse"])[~none]))
        if name == str(Design()):
            return f"{arm}: that is the plain search itself."
        points = " points" if unit == "%" else f" {unit}" if unit else ""
        left = f" {int(none.sum())} pairs in which one found nothing are left out." * bool(
            none.any()
        )
        if not apart.n:
            return f"{arm}: in no pair of searches did both find anything."
        if apart.low <= 0 <= apart.high:
            words = "cannot be told from"
        else:
            words = "ends worse than" if apart.mean > 0 else "ends better than"
        return (
            f"{arm}: {name} {words} plain random search with as many epochs; difference "
            f"{apart.mean:{digits}}{points} ({apart.low:{digits}} to {apart.high:{digits}}), "
            f"n = {apart.n} pairs.{left}"
        )
