"""What a plan costs in dollars: an estimate, from a small dated table or the user's own figure.

``data/prices.csv`` has dollars an hour of a few machines, Linux, with region and source; spot is
the dearest of the region's zones at that time.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from srsgd_ray.backends import Plan, workers_on
from srsgd_ray.knobs import one_of
from srsgd_ray.progress import duration

TABLE = Path(__file__).with_name("data") / "prices.csv"
HEAD = "m5.xlarge"  # cluster.yaml's, on demand
WITHOUT = (
    "Without disks, traffic, starting and idle machines, and spot interruptions; a machine that is "
    "faster or slower than what was timed changes it."
)


def _table() -> dict[str, Mapping[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["machine"]: row for row in csv.DictReader(file)}


def check_price(given: str) -> None:
    """Raise ValueError unless it is dollars an hour above 0, or a machine of the table."""
    try:
        dollars = float(given)
    except ValueError:
        one_of("price", given, ["a number of dollars an hour", *_table()])
        return
    if not 0 < dollars < math.inf:
        raise ValueError(f"price > 0, in dollars an hour of a machine, must hold, but got {given}.")


def price_line(given: str, plan: Plan, wall: float) -> str:
    """The estimate for ``wall`` seconds of all slots of a plan, with the head, and its assumptions.

    Args:
        given: dollars an hour of a machine that holds one slot, or a machine of the table.
        plan, wall: the slots, and for how long.
    """
    table = _table()
    head, row = float(table[HEAD]["on_demand"]), table.get(given)
    if row is None:
        machines, rates, listed = plan.slots, {"": float(given)}, table[HEAD]
        what = f"machines of a slot each at ${float(given):g} an hour, which is your figure,"
    else:
        cpus, gpus = float(row["cpus"]), float(row["gpus"])
        # Who plans without a GPU and pays for one will give it to a worker.
        share = plan.gpus_per_worker or float(gpus > 0)
        holds = workers_on({"CPU": cpus, "GPU": gpus}, replace(plan, gpus_per_worker=share))
        if not holds:
            return (
                f"No price: a worker of trials of {plan.need} does not fit {given} "
                f"({cpus:g} CPUs, {gpus:g} GPUs)."
            )
        machines, listed = math.ceil(plan.slots * plan.workers / holds), row
        rates = {" on demand": float(row["on_demand"]), " spot": float(row["spot"])}
        hourly = " and ".join(f"${rate:g} an hour{name}" for name, rate in rates.items())
        what = f"{given} for up to {holds} worker{'s' * (holds > 1)} each ({hourly})"
    hours = wall / 3600
    sums = [f"${_cents(hours * (machines * r + head))}{name}" for name, r in rates.items()]
    return (
        f"Price, an estimate: {' or '.join(sums)}: {machines} {what} and the head "
        f"({HEAD} on demand, ${head:g} an hour), {duration(wall)} of each. {WITHOUT} "
        f"Prices of {listed['region']} from {listed['listed']}."
    )


def _cents(dollars: float) -> str:
    return f"{dollars:.2f}" if dollars >= 0.1 else f"{dollars:.2g}"
