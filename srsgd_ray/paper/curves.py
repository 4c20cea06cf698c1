"""Every published curve: training and test loss, accuracy, and the gap of the quadratic."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import pandas as pd

from srsgd_ray.config import one_of

__all__ = ["curves"]


@cache
def _all() -> pd.DataFrame:
    with as_file(files("srsgd_ray.paper") / "data" / "curves.parquet") as path:
        table = pd.read_parquet(path)
    for name in table.columns[[kind == "category" for kind in table.dtypes]]:
        table[name] = table[name].astype("str")
    return table


def curves(figure: str | None = None) -> pd.DataFrame:
    """The published curves, of one figure or of all.

    Args:
        figure: a value of the column of that name, such as ``Figure 2 left``.

    Returns:
        One row a point: ``figure``; ``series`` (labels corrected, see ``FAULTS``) and
        ``series_as_filed``; ``run`` (0-based); ``metric``: ``train_loss``, ``test_loss`` (nats),
        ``test_accuracy`` (%) or ``gap`` (f - f*); ``step`` (0-based epoch or iteration; the
        quadratic's are thinned to 0-99, each 100th and the last); ``value``; ``plotted``: whether
        the published figure shows it; ``source``, the file.

    Raises:
        UnknownNameError: for a figure that has no curve.
    """
    table = _all()
    if figure is None:
        return table.copy()
    one_of("figure with curves", figure, list(dict.fromkeys(table["figure"])))
    return table[table["figure"] == figure].reset_index(drop=True)
