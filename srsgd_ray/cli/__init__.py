"""The command line: ``srsgd-ray VERB ...``, and the options of every study script.

In: the words of a command line. Out: text, figures, results folders, and an exit status. Every verb
and what it takes stands in :mod:`srsgd_ray.cli.declared` as data; :mod:`srsgd_ray.cli.parser` makes
the one parser from it, and :mod:`srsgd_ray.cli.guard` one message of whatever goes wrong. The other
modules do the verbs' work, and are imported when their verb is called.
"""

from srsgd_ray.cli.verbs import main

__all__ = ["main"]
