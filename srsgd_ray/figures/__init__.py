"""Figures: seaborn drawings of what the analysis returned. No number is computed here."""

from srsgd_ray.figures.confirm import confirmation
from srsgd_ray.figures.curves import training_curves
from srsgd_ray.figures.paper import PAPER_FIGURES, draw_numbers, paper_figure, paper_numbers
from srsgd_ray.figures.pareto import error_by_epochs
from srsgd_ray.figures.save import FIGURES, FORMATS, draw, draw_paper
from srsgd_ray.figures.search import best_so_far, sensitivity_map
from srsgd_ray.figures.style import NotYet

__all__ = [
    "FIGURES",
    "FORMATS",
    "PAPER_FIGURES",
    "NotYet",
    "best_so_far",
    "confirmation",
    "draw",
    "draw_numbers",
    "draw_paper",
    "error_by_epochs",
    "paper_figure",
    "paper_numbers",
    "sensitivity_map",
    "training_curves",
]
