"""The publication as one room: its numbers, its studies, comparison with our runs, its figures.

Source: Wang, Nguyen, Sun, Bertozzi, Baraniuk, Osher, arXiv 2002.10583 (v1), and the repository
minhtannguyen/SRSGD at 9ebc1a7. What is not printed there stands nowhere here.

In comes what was published, as data: ``data/recipes.csv`` and ``data/errors.csv`` are the only
place of its numbers (``published``), joined to the cells of the tables in ``cells``. Each cell is
an arm of a study (``studies``), and by its label a run of ours is compared with it (``compare``).
In come trials of any results folders, too; out go tables (``render``) and figures (``figures``).
Nothing but commands and study scripts imports this room.
"""

from srsgd_ray.paper.faults import FAULTS, Fault
from srsgd_ray.paper.published import (
    PublishedRun,
    QuadraticMean,
    curves,
    errors,
    errors_table,
    quadratic_means,
    recipe,
    recipes,
)

__all__ = [
    "FAULTS",
    "Fault",
    "PublishedRun",
    "QuadraticMean",
    "curves",
    "errors",
    "errors_table",
    "quadratic_means",
    "recipe",
    "recipes",
]
