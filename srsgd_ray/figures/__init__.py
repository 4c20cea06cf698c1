"""Figures: seaborn drawings of what the analysis returned. No number is computed here.

In come the tables of one study, or its folder (:func:`draw`); out go matplotlib figures, or files
of them. A figure whose data do not exist yet raises :class:`NotYet`, which says which. ``style``
holds how arms and texts are drawn, with units and directions from the table's schema, and changes
no global setting; ``parts`` what figures are made of; ``save`` lists them and writes them, the same
bytes for the same data. The figures of the paper are in :mod:`srsgd_ray.paper`.
"""

from srsgd_ray.figures.confirm import confirmation
from srsgd_ray.figures.curves import training_curves
from srsgd_ray.figures.pareto import error_by_epochs
from srsgd_ray.figures.profile import draw_profile, performance_profile
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
    "draw_profile",
    "error_by_epochs",
    "performance_profile",
    "sensitivity_map",
    "training_curves",
]
