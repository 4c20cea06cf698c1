"""The samplers of Optuna by name, and what of them depends on how long a search is."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import optuna
from optuna import samplers

from srsgd_ray.import_path import load
from srsgd_ray.knobs import one_of
from srsgd_ray.study.rust import RustTPE, check_installed

SEARCHERS = {
    "tpe": "tree-structured Parzen estimator, multivariate (Optuna's default)",
    "random": "independent random draws",
    "grid": "every point of the space's grid, in random order",
    "cmaes": "covariance matrix adaptation",
    "gp": "Gaussian process",
    "qmc": "quasi-random points (Sobol), which fill the space evenly",
    "nsgaii": "genetic algorithm, for two metrics",
    "rustuna": "tpe in Rust, for thousands of trials; ignores those that run or were stopped",
}
ONE_GOAL = ("cmaes", "rustuna")  # searchers that take one metric only


def check_searcher(name: str, goals: int = 1, scheduler: str = "none") -> None:
    """Raise ValueError unless a sampler of that name or import path exists and takes the others."""
    if ":" in name:
        found = load(name, "searcher")
        if not (inspect.isclass(found) and issubclass(found, samplers.BaseSampler)):
            raise ValueError(f"searcher {name!r} must be a class of Optuna samplers.")
        return
    one_of("search", name, SEARCHERS)
    if name == "rustuna":
        check_installed()
        if scheduler != "none":
            raise ValueError(
                f"searcher 'rustuna' learns nothing from trials that scheduler={scheduler!r} "
                f"stops. Use tpe, or scheduler none."
            )
    if goals > 1 and name in ONE_GOAL:
        others = ", ".join(other for other in SEARCHERS if other not in ONE_GOAL)
        raise ValueError(f"pareto=True needs searcher {others}, but got {name!r}.")


class _Point(samplers.QMCSampler):
    """One point of the search's sequence; Optuna's own counts in the storage, which may be lost."""

    def __init__(self, number: int, study_seed: int, seed: int) -> None:
        super().__init__(
            seed=study_seed,
            scramble=True,
            independent_sampler=samplers.RandomSampler(seed=seed),
            warn_independent_sampling=False,
            warn_asynchronous_seeding=False,
        )
        self._number = number

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, Any]) -> int:
        return self._number


def sampler_of(
    name: str, number: int, seed: int, study_seed: int, trials: int, grouped: bool
) -> samplers.BaseSampler:
    """The sampler for the trial ``number``; ``seed`` is its own, ``study_seed`` the search's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "tpe":
            # group: knobs that are not always there are modelled apart from the others.
            more: dict[str, Any] = {"multivariate": True, "group": True} if grouped else {}
            return samplers.TPESampler(seed=seed, n_startup_trials=_startup(trials), **more)
        if name == "cmaes":
            return samplers.CmaEsSampler(
                seed=seed, n_startup_trials=3, warn_independent_sampling=False
            )
        if name == "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=_startup(trials))
        if name == "rustuna":
            return RustTPE(seed, _startup(trials))
        if name == "qmc":
            return _Point(number, study_seed, seed)
        if name == "nsgaii":
            return samplers.NSGAIISampler(seed=seed, population_size=_population(trials))
        if ":" in name:
            made = load(name, "searcher")
            takes_seed = "seed" in inspect.signature(made).parameters
            sampler: samplers.BaseSampler = made(seed=seed) if takes_seed else made()
            return sampler
    return samplers.RandomSampler(seed=seed)


def _startup(trials: int) -> int:
    """A third of the trials are drawn at random first, but never more than Optuna's own 10."""
    return min(10, max(3, trials // 3))


def _population(trials: int) -> int:
    return max(4, min(50, trials // 4))


def unlike(name: str, before: int, now: int) -> str:
    """In what a search that grows from ``before`` to ``now`` trials differs from one of ``now``.

    Returns:
        A sentence; "" if it proposes the same trials as if it had been as long from the start.
    """
    what = f"The search was extended from {before} to {now} trials"
    first = _startup(before)
    if name in ("tpe", "gp", "rustuna") and _startup(now) > first and before > first:
        last = min(_startup(now), before)
        which = f"trials {first + 1} to {last}" if last > first + 1 else f"trial {last}"
        return (
            f"{what}: {name} proposed its {which}, which a search of {now} from the start would "
            f"have drawn at random."
        )
    if name == "nsgaii" and _population(now) != _population(before):
        return (
            f"{what}: its generations had {_population(before)} trials before and have "
            f"{_population(now)} since."
        )
    if ":" in name:
        return f"{what}: whether {name} proposes what it would have in one go is not known."
    return ""
