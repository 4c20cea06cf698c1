"""Analysis: rows of the results become plain tables and verdicts with intervals. No drawing."""

from srsgd_ray.analysis.confirm import (
    ArmResult,
    Comparison,
    Confirmation,
    Estimate,
    confirmation,
    estimate,
)
from srsgd_ray.analysis.curves import restart_stages, restart_steps, seed_curves, steps_per_epoch
from srsgd_ray.analysis.pareto import (
    EpochsSaved,
    epochs_saved,
    error_by_epochs,
    pareto_front,
    spread_points,
)
from srsgd_ray.analysis.report import render, summary
from srsgd_ray.analysis.rows import (
    arm_label,
    arms,
    baselines,
    better_of,
    confirm_metric,
    default_baseline,
    design,
    length_column,
    restarting,
    search_goal,
)
from srsgd_ray.analysis.search import (
    best_so_far,
    best_trial,
    expected_best,
    main_knobs,
    sensitivity,
)
from srsgd_ray.analysis.words import in_words, lost_text

__all__ = [
    "ArmResult",
    "Comparison",
    "Confirmation",
    "EpochsSaved",
    "Estimate",
    "arm_label",
    "arms",
    "baselines",
    "best_so_far",
    "best_trial",
    "better_of",
    "confirm_metric",
    "confirmation",
    "default_baseline",
    "design",
    "epochs_saved",
    "error_by_epochs",
    "estimate",
    "expected_best",
    "in_words",
    "length_column",
    "lost_text",
    "main_knobs",
    "pareto_front",
    "render",
    "restart_stages",
    "restart_steps",
    "restarting",
    "search_goal",
    "seed_curves",
    "sensitivity",
    "spread_points",
    "steps_per_epoch",
    "summary",
]
