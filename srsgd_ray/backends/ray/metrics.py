"""A study's numbers among Ray's metrics, where Prometheus and Ray's dashboard find them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ray.util.metrics import Gauge

from srsgd_ray.backends.base import Number

EVERY = 1.0  # seconds between two tellings, at least: Ray itself exports every few seconds
SHARE = 100.0  # and this many times as long as the last one took


class StudyMetrics:
    """Says what the record holds, as ``ray_srsgd_NAME`` with the tags study and more."""

    def __init__(self, study: str, numbers: Callable[[], Iterable[Number]]) -> None:
        self._study, self._numbers = study, numbers
        self._gauges: dict[str, Gauge] = {}
        self._next = 0.0

    def tell(self, last: bool = False) -> None:
        """Give Ray all numbers as they are now, unless that was done a moment ago."""
        began = time.monotonic()
        if began < self._next and not last:
            return
        for number in self._numbers():
            tags = {"study": self._study, **number.tags}
            gauge = self._gauges.get(number.name)
            if gauge is None:
                gauge = Gauge(f"srsgd_{number.name}", number.doc, tuple(tags))
                self._gauges[number.name] = gauge
            gauge.set(number.value, tags)
        now = time.monotonic()
        self._next = now + max(EVERY, SHARE * (now - began))
