"""How a trial is run and how it ends: the same code in every backend."""

from __future__ import annotations

import site
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from srsgd_ray.backends.generators import seed_all
from srsgd_ray.backends.trial import TrialRun
from srsgd_ray.knobs import make
from srsgd_ray.results.provenance import ran_on
from srsgd_ray.trainable import Diverged, RankError, StopTraining

TROUBLE = "trouble"  # the state of an attempt whose error may pass

# Errors of the work itself: they would come again. Others may be the machine's.
HOPELESS = (
    ValueError, TypeError, LookupError, AttributeError, NameError, ImportError, ArithmeticError,
    AssertionError, SyntaxError, NotImplementedError,
)  # fmt: skip
PACKAGE = str(Path(__file__).resolve().parents[1])


def run_trial(run: TrialRun) -> dict[str, Any]:
    """Do the work of one trial.

    Returns:
        How it ended: ``state`` (complete, diverged or stopped) and facts of it.

    Raises:
        Exception: what the work raised, but for :class:`Diverged` and :class:`StopTraining`.
    """
    work = run.work
    config: Any = make(work.Config, work.knobs_in(run.assignment.config))
    in_group = work.place == "workers"
    seed_all(run.seed, in_group)
    if in_group:
        import torch

        torch.set_num_threads(run.threads)
    facts: Mapping[str, Any] = {}
    state, reason, step = "complete", None, None
    try:
        facts = work.train(config, run) or {}
        run.check_whole()
    except StopTraining as stop:
        state, reason = "stopped", str(stop)
    except Diverged as end:
        state, reason, step = "diverged", str(end), end.step
    finally:
        run.close()
    return {
        "state": state,
        "reason": reason,
        "diverged_step": step,
        **ran_on(run.size, facts.get("parameters", run.parameters)),
    }


def attempt(start: Callable[[], TrialRun]) -> tuple[dict[str, Any], Exception | None]:
    """Begin a trial and do its work.

    Returns:
        How it ended, as :func:`run_trial` does, and the error if there was one: ``failed`` for one
        of the work itself, ``TROUBLE`` for one that may pass.
    """
    try:
        return run_trial(start()), None
    except HOPELESS as error:
        return {"state": "failed", "reason": reason_of(error)}, error
    except SystemExit as left:
        said = RuntimeError(f"the work called sys.exit({left.code!r})")
        said.with_traceback(left.__traceback__)
        return {"state": "failed", "reason": reason_of(said)}, said
    except Exception as error:
        return {"state": TROUBLE, "reason": reason_of(error)}, error


def reason_of(error: BaseException) -> str:
    """An error in a line: what was said last, and where in the user's file."""
    text, place = said_by(error), users_place(error)
    return f"{text} ({place})" if place and place not in text else text


def said_by(error: BaseException) -> str:
    """The last line of an error, without the name of a plain ValueError."""
    text = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
    if isinstance(error, ValueError) and type(error) in (ValueError, RankError):
        return str(error)
    return text


def users_place(error: BaseException) -> str:
    """``FILE:LINE`` of the last frame in a file that is neither ours nor a library's, or ""."""
    libraries = (PACKAGE, sys.prefix, sys.base_prefix, "<", *site.getsitepackages())
    found = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith(libraries):
            found = f"{Path(frame.filename).name}:{frame.lineno}"
    return found
