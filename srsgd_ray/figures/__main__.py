"""Draw a study's figures: ``python -m srsgd_ray.figures results/quickstart``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from srsgd_ray.figures.save import FIGURES, FORMATS, draw

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Draw what the command line asks for; returns the exit status (2 for bad input)."""
    parser = argparse.ArgumentParser(prog="python -m srsgd_ray.figures", description=__doc__)
    parser.add_argument("folder", help="results/NAME")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(FIGURES)} [all of them]"
    )
    parser.add_argument(
        "--format", default="png,svg", help=f"any of {', '.join(FORMATS)} [png,svg]"
    )
    parser.add_argument("--out", metavar="DIR", help="where the files go [results/NAME/figures]")
    given = parser.parse_args(argv)
    try:
        written = draw(given.folder, given.names or None, given.format.split(","), given.out)
    except ValueError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
