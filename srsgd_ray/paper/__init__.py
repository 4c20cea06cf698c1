"""What the SRSGD paper and its repository published: every error, recipe and curve, as data.

Source: Wang, Nguyen, Sun, Bertozzi, Baraniuk, Osher, arXiv 2002.10583 (v1), and the repository
minhtannguyen/SRSGD at 9ebc1a7. What is not printed there stands nowhere here.
"""

from srsgd_ray.paper.curves import curves
from srsgd_ray.paper.errors import PublishedError, errors, errors_table
from srsgd_ray.paper.faults import FAULTS, Fault
from srsgd_ray.paper.quadratic_means import QuadraticMean, quadratic_means
from srsgd_ray.paper.recipes import Recipe, recipe, recipes

__all__ = [
    "FAULTS",
    "Fault",
    "PublishedError",
    "QuadraticMean",
    "Recipe",
    "curves",
    "errors",
    "errors_table",
    "quadratic_means",
    "recipe",
    "recipes",
]
