"""What the SRSGD paper and its repository published: every error, recipe and curve, as data.

Source: Wang, Nguyen, Sun, Bertozzi, Baraniuk, Osher, arXiv 2002.10583 (v1), and the repository
minhtannguyen/SRSGD at 9ebc1a7. What is not printed there stands nowhere here.
"""

from srsgd_ray.published.curves import curves
from srsgd_ray.published.errors import PublishedError, errors, errors_table
from srsgd_ray.published.faults import FAULTS, Fault
from srsgd_ray.published.quadratic import QuadraticMean, quadratic_means
from srsgd_ray.published.recipes import Recipe, recipe, recipes

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
