"""Figures: seaborn drawings of what the analysis returned. No number is computed here."""

from srsgd_ray.figures.confirm import confirmation
from srsgd_ray.figures.curves import training_curves
from srsgd_ray.figures.pareto import error_by_epochs
from srsgd_ray.figures.save import FIGURES, FORMATS, draw
from srsgd_ray.figures.search import best_so_far, sensitivity_map
from srsgd_ray.figures.style import NotYet

__all__ = [
    "FIGURES",
    "FORMATS",
    "NotYet",
    "best_so_far",
    "confirmation",
    "draw",
    "error_by_epochs",
    "sensitivity_map",
    "training_curves",
]
