"""The page of a study: its data, a template, and a library that draws, in one file."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from srsgd_ray.pages.data import study_data

FILE_NAME = "report.html"


def page(data: dict[str, Any] | None, title: str) -> str:
    """The whole page as HTML, with nothing to be fetched from elsewhere.

    Args:
        data: of :func:`srsgd_ray.pages.study_data`; None: the page asks its server for them.
        title: of the browser's window.
    """
    from jinja2 import Environment
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    here = files("srsgd_ray.pages")

    def part(name: str) -> Markup:
        return Markup((here / name).read_text(encoding="utf-8"))

    template = Environment(autoescape=True).from_string(str(part("page.html")))
    whole: str = template.render(
        title=title,
        style=part("page.css"),
        script=part("page.js"),
        live=part("live.js") if data is None else "",
        plotly=Markup(get_plotlyjs()),
        data=Markup(as_script(data)),
    )
    return whole


def as_script(data: Any) -> str:
    """JSON that may stand in a script element: no text of a user's can end it."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def write_report(folder: Path | str, out: Path | str | None = None) -> Path:
    """Write the page of a study's folder; returns its path, by default ``FOLDER/report.html``.

    A reader sees the old page or the new one, never a part.

    Raises:
        RecordError: if the folder holds no tables, or they cannot be read.
    """
    data = study_data(folder)
    path = Path(out) if out is not None else Path(folder) / FILE_NAME
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        partial.write_text(page(data, data["name"]), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ValueError(
            f"the report must go where files can be written, but {path} cannot be: "
            f"{error.strerror or error}. Name another place with --out FILE."
        ) from error
    return path
