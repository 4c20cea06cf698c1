"""Analysis: rows of the results become plain tables and verdicts with intervals.

In come the trials and epochs tables of one study (:func:`srsgd_ray.results.read_trials`,
``read_epochs``). Which metric, which direction, which baseline and how long a trial is, the table
itself says; no trainable is imported, so any study can be read. Out go DataFrames, dataclasses with
an interval and a verdict in words, and the report as text (:func:`render`). Nothing is drawn here,
and all numbers of the figures come from here.
"""

from srsgd_ray.analysis.compare import ArmResult, Comparison
from srsgd_ray.analysis.confirm import Confirmation, confirmation
from srsgd_ray.analysis.curves import restart_stages, restart_steps, seed_curves, steps_per_epoch
from srsgd_ray.analysis.images import over_images, two_way
from srsgd_ray.analysis.interval import Estimate, Share, check_level, estimate
from srsgd_ray.analysis.pareto import (
    EpochsSaved,
    epochs_saved,
    epochs_saved_verdicts,
    error_by_epochs,
    pareto_front,
    spread_points,
)
from srsgd_ray.analysis.profile import Profile, performance_profile
from srsgd_ray.analysis.remarks import remarks
from srsgd_ray.analysis.report import levels_text, render
from srsgd_ray.analysis.rows import (
    arm_label,
    arms,
    baselines,
    better_of,
    confirm_metric,
    current,
    design,
    length_column,
    outcomes,
    restarting,
    rows,
    search_goal,
    search_numbers,
    searched_knobs,
    several_lengths,
    several_points,
)
from srsgd_ray.analysis.search import (
    best_first,
    best_so_far,
    best_trial,
    expected_best,
    main_knobs,
    sensitivity,
)
from srsgd_ray.analysis.side_by_side import pairing, side_by_side
from srsgd_ray.analysis.summary import ENDS, configurations, shown_knobs, summary
from srsgd_ray.analysis.target_report import profile_text, target_text, track_text
from srsgd_ray.analysis.targets import COSTS, ToTarget, times_to_target, to_target
from srsgd_ray.analysis.track import StepsToLoss, steps_to_loss
from srsgd_ray.analysis.verdicts import verdicts
from srsgd_ray.analysis.winner import Winner, winner
from srsgd_ray.analysis.words import in_words, lost_text, share_text

__all__ = [
    "COSTS",
    "ENDS",
    "ArmResult",
    "Comparison",
    "Confirmation",
    "EpochsSaved",
    "Estimate",
    "Profile",
    "Share",
    "StepsToLoss",
    "ToTarget",
    "Winner",
    "arm_label",
    "arms",
    "baselines",
    "best_first",
    "best_so_far",
    "best_trial",
    "better_of",
    "check_level",
    "configurations",
    "confirm_metric",
    "confirmation",
    "current",
    "design",
    "epochs_saved",
    "epochs_saved_verdicts",
    "error_by_epochs",
    "estimate",
    "expected_best",
    "in_words",
    "length_column",
    "levels_text",
    "lost_text",
    "main_knobs",
    "outcomes",
    "over_images",
    "pairing",
    "pareto_front",
    "performance_profile",
    "profile_text",
    "remarks",
    "render",
    "restart_stages",
    "restart_steps",
    "restarting",
    "rows",
    "search_goal",
    "search_numbers",
    "searched_knobs",
    "seed_curves",
    "sensitivity",
    "several_lengths",
    "several_points",
    "share_text",
    "shown_knobs",
    "side_by_side",
    "spread_points",
    "steps_per_epoch",
    "steps_to_loss",
    "summary",
    "target_text",
    "times_to_target",
    "to_target",
    "track_text",
    "two_way",
    "verdicts",
    "winner",
]
