"""Pages: a study as one HTML file that needs no network, and the live page of one that runs.

In come the trials and epochs tables of a study and, where it is there, its record; out go a dict of
plain values (:func:`study_data`: every number that the page shows, made by the analysis room) and
the page that draws it (:func:`page`). The page's script computes nothing but axes.
"""

from srsgd_ray.pages.data import study_data
from srsgd_ray.pages.page import FILE_NAME, page, write_report
from srsgd_ray.pages.server import Watch

__all__ = ["FILE_NAME", "Watch", "page", "study_data", "write_report"]
