"""Curves of the quadratic: a few microseconds an iteration, and the same bit for bit always."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from srsgd_ray.trainables.quadratic_problem import (
    CASES,
    MINIMUM,
    SIZE,
    STEP_SIZE,
    Floats,
    QuadraticConfig,
    momenta,
    noise_deviation,
)

TARGET = 1e-10  # of the exact case: the gap whose reaching counts
BLOCK = 64  # steps whose noise is drawn, and whose gaps are taken, at a time, of one curve


def _generator(seed: int, case: str) -> np.random.Generator:
    """The noise of one run depends on (seed, case) alone.

    All methods see the same noise at the same seed, so that their differences are pairs.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, list(CASES).index(case)]))


def _value(x: Floats, px: Floats) -> Floats:
    """f of each row, from x and Px."""
    product: Floats = np.einsum("ij,ij->i", x, px)
    return product * 0.5 - x[:, 0]


class _Adaptive:
    """ARNAG's count during a run: it starts again after a step that raised f.

    Args:
        states: the array that an even step makes, and that of an odd one: (seeds, SIZE).
        factors: takes the momentum of every step: (steps, seeds).
    """

    def __init__(self, states: Sequence[Floats], factors: Floats) -> None:
        self._factors = factors
        self._count, self._value = np.zeros((2, len(states[0])))
        self._px = np.empty(states[0].shape)
        self._states = [(x, x[:, :-1], x[:, 1:], x[:, 0]) for x in states]
        self._left, self._right = self._px[:, :-1], self._px[:, 1:]

    def update(self, step: int) -> None:
        """Set the momentum of the step that has just made its state."""
        count = self._count
        np.divide(count, count + 3.0, self._factors[step])
        x, x_left, x_right, x_first = self._states[step % 2]
        np.multiply(x, 2.0, self._px)
        np.subtract(self._right, x_left, self._right)
        np.subtract(self._left, x_right, self._left)
        reached = np.einsum("ij,ij->i", x, self._px)
        reached *= 0.5
        reached -= x_first
        count += 1.0
        count[reached > self._value] = 0.0
        self._value = reached


def run(configs: Sequence[QuadraticConfig], seeds: Sequence[int] = (0,)) -> Floats:
    """Run several methods over several seeds, all at once.

    All see the same noise at the same seed, so it is drawn once. A curve is the same bit for bit,
    whatever runs with it.

    Args:
        configs: what is run: of one case, and of as many iterations.
        seeds: of the noise, each at least 0. The exact case has none: its seeds are equal.

    Returns:
        The gaps |f(y_k) - f*| before each step: (configurations, seeds, iterations).

    Raises:
        ValueError: for configurations of more than one case or length.
    """
    if len({(config.case, config.iterations) for config in configs}) != 1:
        raise ValueError("curves that run together must have one case and as many iterations.")
    case, steps = configs[0].case, configs[0].iterations
    generators = [_generator(seed, case) for seed in seeds]
    shape = (len(configs), len(seeds))
    rows = shape[0] * shape[1]
    # The step size is a power of two: scaling by it is exact, whenever it is done.
    deviations = STEP_SIZE * np.array([noise_deviation(config) for config in configs])
    alike = bool((deviations == deviations[0]).all())
    known = np.zeros((steps, *shape, 1))
    for i, config in enumerate(configs):
        if config.method != "ARNAG":
            known[:, i, :, 0] = momenta(config)[:, None]
    # One number is quicker without dimensions.
    factors = known.reshape(steps, rows, 1) if rows > 1 else known.reshape(steps)
    two, step_size = np.array(2.0), np.array(STEP_SIZE)

    # A step is a few microseconds, in which each call and each slice counts: so the steps of a
    # block have arrays of their own, sliced once, and noise and values are taken a block at a time.
    # A block of many curves has fewer steps, so that its arrays stay in the processor's cache.
    block = max(4, BLOCK // rows)
    ys, products = np.zeros((block + 1, rows, SIZE)), np.zeros((block, rows, SIZE))
    places = [(y, px, px[:, 1:], y[:, :-1], px[:, :-1], y[:, 1:], following)
              for y, px, following in zip(ys[:-1], products, ys[1:], strict=True)]  # fmt: skip
    x, new, slope = (np.zeros((rows, SIZE)) for _ in range(3))
    by_method = slope.reshape(*shape, SIZE)[... if len(configs) > 1 else 0]
    slope_first = slope[:, 0]
    drawn = np.empty((len(seeds), block, SIZE))
    noises = [drawn[:, place] for place in range(block)]
    scaled = np.empty((len(seeds), SIZE))
    adaptive = [
        _Adaptive([state.reshape(*shape, SIZE)[i] for state in (new, x)], known[:, i, :, 0])
        for i, config in enumerate(configs)
        if config.method == "ARNAG"
    ]
    gaps = np.empty((steps, rows))
    add, multiply, subtract = np.add, np.multiply, np.subtract
    for begin in range(0, steps, block):
        here = min(block, steps - begin)
        if case != "exact":
            for row, generator in enumerate(generators):
                generator.standard_normal(out=drawn[row])
            if alike:
                drawn[:, :here] *= deviations[0, begin : begin + here, None]
        for place, step in enumerate(range(begin, begin + here)):
            y, px, px_right, y_left, px_left, y_right, following = places[place]
            multiply(y, two, px)
            subtract(px_right, y_left, px_right)
            subtract(px_left, y_right, px_left)
            multiply(px, step_size, slope)
            subtract(slope_first, step_size, slope_first)
            if case != "exact" and alike:
                add(by_method, noises[place], by_method)
            elif case != "exact":
                for part, deviation in zip(by_method, deviations[:, step], strict=True):
                    multiply(noises[place], deviation, scaled)
                    part += scaled
            subtract(y, slope, new)
            subtract(new, x, following)
            for one in adaptive:
                one.update(step)
            multiply(following, factors[step, ...], following)
            add(following, new, following)
            x, new = new, x
        flat = (part[:here].reshape(-1, SIZE) for part in (ys, products))
        gaps[begin : begin + here] = _value(*flat).reshape(here, rows)
        ys[0] = ys[here]
    return np.abs(gaps - MINIMUM).T.reshape(*shape, steps)


def kept_steps(iterations: int) -> list[int]:
    """The steps of a curve that are kept: 0 to 99, each 100th, and the last."""
    kept = {*range(min(100, iterations)), *range(0, iterations, 100), iterations - 1}
    return sorted(kept)


def measure(gaps: Floats) -> dict[str, Any]:
    """What a trial reports of its curve, but for the objective."""
    below = gaps < TARGET
    above = np.flatnonzero(~below)
    stays = int(above[-1]) + 1 if len(above) else 0
    return {
        "mean_gap_last_1000": float(gaps[-1000:].mean()),
        "final_gap": float(gaps[-1]),
        "min_gap": float(gaps.min()),
        "first_below": int(below.argmax()) if below.any() else None,
        "stays_below": stays if stays < len(gaps) else None,
    }
