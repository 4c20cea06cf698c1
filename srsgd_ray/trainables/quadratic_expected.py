"""What the gap on the quadratic is on average over all noise, computed rather than sampled."""

from __future__ import annotations

import math

import numpy as np

from srsgd_ray.trainables.quadratic_problem import (
    SIZE,
    STEP_SIZE,
    Floats,
    QuadraticConfig,
    momenta,
    noise_deviation,
)


def expected_gaps(config: QuadraticConfig, last: int = 1000) -> Floats:
    """The gap's expectation over the noise, at the last ``last`` iterations, without a random draw.

    In the basis of P's eigenvectors the coordinates do not mix, and the noise is as independent as
    before. With v the step before extrapolation, less the minimiser, an eigenvalue l, and
    a = 1 - l/4, each coordinate obeys ``v+ = a (v + m (v - v-)) + noise/4``; so the second moments
    of (v, v-) follow a linear recurrence, and E[f(y) - f*] = sum l E[(v + m (v - v-))^2] / 2.

    Raises:
        ValueError: for ARNAG, which is not linear.
    """
    factors = momenta(config)
    added = (STEP_SIZE * noise_deviation(config)) ** 2
    angles = np.arange(1, SIZE + 1) * (math.pi / (SIZE + 1))
    eigenvalues = 4 * np.sin(angles / 2) ** 2
    shrink = 1 - STEP_SIZE * eigenvalues
    shrink_2 = shrink**2
    start = math.sqrt(2 / (SIZE + 1)) * np.sin(angles) / eigenvalues
    now, cross, before = start**2, start**2, start**2  # E[v v], E[v v-], E[v- v-]
    seen = np.zeros(SIZE)  # E[y y]
    with_now, with_before = np.empty(SIZE), np.empty(SIZE)  # E[y v], E[y v-]
    spare = np.empty(SIZE)
    m = 0.0
    gaps = np.empty(min(last, config.iterations))
    first = config.iterations - len(gaps)
    for step in range(config.iterations):
        np.multiply(now, 1 + m, out=with_now)
        np.multiply(cross, m, out=spare)
        with_now -= spare
        np.multiply(cross, 1 + m, out=with_before)
        np.multiply(before, m, out=spare)
        with_before -= spare
        np.multiply(with_now, 1 + m, out=seen)
        with_before *= m
        seen -= with_before
        if step >= first:
            gaps[step - first] = eigenvalues @ seen / 2
        now, before = before, now
        np.multiply(seen, shrink_2, out=now)
        now += added[step]
        np.multiply(with_now, shrink, out=cross)
        m = float(factors[step])
    return gaps
