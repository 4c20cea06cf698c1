"""How often a verdict is false: studies whose true difference is known, put to the analysis.

    python benchmarks/verdicts.py [--studies 2000] [--only looks]

Each row of the table is one kind of study, simulated 2,000 times without a difference and 2,000
times with one. The runs are made up here; pairs, intervals, looks and verdicts are the product's
own (`srsgd_ray.analysis.compare`, which `srsgd_ray.analysis.confirmation` calls with the runs of
a trials table). The table stands in docs/verdicts.md, which explains its columns.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from srsgd_ray.analysis.compare import Comparison, arm_result, compare, decide
from srsgd_ray.analysis.images import two_way
from srsgd_ray.analysis.interval import estimate, share
from srsgd_ray.analysis.looks import look_level
from srsgd_ray.analysis.pairs import Run
from srsgd_ray.analysis.targets import median_ratio
from srsgd_ray.table import table

Values = npt.NDArray[np.float64]
# Random numbers, runs an arm -> values of (arms, runs): lower is better, NaN for a lost run. The
# last arm is the baseline. The true differences are 0 unless the kind says so.
Draw = Callable[[np.random.Generator, int], Values]


@dataclass(frozen=True)
class Kind:
    """A kind of study.

    Attributes:
        sizes: how many pairs (or searches) there are in all at each look; a study goes on to the
            next until there is a verdict.
        seeds: of each search, if searches are replicated.
        power: the difference at which the power is given, of the first arm.
        truth: the differences of all arms where the first has none of these.
        needed: whether later looks have as many pairs as the one before said are needed.
        complete: added to the truth over the pairs that are complete, if losses shift it.
        winners: of each arm, the chance that its search, which an extension continues, has another
            winner at the next look; that one is run over the seeds of all looks.
        loses: whether the first arm is worse without the difference, because it loses runs; then
            only a verdict in its favour is false.
    """

    name: str
    draw: Draw
    sizes: tuple[int, ...] = (8,)
    seeds: tuple[int, ...] = ()
    power: float = -1.5
    truth: tuple[float, ...] = (0.0,)
    needed: bool = False
    complete: float = 0.0
    winners: float = 0.0
    loses: bool = False


def normal(correlation: float = 0.0, arms: int = 2) -> Draw:
    """Normal runs of standard deviation 1; those of one seed have a part in common."""

    def draw(rng: np.random.Generator, runs: int) -> Values:
        own = math.sqrt(1 - correlation) * rng.normal(size=(arms, runs))
        values: Values = own + math.sqrt(correlation) * rng.normal(size=runs)
        return values

    return draw


def two_real(rng: np.random.Generator, runs: int) -> Values:
    """Five arms against one, two of them better by 2."""
    values = normal(0.0, 6)(rng, runs)
    values[1:3] -= 2.0
    return values


def discrete(rng: np.random.Generator, runs: int) -> Values:
    """Errors of 3 % on 360 test images: steps of 0.28 points, many equal."""
    return rng.binomial(360, 0.03, size=(2, runs)) / 3.6


def lognormal(rng: np.random.Generator, runs: int) -> Values:
    """Both arms skewed alike (skewness 1.75)."""
    return np.exp(rng.normal(scale=0.5, size=(2, runs)))


def gamma(rng: np.random.Generator, runs: int) -> Values:
    """One arm skewed (skewness 1), one normal, of equal mean and standard deviation."""
    return np.stack([(rng.gamma(4.0, size=runs) - 4.0) / 2.0, rng.normal(size=runs)])


def losing(ours: float, theirs: float, worst: bool = False) -> Draw:
    """Normal runs, some of them lost: by chance, or of the first arm those that would be worst."""

    def draw(rng: np.random.Generator, runs: int) -> Values:
        values = rng.normal(size=(2, runs))
        gone = rng.random(size=(2, runs)) < np.array([[ours], [theirs]])
        if worst:
            gone[0] = values[0] > ndtri(1 - ours)
        values[gone] = math.nan
        return values

    return draw


def searched(luck: float, seeds: tuple[int, ...], lost: float = 0.0) -> Draw:
    """Each search's winner has its own luck, the same for all its seeds."""

    def draw(rng: np.random.Generator, runs: int) -> Values:
        values = rng.normal(size=(2, runs))
        values += np.repeat(luck * rng.normal(size=(2, len(seeds))), seeds, axis=1)
        values[rng.random(size=values.shape) < lost] = math.nan
        return values

    return draw


def _cut(lost: float) -> float:
    """Mean of a standard normal value of which the highest share is lost."""
    return -math.exp(-(ndtri(1 - lost) ** 2) / 2) / math.sqrt(2 * math.pi) / (1 - lost)


UNEQUAL = (8, 2, 8, 2, 8)
KINDS = (
    Kind("normal, 3 pairs", normal(), (3,)),
    Kind("normal, 8 pairs", normal()),
    Kind("normal, 32 pairs", normal(), (32,), power=-0.75),
    Kind("correlated pairs (0.8)", normal(0.8), power=-0.75),
    Kind("360 test images, 5 pairs", discrete, (5,)),
    Kind("360 test images, 8 pairs", discrete),
    Kind("skewed, both arms", lognormal, power=-0.75),
    Kind("skewed, one arm", gamma),
    Kind("20 % lost by both, 8 pairs", losing(0.2, 0.2)),
    Kind("30 % and 5 % lost, 8 pairs", losing(0.3, 0.05), loses=True),
    Kind("30 % and 5 % lost, 32 pairs", losing(0.3, 0.05), (32,), loses=True),
    Kind("its worst 10 % lost, 8 pairs", losing(0.1, 0.0, True), complete=_cut(0.1),
         loses=True),
    Kind("its worst 10 % lost, 32 pairs", losing(0.1, 0.0, True), (32,), complete=_cut(0.1),
         loses=True),
    Kind("its worst 30 % lost, 32 pairs", losing(0.3, 0.0, True), (32,), complete=_cut(0.3),
         loses=True),
    Kind("2 searches of 8", searched(1.0, (8,) * 2), (2,), (8,) * 2, -3.0),
    Kind("5 searches of 8", searched(1.0, (8,) * 5), (5,), (8,) * 5, -3.0),
    Kind("5 searches of 8 or 2", searched(1.0, UNEQUAL), (5,), UNEQUAL, -3.0),
    Kind("5 searches of 8, 20 % lost", searched(1.0, (8,) * 5, 0.2), (5,), (8,) * 5, -3.0),
    Kind("10 searches of 4", searched(1.0, (4,) * 10), (10,), (4,) * 10, -2.0),
    Kind("looks at 8, 16, 32 pairs", normal(), (8, 16, 32), power=-0.75),
    Kind("looks at 5, 6, ... 20 pairs", normal(), tuple(range(5, 21)), power=-1.0),
    Kind("looks at 2, 4, 8, ... 64 pairs", normal(), (2, 4, 8, 16, 32, 64), power=-0.75),
    Kind("360 images, looks at 3, 6, 12, 24", discrete, (3, 6, 12, 24), power=-1.0),
    Kind("looks at the pairs needed", normal(), (8, 64), power=-0.75, needed=True),
    Kind("looks at 4, 6, ... 12 searches", searched(1.0, (4,) * 12), (4, 6, 8, 10, 12),
         (4,) * 12, -2.0),
    Kind("looks, 20 % lost by both", losing(0.2, 0.2), (8, 16, 32), power=-0.75),
    Kind("looks, its worst 10 % lost", losing(0.1, 0.0, True), (8, 16, 32), power=-0.75,
         complete=_cut(0.1), loses=True),
    Kind("8 pairs, searched on: other winners", normal(), (8, 8), winners=1.0),
    Kind("8 pairs, searched on: each other by 1/2", normal(), (8, 8), winners=0.5),
    Kind("the same, correlated pairs (0.8)", normal(0.8), (8, 8), power=-0.75, winners=0.5),
    Kind("the same three times", normal(), (8,) * 4, winners=0.5),
    Kind("searched on, and 8 to 16 pairs", normal(), (8, 16), winners=0.5),
    Kind("3 comparisons", normal(0.0, 4), truth=(0.0,) * 3),
    Kind("5 comparisons, 2 of them real", two_real, truth=(0.0, -2.0, -2.0, 0.0, 0.0)),
    Kind("3 comparisons, looks", normal(0.0, 4), (8, 16, 32), power=-0.75, truth=(0.0,) * 3),
)  # fmt: skip

# What the sentence about one search does not claim, judged as if it did.
ONE_SEARCH = Kind("1 search of 8, if it were about tuned arms", searched(1.0, (8,)), (1,), (8,))


def study(
    kind: Kind, rng: np.random.Generator, effect: float
) -> tuple[list[tuple[Run, ...]], tuple[Comparison, ...]]:
    """Simulate one study, look by look until there is a verdict: the runs by arm, and verdicts."""
    most = sum(kind.seeds) if kind.seeds else kind.sizes[-1]
    values = kind.draw(rng, most)
    values[0] += effect
    of_search = [s for s, count in enumerate(kind.seeds) for _ in range(count)]
    unit = np.array(of_search or range(most))
    sizes, since = list(kind.sizes[:1]), np.zeros((len(values), 1), dtype=int)
    while True:
        look = len(sizes) - 1
        if look and kind.winners:
            others = rng.random(len(values)) < kind.winners
            values[others] = kind.draw(rng, most)[others]
            values[0] += effect * others[0]
            since[others] = look
        by_arm = np.maximum(np.searchsorted(sizes, unit, side="right"), since)
        runs = [
            tuple(
                Run(int(unit[i]) * bool(kind.seeds), i, int(of_look[i]), float(row[i]),
                    "diverged" if math.isnan(row[i]) else "")
                for i in range(most) if of_look[i] <= look
            )
            for row, of_look in zip(values, by_arm, strict=True)
        ]  # fmt: skip
        many = len(kind.seeds)
        arms = [arm_result(str(n), own, 0.95, many > 1) for n, own in enumerate(runs)]
        found = decide(
            [compare(arm, arms[-1], count=len(arms) - 1, replicated=many or 1) for arm in arms[:-1]]
        )
        last = sizes[-1] >= kind.sizes[-1] and (kind.needed or len(sizes) == len(kind.sizes))
        if any(c.better for c in found) or last:
            return runs, found
        needed = found[0].pairs_needed or kind.sizes[-1:]
        sizes.append(min(needed[0], kind.sizes[-1]) if kind.needed else kind.sizes[look + 1])


def judge(kind: Kind, studies: int, effect: float) -> tuple[int, int, int, int]:
    """Of so many studies, how many have a false verdict, an interval, one that holds, and power.

    A study with several comparisons has a false verdict if one of them is false, and its
    intervals hold if all do.
    """
    rng = np.random.default_rng(zlib.crc32(f"{kind.name} {effect}".encode()))
    truth = [kind.truth[0] + effect, *kind.truth[1:]]
    false = shown = holds = found = 0
    for _ in range(studies):
        _, compared = study(kind, rng, effect)
        pairs = list(zip(compared, truth, strict=True))
        false += any(
            c.better is not None
            and (t == 0 or (c.better == c.arm) != (t < 0))
            and not (kind.loses and c.better == c.baseline)
            for c, t in pairs
        )
        if all(c.estimate.n > 1 for c in compared):
            shown += 1
            ends = [(c.estimate.low, t + kind.complete, c.estimate.high) for c, t in pairs]
            holds += all(low <= middle <= high for low, middle, high in ends)
        found += compared[0].better == compared[0].arm
    return false, shown, holds, found


def row(kind: Kind, studies: int) -> dict[str, object]:
    """The line of the table for one kind of study."""
    false, shown, holds, _ = judge(kind, studies, 0.0)
    _, _, _, found = judge(kind, studies, kind.power)
    chance = share([false], [studies])
    return {
        "kind of study": kind.name,
        "false verdicts %": f"{100 * false / studies:.1f}",
        "95 % interval": f"{100 * chance.low:.1f} to {100 * chance.high:.1f}",
        "coverage %": f"{100 * holds / max(1, shown):.1f}",
        "difference": f"{abs(kind.power):g}",
        "power %": f"{100 * found / studies:.0f}",
    }


@dataclass(frozen=True)
class Images:
    """A kind of study whose test images are drawn too, judged by the interval over both.

    A run is wrong about an image where a sum of normal effects is above a bound: how hard the image
    is (standard deviation 1), how hard for this arm, the luck of the run, that of its search if
    there are several, and the rest.

    Attributes:
        wrong: share of wrong images of the baseline, and of the arm without a difference.
        arm, run, rest: standard deviations of these effects; a search's is that of a run.
        power: the difference in % of images at which the power is given.
    """

    name: str
    pairs: int = 8
    images: int = 360
    wrong: float = 0.025
    arm: float = 0.3
    run: float = 0.05
    rest: float = 0.5
    searches: int = 0
    power: float = 1.0

    def draw(self, rng: np.random.Generator, gain: float) -> Values:
        """Differences in %, one row a pair (or a search), one column an image."""
        luck_of_search = self.run if self.searches else 0.0
        size = math.hypot(1.0, self.arm, self.run, luck_of_search, self.rest)
        hard, sides = rng.normal(size=self.images), []
        for share_wrong in (self.wrong - gain / 100, self.wrong):
            luck = self.run * rng.normal(size=self.pairs)
            if self.searches:
                of_search = luck_of_search * rng.normal(size=self.searches)
                luck += np.repeat(of_search, self.pairs // self.searches)
            total = hard + self.arm * rng.normal(size=self.images) + luck[:, None]
            total = total + self.rest * rng.normal(size=(self.pairs, self.images))
            sides.append(total > -size * ndtri(share_wrong))
        wrong = 100.0 * (sides[0].astype(float) - sides[1])
        found: Values = wrong.reshape(self.searches or self.pairs, -1, self.images).mean(1)
        return found


IMAGES = (
    Images("360 images, 8 pairs"),
    Images("360 images, 3 pairs", 3, wrong=0.1, power=4.0),
    Images("2,000 images, 8 pairs", images=2000, wrong=0.05),
    Images("arms differ by image alone", arm=1.0, run=0.0, rest=0.1),
    Images("arms differ by run alone", arm=0.0, run=0.2),
    Images("360 images, 5 searches of 4", 20, run=0.2, searches=5, power=2.0),
)


def images_row(kind: Images, studies: int) -> dict[str, object]:
    """The line of the table for one kind of study with drawn images, at the first look's level."""
    rng = np.random.default_rng(zlib.crc32(kind.name.encode()))
    level = look_level(0.95, 0)
    false = alone = holds = found = 0
    for _ in range(studies):
        drawn = kind.draw(rng, 0.0)
        over, seeds = two_way(drawn, level), estimate(drawn.mean(1).tolist(), level)
        false += over.low * over.high > 0
        alone += seeds.low * seeds.high > 0
        over = two_way(kind.draw(rng, kind.power), level)
        holds += over.low <= -kind.power <= over.high
        found += over.high < 0
    chance = share([false], [studies])
    return {
        "kind of study": kind.name,
        "false verdicts %": f"{100 * false / studies:.1f}",
        "95 % interval": f"{100 * chance.low:.1f} to {100 * chance.high:.1f}",
        "over seeds alone %": f"{100 * alone / studies:.1f}",
        "coverage %": f"{100 * holds / studies:.1f}",
        "difference": f"{kind.power:g}",
        "power %": f"{100 * found / studies:.0f}",
    }


def target_row(pairs: int, studies: int, final: bool) -> dict[str, object]:
    """The line for times to a target: the mean final value of the baseline, or an earlier one.

    Errors fall to 2 % in 40 epochs, with noise of 0.3 points an epoch and a run; an arm that is
    faster takes 0.7 times as long.
    """
    rng = np.random.default_rng(pairs + 1000 * final)
    level = look_level(0.95, 0)
    said = {}
    for factor in (1.0, 0.7):
        told = 0
        for _ in range(studies):
            sides = []
            for pace in (factor, 1.0):
                falls = 2 + 20 * np.exp(-np.arange(1, 41) / (10 * pace))
                noise = rng.normal(size=(pairs, 1)) + rng.normal(size=(pairs, 40))
                sides.append(falls + 0.3 * noise)
            target = sides[1][:, -1].mean() if final else 4.0
            met = [side <= target for side in sides]
            times = [np.where(m.any(1), m.argmax(1) + 1.0, math.inf) for m in met]
            made = pd.DataFrame({"time": times[0], "time_rival": times[1], "search": 0})
            _, low, high, _ = median_ratio(made, level)
            told += high < 1 if factor < 1 else not low <= 1 <= high
        said[factor] = told
    chance = share([said[1.0]], [studies])
    what = "the baseline's mean final error" if final else "an error of 4 %"
    return {
        "kind of study": f"epochs to {what}, {pairs} pairs",
        "false verdicts %": f"{100 * said[1.0] / studies:.1f}",
        "95 % interval": f"{100 * chance.low:.1f} to {100 * chance.high:.1f}",
        "power % at ratio 0.7": f"{100 * said[0.7] / studies:.0f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--format", default="text", help="text or markdown")
    given = parser.parse_args()
    rows = [row(kind, given.studies) for kind in KINDS if given.only in kind.name]
    if rows:
        print(table(pd.DataFrame(rows), given.format))
    drawn = [images_row(kind, given.studies) for kind in IMAGES if given.only in kind.name]
    if drawn:
        print("\nThe interval over seeds and images, of studies whose images are drawn too:\n")
        print(table(pd.DataFrame(drawn), given.format))
    if given.only in "epochs to a target":
        print("\nThe interval of the median ratio of times to a target:\n")
        timed = [target_row(n, given.studies, final) for n in (8, 20) for final in (False, True)]
        print(table(pd.DataFrame(timed), given.format))
    if not given.only:
        print("\nFor comparison, what the sentence about one search does not claim:\n")
        print(table(pd.DataFrame([row(ONE_SEARCH, given.studies)]), given.format))


if __name__ == "__main__":
    main()
