"""The verdicts of a study as sentences, whatever kind of study it is."""

from __future__ import annotations

import pandas as pd

from srsgd_ray.analysis.confirm import confirmation
from srsgd_ray.analysis.pareto import epochs_saved_verdicts
from srsgd_ray.analysis.rows import baselines, confirm_metric, several_points


def verdicts(trials: pd.DataFrame, predictions: pd.DataFrame | None = None) -> list[str]:
    """Each arm against its rival, a sentence each; none before the confirmation.

    Args:
        trials: of one study.
        predictions: see :func:`srsgd_ray.analysis.confirmation`.
    """
    if not (trials["phase"] == "confirm").any():
        return []
    rivals = baselines(trials)
    if several_points(trials):
        return epochs_saved_verdicts(trials, rivals, confirm_metric(trials))
    found = confirmation(trials, rivals, predictions=predictions)
    return [comparison.verdict for comparison in found.comparisons]
